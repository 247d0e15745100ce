package main

import (
	"fmt"
	"slices"
)

// orderCosts says in words what the order of a chain weakens, one sentence each. An order that
// keeps every promise costs nothing.
func orderCosts(kinds []string) []string {
	c := chain(kinds)
	var costs []string
	for _, rule := range orderRules {
		if rule.applies(c) {
			costs = append(costs, rule.cost)
		}
	}
	return append(costs, c.repeats()...)
}

type chain []string

func (c chain) has(kind string) bool { return slices.Contains(c, kind) }

// before reports whether a stage of the first kind stands before one of the second, both present.
func (c chain) before(first, second string) bool {
	at := slices.Index(c, first)
	return at >= 0 && slices.Contains(c[at:], second)
}

// late reports whether no stage of the kind stands before the first of the other.
func (c chain) late(kind, other string) bool {
	at, limit := slices.Index(c, kind), slices.Index(c, other)
	return at >= 0 && limit >= 0 && at > limit
}

func (c chain) repeats() []string {
	effects := map[string]string{
		"validate": "the second does the same work again",
		"echo":     "the second does the same work again",
		"dedupe":   "the second only counts when its window is longer",
		"persist":  "the second does nothing",
		"dispatch": "the second only adds listeners that the first did not reach",
	}
	var costs []string
	for i, kind := range c {
		if effect, ok := effects[kind]; ok && slices.Index(c, kind) < i && slices.Index(c[i+1:], kind) < 0 {
			costs = append(costs, fmt.Sprintf("%s stands more than once: %s", kind, effect))
		}
	}
	return costs
}

var orderRules = []struct {
	applies func(c chain) bool
	cost    string
}{
	{func(c chain) bool { return !c.has("authenticate") },
		"no authenticate: anyone who finds the address can send events"},
	{func(c chain) bool { return c.late("authenticate", "validate") },
		"validate before authenticate: a stranger's body is read before he is turned away"},
	{func(c chain) bool { return c.late("authenticate", "script") },
		"script before authenticate: a stranger's body runs through your script"},
	{func(c chain) bool { return c.late("authenticate", "plugin") },
		"plugin before authenticate: a stranger's body runs through your plugin"},
	{func(c chain) bool { return c.late("authenticate", "echo") },
		"echo before authenticate: a stranger can use up what an echo is known by"},
	{func(c chain) bool { return c.late("authenticate", "dedupe") },
		"dedupe before authenticate: a stranger who knows an event's key is told that it was received, and its id"},
	{func(c chain) bool { return c.late("authenticate", "persist") && c.before("dedupe", "authenticate") },
		"dedupe and persist before authenticate: a stranger can suppress events, because a real one then counts as a duplicate of his"},
	{func(c chain) bool { return c.late("authenticate", "persist") },
		"persist before authenticate: a stranger can fill the store, although he is answered 401"},
	{func(c chain) bool { return c.late("authenticate", "dispatch") },
		"dispatch before authenticate: listeners run for a stranger's events"},
	{func(c chain) bool { return c.late("validate", "script") },
		"script before validate: your script gets bodies of the wrong shape"},
	{func(c chain) bool { return c.late("validate", "plugin") },
		"plugin before validate: your plugin gets bodies of the wrong shape"},
	{func(c chain) bool { return c.late("validate", "persist") },
		"validate after persist: an event of the wrong shape is stored, although its sender is told 422"},
	{func(c chain) bool { return c.late("validate", "dispatch") },
		"validate after dispatch: listeners get events of the wrong shape"},
	{func(c chain) bool { return !c.has("dedupe") },
		"no dedupe: when the sender tries again, the event is stored and handled again"},
	{func(c chain) bool { return c.late("dedupe", "persist") && !c.late("dedupe", "dispatch") },
		"dedupe after persist: a duplicate is stored again; only its deliveries are suppressed"},
	{func(c chain) bool { return c.late("dedupe", "dispatch") },
		"dedupe after dispatch: a duplicate is delivered again"},
	{func(c chain) bool { return c.has("dedupe") && !c.has("persist") },
		"dedupe without persist: the key is remembered but the event is not, so an event whose handling fails is lost when the sender tries again"},
	{func(c chain) bool { return !c.has("persist") },
		"no persist: an event that was accepted is lost when the process ends, and nothing can be replayed"},
	{func(c chain) bool { return c.late("persist", "dispatch") },
		"dispatch before persist: a listener may run for an event that is then lost, and an attempt that fails is forgotten when the process ends"},
	{func(c chain) bool { return c.before("persist", "script") && !c.before("dispatch", "script") },
		"script after persist: an event that the script drops or rejects is stored all the same"},
	{func(c chain) bool { return c.before("persist", "plugin") && !c.before("dispatch", "plugin") },
		"plugin after persist: an event that the plugin drops or rejects is stored all the same"},
	{func(c chain) bool { return c.before("persist", "echo") && !c.before("dispatch", "echo") },
		"echo after persist: an echo that is dropped is stored all the same"},
	{func(c chain) bool { return c.before("dispatch", "echo") },
		"echo after dispatch: listeners are chosen before an echo is marked or dropped, and get it all the same"},
	{func(c chain) bool { return c.before("dispatch", "script") },
		"script after dispatch: listeners are chosen before the script has labelled, changed, dropped or rejected the event, and get it all the same"},
	{func(c chain) bool { return c.before("dispatch", "plugin") },
		"plugin after dispatch: listeners are chosen before the plugin has labelled, changed, dropped or rejected the event, and get it all the same"},
	{func(c chain) bool { return !c.has("dispatch") },
		"no dispatch: no listener ever gets these events"},
}
