//go:build linux && race

package plughost

// room is how much memory a process may come to write to: a plugin that is built as this program is has
// the race detector, which keeps several bytes for each.
func room(memory int64) uint64 { return 10 * (uint64(memory) + 64<<20) }
