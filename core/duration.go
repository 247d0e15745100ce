package core

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// ParseDuration reads a duration as people write it everywhere in pipehook: Go's syntax, and d for days
// of 24 hours.
func ParseDuration(text string) (time.Duration, error) {
	days, rest, hasDays := strings.Cut(text, "d")
	if !hasDays {
		days, rest = "0", text
	}
	n, err := strconv.ParseUint(days, 10, 16)
	if err != nil || text == "" {
		return 0, durationError(text)
	}
	total := time.Duration(n) * 24 * time.Hour
	if rest != "" {
		d, err := time.ParseDuration(rest)
		if err != nil || hasDays && (d < 0 || d > math.MaxInt64-total) {
			return 0, durationError(text)
		}
		total += d
	}
	return total, nil
}

func durationError(text string) error {
	return fmt.Errorf("%q is not a duration such as \"5s\", \"1h30m\" or \"30d\"", text)
}
