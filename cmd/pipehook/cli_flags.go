package main

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/pipehook/pipehook/core"
)

// What a flag can't mean is refused when it is read. These commands change what is stored, and a
// limit that is dropped without a word makes them change more than was asked for.

// ago is a flag for a time that has passed, written as in the configuration. 0 is not given.
type ago time.Duration

func (a *ago) Set(text string) error {
	d, err := core.ParseDuration(text)
	if err == nil && d <= 0 {
		err = errors.New("must be above 0")
	}
	*a = ago(d)
	return err
}

func (a *ago) String() string {
	if *a == 0 {
		return ""
	}
	return time.Duration(*a).String()
}

func (a *ago) Type() string { return "duration" }

// from is the moment that long before now, or the zero time when the flag was not given.
func (a *ago) from(now time.Time) time.Time {
	if *a == 0 {
		return time.Time{}
	}
	return now.Add(-time.Duration(*a))
}

// stateName is a flag for the state of a delivery.
type stateName string

func (s *stateName) Set(text string) error {
	if !slices.Contains(core.States(), text) {
		return fmt.Errorf("it is one of %s", strings.Join(core.States(), ", "))
	}
	*s = stateName(text)
	return nil
}

func (s *stateName) String() string { return string(*s) }
func (s *stateName) Type() string   { return "state" }

// originName is a flag for what made an event.
type originName string

func (o *originName) Set(text string) error {
	if !slices.Contains(origins, text) {
		return fmt.Errorf("it is one of %s", strings.Join(origins, ", "))
	}
	*o = originName(text)
	return nil
}

func (o *originName) String() string { return string(*o) }
func (o *originName) Type() string   { return "origin" }

// origins are what events may come from, as people call it.
var origins = []string{fromWebhook, core.OriginReconcile}

// limit is a flag for how many are listed.
type limit int

func (l *limit) Set(text string) error {
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 {
		return errors.New("must be a number above 0")
	}
	*l = limit(n)
	return nil
}

func (l *limit) String() string { return strconv.Itoa(int(*l)) }
func (l *limit) Type() string   { return "number" }

// refusal is a flag for the status of a refused request.
type refusal int

func (r *refusal) Set(text string) error {
	n, err := strconv.Atoi(text)
	if err != nil || n != 200 && n < 400 || n > 599 {
		return errors.New("must be a status from 400 to 599, or 200 for what was dropped")
	}
	*r = refusal(n)
	return nil
}

func (r *refusal) String() string {
	if *r == 0 {
		return ""
	}
	return strconv.Itoa(int(*r))
}

func (r *refusal) Type() string { return "status" }

// knownOnly refuses what is no command of a group, with the nearest that is.
func knownOnly(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	hint := cmd.CommandPath() + " --help"
	cmd.SuggestionsMinimumDistance = 2
	if near := cmd.SuggestionsFor(args[0]); len(near) > 0 {
		hint = cmd.CommandPath() + " " + near[0]
	}
	if !cmd.HasParent() {
		return usagef(hint, "unknown command %q", args[0])
	}
	return usagef(hint, "unknown command %q of %s", args[0], cmd.CommandPath())
}

// plainFlags gives the templates of help flagUsages.
var plainFlags = sync.OnceFunc(func() { cobra.AddTemplateFunc("flagUsages", flagUsages) })

// flagGap is what stands between a flag and what it does.
var flagGap = regexp.MustCompile(`\S( {3,})`)

// flagUsages shows --json as --json, not as --json[=true|false].
func flagUsages(flags *pflag.FlagSet) string {
	const choice = "[=true|false]"
	lines := strings.SplitAfter(strings.ReplaceAll(flags.FlagUsages(), choice, strings.Repeat(" ", len(choice))), "\n")
	spare := len(choice)
	for _, line := range lines {
		if at := flagGap.FindStringSubmatchIndex(line); at != nil {
			spare = min(spare, at[3]-at[2]-3)
		}
	}
	for i, line := range lines {
		if at := flagGap.FindStringSubmatchIndex(line); at != nil {
			lines[i] = line[:at[2]] + line[at[2]+spare:]
		}
	}
	return strings.Join(lines, "")
}
