//go:build linux

package plughost

import "testing"

func TestWhatAProcessDiedForWantOfIsKnownFromItsWords(t *testing.T) {
	const limit = "memory limit of 64MiB exceeded"
	q := quota{memory: 64 << 20, openFiles: 10}
	for _, test := range []struct {
		said string
		had  int64
		want string
	}{
		{"fatal error: runtime: out of memory", 0, limit},
		{"fatal error: runtime: cannot allocate memory", 0, limit},
		{"runtime: failed to create new OS thread (have 5 already; errno=11)", 0, limit},
		{"runtime/cgo: pthread_create failed: Resource temporarily unavailable", 0, limit},
		{"FATAL ERROR: Reached heap limit Allocation failed - JavaScript heap out of memory", 0, limit},
		{"MemoryError", 0, limit},
		{"memory allocation of 1048576 bytes failed", 0, limit},
		{"terminate called after throwing an instance of 'std::bad_alloc'", 0, limit},
		{"fatal error: unexpected signal during runtime execution", 60 << 20, limit},
		{"fatal error: unexpected signal during runtime execution", 20 << 20, ""},
		{"SIGSEGV: segmentation violation", 60 << 20, limit},
		{"[signal SIGSEGV: segmentation violation code=0x1 addr=0x0 pc=0x1]", 60 << 20, ""},
		{"open /x: too many open files", 0, "limit of 10 open files exceeded"},
		{"Error: EMFILE: too many open files, open '/x'", 0, "limit of 10 open files exceeded"},
		{"panic: a bug", 60 << 20, ""},
	} {
		if got := q.met(lackOf(test.said), test.had); got != test.want {
			t.Errorf("%s, having had %d: %q, want %q", test.said, test.had, got, test.want)
		}
		if got := (&quota{}).met(lackOf(test.said), test.had); got != "" {
			t.Errorf("%s, without a limit: %q", test.said, got)
		}
	}
}
