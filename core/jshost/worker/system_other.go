//go:build !unix

package worker

import (
	"errors"
	"os"
	"syscall"
)

var errNoProcess = errors.New("on this system scripts can't have processes of their own: set scripts.isolation to \"none\"")

func socketPair() (ours, its *os.File, err error) { return nil, nil, errNoProcess }

func attributes() *syscall.SysProcAttr { return nil }

func parent() (*os.File, error) { return nil, errNoProcess }

func program() (string, error) { return "", errNoProcess }

func disown() {}

func ignoreSignals() {}

func confine(int64, bool) error { return errNoProcess }
