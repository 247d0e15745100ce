//go:build unix && !linux

package plughost

// enforced is whether limits hold.
const enforced = false

// impose does nothing: the system can't limit a process from outside. Go's collector heeds GOMEMLIMIT.
func (q *quota) impose(int, bool) error { return nil }
