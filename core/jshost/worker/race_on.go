//go:build race

package worker

// hardLimit is what may be written at most: the race detector keeps several bytes for each.
func hardLimit(memory int64) uint64 { return 10 * (uint64(memory) + 64<<20) }

// environment has nothing but a setting of the race detector, which else sleeps for a second at the
// end.
func environment() []string { return []string{"GORACE=atexit_sleep_ms=0"} }
