package mirror_test

import (
	"path/filepath"
	"sync"
	"testing"

	"github.com/pipehook/pipehook/core/mirror"
)

// A command may begin beside a process that has just begun.
func TestManyMayOpenAFileThatIsNotThereYet(t *testing.T) {
	for range 5 {
		url := "sqlite:" + filepath.Join(t.TempDir(), "pipedrive.db")
		var all sync.WaitGroup
		for range 4 {
			all.Go(func() {
				m, err := mirror.Open(t.Context(), mirror.Options{URL: url})
				if err != nil {
					t.Error(err)
					return
				}
				if _, err := m.Standings(t.Context()); err != nil {
					t.Error(err)
				}
				if err := m.Close(); err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
	}
}
