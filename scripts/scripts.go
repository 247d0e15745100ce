// Package scripts holds the example handlers. pipehook init hands them out, and pipehook dev runs
// them where there are no others.
package scripts

import "embed"

// Files are the handlers.
//
//go:embed *.js
var Files embed.FS
