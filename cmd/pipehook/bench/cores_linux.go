package main

import (
	"os"
	"runtime"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// confine starts this program again on the first n cores, unless it runs on so few already. What it
// starts is confined too.
func confine(n int) error {
	var now, few unix.CPUSet
	if err := unix.SchedGetaffinity(0, &now); err != nil {
		return err
	}
	if now.Count() <= n {
		return nil
	}
	for i := 0; few.Count() < n; i++ {
		if now.IsSet(i) {
			few.Set(i)
		}
	}
	runtime.LockOSThread()
	if err := unix.SchedSetaffinity(0, &few); err != nil {
		return err
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	return syscall.Exec(self, os.Args, append(os.Environ(), "GOMAXPROCS="+strconv.Itoa(n)))
}
