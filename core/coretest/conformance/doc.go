// Package conformance holds the runs of coretest's suites over all that a listener or a stage can be made
// of, and nothing else: a function in Go, a script in this process and in one of its own, and a plugin
// that is a real process.
package conformance
