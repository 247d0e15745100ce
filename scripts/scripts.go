// Package scripts holds the example handlers. pipehook init hands them out, and pipehook dev runs
// those that are listeners where there are no others.
package scripts

import "embed"

// Files are the handlers, and with them what they can be learned from.
//
//go:embed README.md *.js examples stages sources
var Files embed.FS
