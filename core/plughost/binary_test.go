//go:build unix

package plughost

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"testing"
)

// Whatever becomes of the file while it is copied, the copy that may be run is what was asked for.
func TestACopyIsWhatWasCheckedHoweverTheFileChanges(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "plugin")
	good, evil := bytes.Repeat([]byte("good"), 20_000), bytes.Repeat([]byte("evil"), 20_000)
	if err := os.WriteFile(path, good, 0o700); err != nil {
		t.Fatal(err)
	}
	h, err := Open(Options{Dir: filepath.Join(dir, "plugins"), Log: slog.New(slog.DiscardHandler)})
	if err == nil {
		err = h.take()
	}
	if err != nil {
		t.Fatal(err)
	}
	stop := make(chan struct{})
	var swapping sync.WaitGroup
	swapping.Go(func() { // ends with stop
		for n := 0; ; n++ {
			select {
			case <-stop:
				return
			default:
			}
			text := [][]byte{good, evil}[n%2]
			next := filepath.Join(dir, "next")
			if n%4 < 2 { // in place: a reader may get half of each
				next = path
			}
			if err := errors.Join(os.WriteFile(next, text, 0o700), os.Rename(next, path)); err != nil {
				t.Error(err)
				return
			}
		}
	})
	sum := fmt.Sprintf("%x", sha256.Sum256(good))
	taken := 0
	for range 1000 {
		b, err := h.hold(path, sum)
		if bad, ok := errors.AsType[*BinaryError](err); ok && bad.Checksum {
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		taken++
		if copied, err := os.ReadFile(b.path); err != nil || !bytes.Equal(copied, good) {
			t.Fatalf("the copy is another (%v)", err)
		}
		b.release()
	}
	close(stop)
	swapping.Wait()
	if taken == 0 || taken == 1000 {
		t.Errorf("%d of 1000 were taken: the test tests nothing", taken)
	}
	if err := h.Close(); err != nil {
		t.Error(err)
	}
}
