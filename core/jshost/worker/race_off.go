//go:build !race

package worker

// hardLimit is what may be written at most. The threads' stacks and what Go keeps about its memory
// come on top of what scripts use.
func hardLimit(memory int64) uint64 { return uint64(memory) + uint64(memory)/4 + 64<<20 }

// environment is what a child gets.
func environment() []string { return []string{} }
