//go:build failpoint

package failpoint

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
)

var armed = arm(os.Getenv(Env))

// armedPoint is the point that ends the process.
type armedPoint struct {
	name Point
	nth  int64
	seen atomic.Int64
}

// arm reads name:n. A text that makes no sense would test nothing, so it ends the process too.
func arm(text string) *armedPoint {
	if text == "" {
		return nil
	}
	name, count, _ := strings.Cut(text, ":")
	nth, err := strconv.ParseInt(count, 10, 64)
	if err != nil || nth < 1 || !slices.Contains(All(), Point(name)) {
		fmt.Fprintf(os.Stderr, "%s: %q is not a point and a number, such as %s:1\n", Env, text, BodyRead)
		os.Exit(2)
	}
	return &armedPoint{name: Point(name), nth: nth}
}

// Pass passes a point.
func Pass(p Point) {
	if armed != nil && armed.name == p && armed.seen.Add(1) == armed.nth {
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
		select {} // the signal is on its way
	}
}
