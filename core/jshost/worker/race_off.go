//go:build !race

package worker

// hardLimit is what may be written at most. What Go keeps about its memory and the threads' stacks,
// of 8 MiB each where C makes them, come on top of what scripts use; the watchdog is exact.
func hardLimit(memory int64) uint64 { return uint64(memory) + uint64(memory)/4 + 192<<20 }

// environment is what a child gets.
func environment() []string { return []string{} }
