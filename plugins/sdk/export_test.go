package sdk

import "github.com/pipehook/pipehook/plugins/sdk/wire"

// Decode is for the fuzzer.
var Decode = decode

// Debugged makes two places of one process in a debugger.
func Debugged(p Plugin) (one, other wire.Server) {
	all := newShared(p)
	return &debugged{NewServer(p), all}, &debugged{NewServer(p), all}
}
