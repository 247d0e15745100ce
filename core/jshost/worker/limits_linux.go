package worker

import (
	"os"
	"strconv"
	"strings"

	"github.com/landlock-lsm/go-landlock/landlock"
	ll "github.com/landlock-lsm/go-landlock/landlock/syscall"
	"golang.org/x/sys/unix"
)

const descriptors = "/proc/self/fd"

// program is what runs, whatever has become of its file meanwhile.
func program() (string, error) {
	const self = "/proc/self/exe"
	if _, err := os.Lstat(self); err != nil {
		return os.Executable()
	}
	return self, nil
}

// limitData bounds the memory that can be written, of which the watchdog sees too late what one
// single function takes.
func limitData(memory int64) error {
	used, err := dataSize()
	if err != nil {
		return nil // no /proc: the watchdog is left
	}
	return lower(unix.RLIMIT_DATA, used+hardLimit(memory))
}

func dataSize() (uint64, error) {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(status)) {
		if rest, ok := strings.CutPrefix(line, "VmData:"); ok {
			kib, err := strconv.ParseUint(strings.TrimSuffix(strings.TrimSpace(rest), " kB"), 10, 64)
			return kib << 10, err
		}
	}
	return 0, os.ErrNotExist
}

// sandbox has the system refuse files, TCP and signals to others, as far as it can, and programs that
// would have more rights.
func sandbox(reads bool) error {
	if err := ll.AllThreadsPrctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return err
	}
	var rules []landlock.Rule
	if reads {
		rules = append(rules, landlock.RODirs("/"))
	}
	return landlock.V11.BestEffort().Restrict(rules...)
}
