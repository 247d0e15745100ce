//go:build race

package worker

// hardLimit is what may be written at most: the race detector keeps several bytes for each.
func hardLimit(memory int64) uint64 { return 10 * (uint64(memory) + 64<<20) }
