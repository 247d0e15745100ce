//go:build unix

package plughost

import (
	"syscall"
	"time"
)

// maxForks bounds how often what was started anew is looked for.
const maxForks = 100

// endStrays ends what the process has started and what has left its group.
func (i *instance) endStrays() {
	for range maxForks {
		pids := strays(i.sockets)
		if len(pids) == 0 {
			return
		}
		for _, pid := range pids {
			_ = syscall.Kill(pid, syscall.SIGKILL) // it may have ended by itself
		}
		time.Sleep(time.Millisecond) // until they are gone, and what they may have started meanwhile is seen
	}
}
