package seat_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"syscall"
	"testing"

	"github.com/pipehook/pipehook/core"
	"github.com/pipehook/pipehook/core/seat"
)

func take(t *testing.T, dir string) *seat.Seat {
	t.Helper()
	s, err := seat.Take(dir, "a store")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func TestEachProcessHasASeatOfItsOwnAndFindsItAgain(t *testing.T) {
	dir := t.TempDir()
	first, second := take(t, dir), take(t, dir)
	if first.Dir == second.Dir || first.Number == second.Number {
		t.Errorf("two share a seat: %+v, %+v", first, second)
	}
	number := first.Number
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	if again := take(t, dir); again.Number != number {
		t.Errorf("number %d, was %d", again.Number, number)
	}
}

func TestANumberThatCannotBeReadIsReplaced(t *testing.T) {
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, "1"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "1", "number"), []byte("-3 what"), 0o600); err != nil {
		t.Fatal(err)
	}
	if s := take(t, dir); s.Number <= 0 {
		t.Errorf("number %d", s.Number)
	}
}

const childEnv = "PIPEHOOK_TEST_SEAT"

func TestMain(m *testing.M) {
	if dir := os.Getenv(childEnv); dir != "" {
		runAndDie(dir)
	}
	os.Exit(m.Run())
}

// runAndDie begins three attempts, ends one, and is killed.
func runAndDie(dir string) {
	s, err := seat.Take(dir, "a store")
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	s.Start(core.DeliveryKey{Seq: 1, Listener: "a"}, 1)()
	s.Start(core.DeliveryKey{Seq: 7, Listener: "audit"}, 2)
	s.Start(core.DeliveryKey{Seq: 1 << 40, Listener: "b"}, 1)
	self, err := os.FindProcess(os.Getpid())
	if err == nil {
		err = self.Kill()
	}
	fmt.Println(err)
	select {}
}

func TestWhatRanIsKnownAfterAKill(t *testing.T) {
	dir := t.TempDir()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childEnv+"="+dir)
	if err := cmd.Run(); err == nil {
		t.Fatal("the child was not killed")
	}
	s := take(t, dir)
	slices.SortFunc(s.Left, func(a, b seat.Interrupt) int { return int(a.Seq - b.Seq) })
	want := []seat.Interrupt{{core.DeliveryKey{Seq: 7, Listener: "audit"}, 2}, {core.DeliveryKey{Seq: 1 << 40, Listener: "b"}, 1}}
	if !slices.Equal(s.Left, want) {
		t.Errorf("left %+v, want %+v", s.Left, want)
	}
	s.Forget()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if again := take(t, dir); len(again.Left) != 0 {
		t.Errorf("left %+v", again.Left)
	}
}

func TestAFullDiskIsAnErrorAndNotTheEnd(t *testing.T) {
	const full = "/dev/full" // every write to it finds no room
	if _, err := os.Stat(full); err != nil {
		t.Skip(err)
	}
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "1"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(full, filepath.Join(dir, "1", "running")); err != nil {
		t.Fatal(err)
	}
	if s, err := seat.Take(dir, "a store"); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("%+v, %v", s, err)
	}
}

func TestTheNotesHaveTheirRoomOnTheDiskBeforeTheyAreWritten(t *testing.T) {
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "1"), 0o700); err != nil {
		t.Fatal(err)
	}
	running := filepath.Join(dir, "1", "running")
	note := append([]byte{9, 0, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 1}, 'a')
	if err := os.WriteFile(running, note, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(running, 128*4096); err != nil { // the rest is a hole
		t.Fatal(err)
	}
	s := take(t, dir)
	if want := (seat.Interrupt{DeliveryKey: core.DeliveryKey{Seq: 9, Listener: "a"}, Number: 3}); len(s.Left) != 1 || s.Left[0] != want {
		t.Errorf("left %+v, want %+v", s.Left, want)
	}
	info, err := os.Stat(running)
	if err != nil {
		t.Fatal(err)
	}
	if taken := info.Sys().(*syscall.Stat_t).Blocks * 512; taken < 128*4096 {
		t.Errorf("%d bytes are on the disk, want %d", taken, 128*4096)
	}
}

func TestMoreAttemptsThanThereIsRoomForAreNotNoted(t *testing.T) {
	s := take(t, t.TempDir())
	var ends []func()
	for i := range 5000 {
		ends = append(ends, s.Start(core.DeliveryKey{Seq: int64(i + 1), Listener: "a"}, 1))
	}
	for _, end := range ends {
		end()
	}
	s.Start(core.DeliveryKey{Seq: 1, Listener: "a"}, 1)()
}

func TestAnAttemptThatOutlastsAStopIsNoCrash(t *testing.T) {
	dir := t.TempDir()
	first := take(t, dir)
	end := first.Start(core.DeliveryKey{Seq: 7, Listener: "a"}, 1)
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	second := take(t, dir)
	if len(second.Left) != 0 {
		t.Errorf("left %+v", second.Left)
	}
	second.Start(core.DeliveryKey{Seq: 8, Listener: "b"}, 1)
	end() // must not clear the note of the seat's new owner
	running, err := os.ReadFile(filepath.Join(dir, "1", "running"))
	if err != nil || !bytes.Contains(running, []byte{8, 0, 0, 0, 0, 0, 0, 0, 1}) {
		t.Errorf("the note of the new owner is gone (%v)", err)
	}
}

func TestASeatBelongsToTheStoreThatItWasUsedWith(t *testing.T) {
	dir := t.TempDir()
	first, err := seat.Take(dir, "one")
	if err != nil {
		t.Fatal(err)
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	other, err := seat.Take(dir, "another")
	if err != nil {
		t.Fatal(err)
	}
	if other.Dir == first.Dir {
		t.Error("what was left for one store is given to another")
	}
	found := map[string]string{}
	err = seat.EachFree(dir, func(folder, store string) error { found[folder] = store; return nil })
	if err != nil || len(found) != 1 || found[first.Dir] != "one" {
		t.Errorf("free are %v, %v", found, err)
	}
	again, err := seat.Take(dir, "one")
	if err != nil || again.Dir != first.Dir || again.Number != first.Number {
		t.Errorf("%+v, was %+v, %v", again, first, err)
	}
	for _, s := range []*seat.Seat{other, again} {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
}
