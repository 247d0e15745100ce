//go:build !failpoint

package failpoint

// Pass passes a point.
func Pass(Point) {}
