package plughost

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// enforced is whether limits hold.
const enforced = true

// impose limits a process that runs. Memory that it may write to already comes on top: that is its
// program, and what its runtime has taken for itself, which is known once it has shaken hands. Until then
// the limit can be raised again. What was in memory is not written to a file when the process dies, since
// secrets may be among it.
func (q *quota) impose(pid int, shaken bool) error {
	errs := []error{limit(pid, unix.RLIMIT_CORE, 0, true)}
	if q.openFiles > 0 {
		errs = append(errs, limit(pid, unix.RLIMIT_NOFILE, uint64(q.openFiles), true))
	}
	if q.memory > 0 {
		used, err := dataSize(pid)
		if err == nil {
			err = limit(pid, unix.RLIMIT_DATA, used+room(q.memory), shaken)
		}
		errs = append(errs, err)
	}
	if err := errors.Join(errs...); !errors.Is(err, unix.ESRCH) { // it has ended, which others notice
		return err
	}
	return nil
}

// limit lowers a limit as far as the system allows as much, and for good if it is to be kept.
func limit(pid, resource int, to uint64, keep bool) error {
	var now unix.Rlimit
	if err := unix.Prlimit(pid, resource, nil, &now); err != nil {
		return err
	}
	to = min(to, now.Max)
	if keep {
		now.Max = to
	}
	return unix.Prlimit(pid, resource, &unix.Rlimit{Cur: to, Max: now.Max}, nil)
}

// dataSize is how much memory of its own a process may write to, as the system counts it for the limit.
func dataSize(pid int) (uint64, error) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(status)) {
		if rest, ok := strings.CutPrefix(line, "VmData:"); ok {
			kib, err := strconv.ParseUint(strings.TrimSuffix(strings.TrimSpace(rest), " kB"), 10, 64)
			return kib << 10, err
		}
	}
	return 0, nil // it has ended, and is a zombie
}
