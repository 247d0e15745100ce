package main

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode"

	"github.com/spf13/cobra"

	"github.com/pipehook/pipehook/core/config"
	"github.com/pipehook/pipehook/core/mirror"
	"github.com/pipehook/pipehook/stages/authenticate"
)

// The page for those who come from laravel-pipedrive names what there is here, row by row.
func TestWhatThePageAboutLaravelNamesIsThere(t *testing.T) {
	l := &laravelPage{t: t, found: map[string]int{}, event: declared(t, "Event"), keys: config.Keys(), stage: config.StageKeys(authenticate.Config{})}
	l.at = (&cli{}).root()
	for line := range strings.Lines(page(t, "docs/from-laravel-pipedrive.md")) {
		if cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), " | "); len(cells) == 3 && !strings.HasPrefix(line, "|---") {
			l.row(cells[0], cells[1]+" "+cells[2])
		}
	}
	for kind, least := range map[string]int{"command": 14, "flag": 9, "key": 10, "event": 16, "table": 1} {
		if l.found[kind] < least {
			t.Errorf("the page names %d of the kind %s, of %d that it should", l.found[kind], kind, least)
		}
	}
}

type laravelPage struct {
	t     *testing.T
	at    *cobra.Command // that was named last
	event []string
	keys  []string
	stage []string // keys of authenticate
	found map[string]int
}

var (
	codeSpan     = regexp.MustCompile("`([^`]+)`")
	flagName     = regexp.MustCompile(`--([a-z-]+)`)
	dottedKey    = regexp.MustCompile(`^[a-z_]+(\.[a-z_]+)+$`)
	eventNames   = regexp.MustCompile(`^(added|updated|deleted|merged)\.`)
	keyOfSection = regexp.MustCompile(`^\[(\w+)\] (\w+) =`)
	keyOfTable   = regexp.MustCompile("`(\\w+)(?: = [^`]*)?` of a (?:`\\[\\[)?(pipeline|listener)")
	tableWithKey = regexp.MustCompile("`\\[\\[(\\w+)\\]\\]` with `(\\w+) =")
	keyOfStage   = regexp.MustCompile("`(\\w+)(?: = \\{ ([^}]*) \\})?` of (?:the stage )?\\[?authenticate")
	eventMember  = regexp.MustCompile(`^event\.(\w+)|^(is\w+|get\w+)\(\)$`)
	sqlTable     = regexp.MustCompile(`^pipedrive_\w+s$`)
	oneWord      = regexp.MustCompile(`^[a-z]+$`)
)

// has counts what the page names and complains if it is not there.
func (l *laravelPage) has(kind, name string, there bool) {
	l.found[kind]++
	if !there {
		l.t.Errorf("the page names the %s %s, which there is not", kind, name)
	}
}

func (l *laravelPage) row(there, here string) {
	named := false
	for _, m := range codeSpan.FindAllStringSubmatch(here, -1) {
		named = l.command(m[1], named) || named
		l.span(m[1])
	}
	for _, m := range codeSpan.FindAllStringSubmatch(there, -1) {
		l.flags(m[1])
		if member := eventMember.FindStringSubmatch(m[1]); member != nil {
			l.has("event", member[2], slices.Contains(l.event, member[2]))
		}
	}
	for _, m := range keyOfTable.FindAllStringSubmatch(here, -1) {
		l.has("key", m[2]+"."+m[1], slices.Contains(l.keys, m[2]+"."+m[1]))
	}
	for _, m := range tableWithKey.FindAllStringSubmatch(here, -1) {
		l.has("key", m[1]+"."+m[2], slices.Contains(l.keys, m[1]+"."+m[2]))
	}
	for _, m := range keyOfStage.FindAllStringSubmatch(here, -1) {
		if m[2] == "" {
			l.has("key", m[1], slices.Contains(l.stage, m[1]))
		}
		for part := range strings.SplitSeq(m[2], ", ") {
			if part != "" {
				l.has("key", m[1]+"."+part, slices.Contains(l.stage, m[1]+"."+part))
			}
		}
	}
}

// command takes a code that is a command, or the name of another one beside the one before it.
func (l *laravelPage) command(code string, beside bool) bool {
	words := strings.Fields(code)
	root := l.at.Root()
	from := root
	switch {
	case words[0] == "pipehook":
		words = words[1:]
	case beside && oneWord.MatchString(code):
		from = l.at.Parent()
	case len(words) == 2 && oneWord.MatchString(words[0]) && oneWord.MatchString(words[1]): // such as events list
	default:
		return false
	}
	if i := slices.IndexFunc(words, func(w string) bool { return strings.HasPrefix(w, "-") }); i >= 0 {
		words = words[:i]
	}
	cmd, rest, err := from.Find(words)
	l.has("command", code, err == nil && len(rest) == 0)
	if err == nil && cmd != root {
		l.at = cmd
	}
	return true
}

func (l *laravelPage) flags(code string) {
	for _, m := range flagName.FindAllStringSubmatch(code, -1) {
		l.has("flag", l.at.CommandPath()+" --"+m[1], l.at.Flag(m[1]) != nil)
	}
}

func (l *laravelPage) span(code string) {
	l.flags(code)
	section, member := keyOfSection.FindStringSubmatch(code), eventMember.FindStringSubmatch(code)
	switch {
	case section != nil:
		l.has("key", section[1]+"."+section[2], slices.Contains(l.keys, section[1]+"."+section[2]))
	case member != nil:
		l.has("event", code, slices.Contains(l.event, member[1]+member[2]))
	case dottedKey.MatchString(code) && !eventNames.MatchString(code):
		l.has("key", code, slices.Contains(l.keys, code))
	case sqlTable.MatchString(code):
		l.has("table", code, strings.Contains(mirror.Schema(false), code+" "))
	}
}

var (
	headings = regexp.MustCompile(`(?m)^#+ (.*)$`)
	fences   = regexp.MustCompile("(?ms)^```.*?^```$")
	toAnchor = regexp.MustCompile(`\]\(([^)#:]*)#([^)]+)\)`)
)

// anchors are those of a page's headings, as GitHub makes them.
func anchors(text string) map[string]bool {
	all := map[string]bool{}
	for _, m := range headings.FindAllStringSubmatch(fences.ReplaceAllString(text, ""), -1) {
		all[strings.Map(func(r rune) rune {
			switch {
			case r == ' ':
				return '-'
			case r == '-', r == '_', unicode.IsLetter(r), unicode.IsDigit(r):
				return unicode.ToLower(r)
			}
			return -1
		}, m[1])] = true
	}
	return all
}

func TestEveryLinkToAHeadingLeadsThere(t *testing.T) {
	eachPage(t, func(name string, text []byte) {
		for _, m := range toAnchor.FindAllStringSubmatch(string(text), -1) {
			to := text
			if m[1] != "" {
				var err error
				if to, err = os.ReadFile(filepath.Join(filepath.Dir(name), m[1])); err != nil {
					t.Errorf("%s: %v", name, err)
					continue
				}
			}
			if !anchors(string(to))[m[2]] {
				t.Errorf("%s links to %s#%s, which is not there", name, m[1], m[2])
			}
		}
	})
}
