//go:build !linux

package main

// hush leaves it to what reads the answer.
func hush(int) error { return nil }
