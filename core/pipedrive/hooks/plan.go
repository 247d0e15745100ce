package hooks

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"
)

// Webhook is one that an account has. Its password is not kept: nobody needs it.
type Webhook struct {
	ID       int64
	User     int64 // whose permissions it has
	Owner    int64 // who made it
	Name     string
	Event    Event
	URL      string
	Version  string
	Active   bool
	AuthUser string // of HTTP Basic; empty when it has none
	Type     string // general, application or automation

	LastStatus    int       // of the last delivery; 0 when there was none
	LastDelivery  time.Time // zero when there was none
	RemovedReason string
}

// Wanted is a webhook that an account should have.
type Wanted struct {
	Key      string // where the configuration asks for it
	Event    Event
	Name     string // empty for any
	Prefix   string // of the name that one without is given: its event follows
	URL      string
	Version  string
	User     int64 // 0 for any
	AuthUser string
}

// Kind is what becomes of a webhook.
type Kind string

// The kinds. Create, Replace and Duplicate are what is out of step, and whatever comes twice.
const (
	Keep      Kind = "keep"
	Adopt     Kind = "adopt"     // it is the wanted one under another name, which is left
	Create    Kind = "create"    // there is none
	Replace   Kind = "replace"   // there is one that differs
	Duplicate Kind = "duplicate" // a second one of what is wanted
	Leave     Kind = "leave"     // nobody has asked for it
)

// Step is what a plan says of a wanted webhook, of one that there is, or of both.
type Step struct {
	Kind   Kind
	Wanted *Wanted  // nil for Duplicate and Leave
	Has    *Webhook // nil for Create
	Why    []string // what differs, or what is odd of it
	Twice  bool     // another brings some of its events to the same place
}

// Plan is what has to be done, in the order of the wanted webhooks; others follow.
type Plan []Step

// InStep reports whether there is nothing to do.
func (p Plan) InStep() bool {
	return p.Count(Create)+p.Count(Replace)+p.Count(Duplicate)+p.Doubles() == 0
}

// Doubles is how many webhooks bring what another brings too, beside those that are a Duplicate.
func (p Plan) Doubles() (n int) {
	for _, s := range p {
		if s.Twice {
			n++
		}
	}
	return n
}

// Count is how many steps are of a kind.
func (p Plan) Count(k Kind) (n int) {
	for _, s := range p {
		if s.Kind == k {
			n++
		}
	}
	return n
}

// SameURL compares addresses as a client would: the host in any case, with or without the usual port.
func SameURL(a, b string) bool { return normal(a) == normal(b) }

func normal(text string) string {
	u, err := url.Parse(text)
	if err != nil {
		return text
	}
	u.Scheme, u.Host = strings.ToLower(u.Scheme), strings.ToLower(u.Host)
	if port := u.Port(); port == "443" && u.Scheme == "https" || port == "80" && u.Scheme == "http" {
		u.Host = strings.TrimSuffix(u.Host, ":"+port)
	}
	if u.Path == "" {
		u.Path = "/"
	}
	return u.String()
}

// Differs is what a webhook is other than wanted, as "version is 1.0, not 2.0"; empty when it will do. Its
// name is no difference.
func (w *Wanted) Differs(has *Webhook) (all []string) {
	differ := func(what, is, not string) {
		if is != not {
			all = append(all, fmt.Sprintf("%s is %s, not %s", what, orNone(is), orNone(not)))
		}
	}
	if w.Event != has.Event {
		differ("event", has.Event.String(), w.Event.String())
	}
	if !SameURL(w.URL, has.URL) {
		differ("url", has.URL, w.URL)
	}
	differ("version", has.Version, w.Version)
	if w.User != 0 && has.User != w.User {
		differ("user", fmt.Sprint(has.User), fmt.Sprint(w.User))
	}
	differ("the username of HTTP Basic", has.AuthUser, w.AuthUser)
	if !has.Active {
		all = append(all, strings.TrimSpace("it is not active "+has.RemovedReason))
	}
	return all
}

func orNone(s string) string {
	if s == "" {
		return "none"
	}
	return s
}

// Compare makes a plan. ours are further addresses of this pipehook: what points there and is not wanted is
// told apart from what has nothing to do with it.
func Compare(wanted []Wanted, has []Webhook, ours []string) Plan {
	c := comparison{wanted: wanted, has: has, claimed: make([]bool, len(has)), steps: make(Plan, len(wanted))}
	for i := range wanted {
		c.settle(i, c.same, Keep)
	}
	for _, fits := range []func(*Wanted, *Webhook) int{c.alike, c.madeUp} {
		for i := range wanted {
			if c.steps[i].Kind == "" {
				c.settle(i, fits, Replace)
			}
		}
	}
	for i := range wanted {
		if c.steps[i].Kind == "" {
			c.steps[i] = Step{Kind: Create, Wanted: &wanted[i]}
		}
		for j := range wanted[:i] {
			if twice(&wanted[j], &wanted[i]) {
				c.steps[i].Why = append(c.steps[i].Why, fmt.Sprintf("some events come twice: %s brings %s here too", wanted[j].Key, wanted[j].Event))
				c.steps[i].Twice = true
			}
		}
	}
	for i := range has {
		if !c.claimed[i] {
			c.steps = append(c.steps, c.rest(i, ours))
		}
	}
	return c.steps
}

