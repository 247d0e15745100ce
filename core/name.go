package core

import "regexp"

var namePattern = regexp.MustCompile(`^[a-z0-9][a-z0-9_-]{0,63}$`)

// IsName reports whether a pipeline, a listener or a script can be called so: up to 64 lower-case
// letters, digits, - and _, of which a letter or a digit comes first.
func IsName(s string) bool { return namePattern.MatchString(s) }
