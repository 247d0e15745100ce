//go:build unix

package worker

import (
	"errors"
	"testing"
)

func TestWhatAProcessSaysLastIsItsReason(t *testing.T) {
	for _, test := range []struct {
		said   string
		memory bool
		word   string
	}{
		{"", false, ""},
		{"runtime: out of memory: cannot allocate 4194304-byte block (188383232 in use)\nfatal error: out of memory\n", true, "fatal error: out of memory"},
		{"fatal error: runtime: cannot allocate memory\n", true, "fatal error: runtime: cannot allocate memory"},
		{"==7==ERROR: ThreadSanitizer failed to allocate 0x8000000 bytes\n", true, "==7==ERROR: ThreadSanitizer failed to allocate 0x8000000 bytes"},
		{"SIGSEGV: segmentation violation\nPC=0x43a4fd m=0 sigcode=1 addr=0x0\n", true, "SIGSEGV: segmentation violation"},
		{"panic: runtime error: invalid memory address or nil pointer dereference\n[signal SIGSEGV: segmentation violation]\n", false, "panic: runtime error: invalid memory address or nil pointer dereference"},
		{"a warning\npanic: x\n\ngoroutine 1\n", false, "panic: x"},
		{"the limits: not permitted\n", false, "the limits: not permitted"},
	} {
		if got := outOfMemory(test.said); got != test.memory {
			t.Errorf("%q is of memory: %v", test.said, got)
		}
		if got := lastWord(test.said); got != test.word {
			t.Errorf("%q: the word is %q", test.said, got)
		}
	}
}

func TestAnEndThatIsClosedIsNoFaultOfTheOther(t *testing.T) {
	for _, way := range []string{"read", "written"} {
		ours, its, err := socketPair()
		if err != nil {
			t.Fatal(err)
		}
		if err := its.Close(); err != nil {
			t.Fatal(err)
		}
		if way == "read" {
			_, err = ours.Read(make([]byte, 1))
		} else {
			_, err = ours.Write([]byte("ready"))
		}
		if !hungUp(err) {
			t.Errorf("%s: %v is no hang-up", way, err)
		}
		if err := ours.Close(); err != nil {
			t.Error(err)
		}
	}
	if hungUp(nil) || hungUp(errors.New("any other")) {
		t.Error("anything is a hang-up")
	}
}

func TestSizesAreWrittenAsInTheConfiguration(t *testing.T) {
	for n, want := range map[int64]string{128 << 20: "128MiB", 2 << 30: "2GiB", 1000: "1000 bytes"} {
		if got := size(n); got != want {
			t.Errorf("%d: %q, want %q", n, got, want)
		}
	}
}
