//go:build linux && !race

package plughost

// room is how much memory a process may come to write to. Runtimes take some before they need it: Go
// 64 MiB at a time, and C 8 MiB for the stack of each thread.
func room(memory int64) uint64 { return uint64(memory) + 128<<20 }
