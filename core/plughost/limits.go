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

// met is which of the limits a process has met that lacked something and has had so many bytes in memory, if
// any.
func (q *quota) met(l lack, had int64) string {
	switch {
	case !enforced:
	case q.memory > 0 && (l == memory || l == perhapsMemory && had > q.memory/4*3):
		return "memory limit of " + size(q.memory) + " exceeded"
	case l == files && q.openFiles > 0:
		return fmt.Sprintf("limit of %d open files exceeded", q.openFiles)
	}
	return ""
}

// lack is what a program says that the system does not give it.
type lack int

const (
	nothing lack = iota
	memory
	perhapsMemory
	files
)

// lackOf recognizes what programs say: Go, its race detector, and the usual words of others. Where Go does
// not look whether it was given memory, it meets address 0 in its own code, which is no panic; but so does
// what is wrong in C.
func lackOf(said string) lack {
	if strings.HasPrefix(said, "SIGSEGV: segmentation violation") || strings.Contains(said, "unexpected signal during runtime execution") {
		return perhapsMemory
	}
	for words, l := range lacks {
		if strings.Contains(said, words) {
			return l
		}
	}
	return nothing
}

var lacks = map[string]lack{
	"out of memory": memory, "annot allocate memory": memory, "failed to allocate": memory, "address space collisions": memory,
	"std::bad_alloc": memory, "MemoryError": memory, "memory allocation of ": memory,
	"Allocation failed": memory, "pthread_create failed": memory, "failed to create new OS thread": memory, // whose stack is memory too
	"oo many open files": files, "netpollinit failed": files, "EMFILE": files,
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
