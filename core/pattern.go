package core

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Pattern chooses events by "action.object", with * for any on either side. The zero Pattern
// matches nothing.
type Pattern struct{ action, object string }

var actionAliases = map[string]string{"create": Added, "change": Updated, "delete": Deleted}

// ParsePattern reads "updated.deal", "*.deal", "added.*" or "*.*". The actions create, change and
// delete mean added, updated and deleted. The error is of Kind Invalid and says what is wrong.
func ParsePattern(s string) (Pattern, error) {
	action, object, ok := strings.Cut(s, ".")
	if !ok || action == "" || object == "" {
		return Pattern{}, &Error{Kind: Invalid, Msg: fmt.Sprintf("pattern %q is not action.object, such as updated.deal or *.*", s)}
	}
	for _, part := range []string{action, object} {
		if part != "*" && strings.ContainsAny(part, "* \t\r\n") {
			return Pattern{}, &Error{Kind: Invalid, Msg: fmt.Sprintf("pattern %q: * stands for a whole side, as in *.deal", s)}
		}
	}
	return Pattern{action: CanonicalAction(action), object: object}, nil
}

// CanonicalAction translates create, change and delete, and leaves every other word alone.
func CanonicalAction(action string) string {
	if canonical, ok := actionAliases[action]; ok {
		return canonical
	}
	return action
}

// Actions are all words for an action that a pattern may use and a sender is known to mean.
func Actions() []string {
	return append(slices.Sorted(maps.Keys(actionAliases)), Added, Updated, Deleted, Merged)
}

// KnownAction reports whether the pattern's action is * or one of Actions.
func (p Pattern) KnownAction() bool { return p.action == "*" || slices.Contains(Actions(), p.action) }

// Match reports whether the pattern chooses ev.
func (p Pattern) Match(ev *Event) bool {
	if p.object != ev.Object && p.object != "*" || p.object == "" {
		return false
	}
	return p.action == "*" || p.action == ev.Action || ev.AlsoAction != "" && p.action == ev.AlsoAction
}

// String is the pattern in canonical words.
func (p Pattern) String() string { return p.action + "." + p.object }

// Action is the canonical action, or "*"; empty for the zero Pattern.
func (p Pattern) Action() string { return p.action }

// Object is the object, or "*"; empty for the zero Pattern.
func (p Pattern) Object() string { return p.object }
