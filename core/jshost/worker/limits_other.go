//go:build unix && !linux

package worker

import "os"

const descriptors = "/dev/fd"

func program() (string, error) { return os.Executable() }

// limitData does nothing: such limits are not kept here, or not for memory as Go takes it. The
// watchdog is left.
func limitData(int64) error { return nil }

// sandbox does nothing: without a number for it, no file and no socket can be opened.
func sandbox(bool) error { return nil }