type comparison struct {
	wanted  []Wanted
	has     []Webhook
	claimed []bool
	steps   Plan
}

// settle gives the wanted webhook the best of those that nobody has claimed.
func (c *comparison) settle(i int, fits func(*Wanted, *Webhook) int, kind Kind) {
	w, best, most := &c.wanted[i], -1, 0
	for at := range c.has {
		if n := fits(w, &c.has[at]); !c.claimed[at] && n > most {
			best, most = at, n
		}
	}
	if best < 0 {
		return
	}
	c.claimed[best] = true
	s := Step{Kind: kind, Wanted: w, Has: &c.has[best], Why: w.Differs(&c.has[best])}
	if kind == Keep && w.Name != "" && w.Name != s.Has.Name {
		s.Kind, s.Why = Adopt, []string{fmt.Sprintf("its name is %s, not %s", orNone(s.Has.Name), w.Name)}
	}
	c.steps[i] = s
}

// same prefers what has the name.
func (c *comparison) same(w *Wanted, has *Webhook) int {
	switch {
	case len(w.Differs(has)) > 0:
		return 0
	case w.Name == has.Name:
		return 2
	}
	return 1
}

// alike is for a webhook that was the wanted one before one of them was changed: it has the name and the
// address or the event of it, or the address and the event. An app's own can't be replaced by a token.
func (c *comparison) alike(w *Wanted, has *Webhook) int {
	named, at, about := w.Name != "" && w.Name == has.Name, SameURL(w.URL, has.URL), w.Event == has.Event
	switch {
	case has.Type == "automation":
		return 0
	case named && at && about:
		return 4
	case named && (at || about):
		return 3
	case at && about && has.Active:
		return 2
	case at && about:
		return 1
	}
	return 0
}

// madeUp is for a wanted webhook without a name: the one that was made for it under a made-up name before its event was
// changed.
func (c *comparison) madeUp(w *Wanted, has *Webhook) int {
	if w.Name == "" && w.Prefix != "" && has.Name == w.Prefix+has.Event.String() && SameURL(w.URL, has.URL) && has.Type != "automation" {
		return 1
	}
	return 0
}

// rest is what a plan says of a webhook that no wanted one has claimed.
func (c *comparison) rest(at int, ours []string) Step {
	has := &c.has[at]
	s := Step{Kind: Leave, Has: has}
	here := slices.ContainsFunc(ours, func(u string) bool { return SameURL(u, has.URL) })
	for i := range c.wanted {
		w := &c.wanted[i]
		if !SameURL(w.URL, has.URL) {
			continue
		}
		here = true
		kept := c.steps[i].Has
		switch {
		case w.Event == has.Event && kept != nil && kept.User != has.User && has.Active:
			s.Why, s.Twice = append(s.Why, fmt.Sprintf("it brings %s here too, of another user (%d)", has.Event, has.User)), true
		case w.Event == has.Event && kept != nil && has.Type != "automation":
			s.Kind = Duplicate
			s.Why = append(s.Why, fmt.Sprintf("webhook %d brings %s here already", kept.ID, has.Event))
		case has.Active && w.Event.overlaps(w.Version, has.Event, has.Version):
			s.Why, s.Twice = append(s.Why, fmt.Sprintf("some events come twice: %s is declared, and this brings %s", w.Event, has.Event)), true
		}
	}
	if s.Kind == Duplicate {
		s.Twice = false // it goes
		return s
	}
	if here && len(s.Why) == 0 {
		c.besides(at, &s)
	}
	if s.Kind == Leave && here && len(s.Why) == 0 {
		s.Why = []string{"it comes here and is not declared"}
	}
	return s
}

// besides tells of another that nobody has asked for either and that brings the same here. Of two it is the one that brings
// less, or was listed later, that is told of.
func (c *comparison) besides(at int, s *Step) {
	h := &c.has[at]
	for i := range c.has {
		o := &c.has[i]
		if i == at || c.claimed[i] || !h.Active || !o.overlaps(h.URL, h.Event, h.Version) {
			continue
		}
		if less := o.Event.Covers(h.Event) && o.Event != h.Event; less || i < at && !(h.Event.Covers(o.Event) && o.Event != h.Event) {
			s.Why, s.Twice = append(s.Why, fmt.Sprintf("some events come twice: webhook %d brings %s here too", o.ID, o.Event)), true
		}
	}
}

// overlaps reports whether an active one brings some of the events to the address.
func (h *Webhook) overlaps(address string, e Event, version string) bool {
	return h.Active && SameURL(h.URL, address) && h.Event.overlaps(h.Version, e, version)
}

// Overlapping are those that bring some of the events of a new one to the same place.
func Overlapping(w Wanted, has []Webhook) (all []Webhook) {
	for i := range has {
		if has[i].overlaps(w.URL, w.Event, w.Version) {
			all = append(all, has[i])
		}
	}
	return all
}

// Identical is the first webhook that a new one would only repeat, whatever its name.
func Identical(w Wanted, has []Webhook) (Webhook, bool) {
	for _, h := range has {
		if len(w.Differs(&h)) == 0 {
			return h, true
		}
	}
	return Webhook{}, false
}

// twice reports whether two that are wanted bring some of the same events to the same place.
func twice(a, b *Wanted) bool {
	return SameURL(a.URL, b.URL) && a.User == b.User && a.Event.overlaps(a.Version, b.Event, b.Version)
}
