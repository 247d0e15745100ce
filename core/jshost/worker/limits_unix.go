//go:build unix

package worker

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// disown closes what we have inherited beside our socket: our parent marks all of its own, but not
// what it has got itself from whoever started it. What this process has opened is marked.
func disown() {
	dir, err := os.Open(descriptors)
	if err != nil {
		return
	}
	names, _ := dir.Readdirnames(-1)
	_ = dir.Close()
	for _, name := range names {
		var fd int
		if _, err := fmt.Sscan(name, &fd); err != nil || fd < 3 {
			continue
		}
		if flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err == nil && flags&unix.FD_CLOEXEC == 0 {
			_ = unix.Close(fd)
		}
	}
}

// confine takes away what the process has and needs no more, for good. What a system does not know
// is left out; what fails otherwise is an error.
func confine(memory int64, reads bool) error {
	var errs []error
	try := func(what string, err error) {
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", what, err))
		}
	}
	try("the limit of core files", lower(unix.RLIMIT_CORE, 0))
	try("the limit of written files", lower(unix.RLIMIT_FSIZE, 0))
	try("the limit of memory", limitData(memory))
	try("the sandbox", sandbox(reads))
	if !reads { // neither a file nor a socket can be opened without a number to give it
		try("the limit of open files", lower(unix.RLIMIT_NOFILE, 0))
	}
	return errors.Join(errs...)
}
