//go:build !linux

package main

// beingWritten is not known here: that a file stays as it is has to be enough.
func beingWritten(string) bool { return false }
