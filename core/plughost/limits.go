//go:build unix

package plughost

import (
	"fmt"
	"strings"
)

// quota is what one process may take.
type quota struct {
	memory    int64 // bytes; 0 for any number
	openFiles int   // likewise
}

// environ tells Go's collector of the limit, so that it works harder before it is met. Other
// languages do not know the variable.
func (q *quota) environ() []string {
	if q.memory == 0 {
		return nil
	}
	return []string{fmt.Sprint("GOMEMLIMIT=", q.memory/10*9)}
}

// starved recognizes what a program says when the system gives it no more memory: Go, its race detector,
// and the usual words of others. Where Go does not look whether it was given some, it meets address 0 in
// its own code, which is no panic.
func starved(said string) bool {
	if strings.HasPrefix(said, "SIGSEGV: segmentation violation") {
		return true
	}
	for _, words := range []string{
		"out of memory", "annot allocate memory", "failed to allocate", "address space collisions", "unexpected signal during runtime execution",
		"pthread_create failed", "failed to create new OS thread", // whose stack is memory too
		"std::bad_alloc", "MemoryError", "memory allocation of ", "Allocation failed",
	} {
		if strings.Contains(said, words) {
			return true
		}
	}
	return false
}

// size is a number of bytes for people.
func size(n int64) string {
	switch {
	case n >= 1<<30 && n%(1<<30) == 0:
		return fmt.Sprintf("%dGiB", n>>30)
	case n >= 1<<20 && n%(1<<20) == 0:
		return fmt.Sprintf("%dMiB", n>>20)
	}
	return fmt.Sprintf("%d bytes", n)
}
