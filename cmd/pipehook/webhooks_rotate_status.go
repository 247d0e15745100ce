package main

import (
	"fmt"
	"time"

	"github.com/pipehook/pipehook/core/rotation"
)

// rotationJSON is where a change stands, as --json prints it.
type rotationJSON struct {
	State      string  `json:"state"` // none, begun, known, replaced, used or retired
	Configured string  `json:"configured,omitempty"`
	StartedAt  string  `json:"startedAt,omitempty"`
	Made       []int64 `json:"made,omitempty"`
	Waiting    []int64 `json:"waiting,omitempty"`
	ReplacedAt string  `json:"replacedAt,omitempty"`
	NewUsedAt  string  `json:"newUsedAt,omitempty"`
	OldUsedAt  string  `json:"oldUsedAt,omitempty"`
	RetiredAt  string  `json:"retiredAt,omitempty"` // from when on the old one is refused
}

func (r *registrar) rotationView(st *rotation.Status, now time.Time) rotationJSON {
	if st == nil {
		return rotationJSON{State: "none"}
	}
	retired, sure := st.RetiredAt()
	v := rotationJSON{
		State: "begun", Configured: "another", StartedAt: momentText(st.StartedAt), Made: st.Made, Waiting: st.Waiting, ReplacedAt: momentText(st.ReplacedAt),
		NewUsedAt: momentText(st.NewUsed), OldUsedAt: momentText(st.OldUsed), RetiredAt: momentText(retired),
	}
	switch {
	case sure && now.After(retired):
		v.State = "retired"
	case sure:
		v.State = "used"
	case !st.ReplacedAt.IsZero():
		v.State = "replaced"
	case !st.Known.IsZero():
		v.State = "known"
	}
	one := r.configured()[0]
	switch {
	case st.New.Is(one.Username, string(one.Password)):
		v.Configured = "new"
	case st.Replaces(one):
		v.Configured = "old"
	}
	return v
}

// strangePassword is said when the password was changed by hand after a rotation.
const strangePassword = "the configuration has another password than the one that pipehook made, and webhooks with either are accepted: pipehook webhooks rotate ends that"

var rotationStates = map[string]string{
	"none":     "the password was never changed by pipehook; the configured one is good",
	"begun":    "begun, and nothing was changed at Pipedrive; the configured password is good: pipehook webhooks rotate begins again",
	"known":    "begun; both passwords are good, and not all webhooks have the new one: pipehook webhooks rotate goes on",
	"replaced": "all webhooks have the new password, and none has come yet; both are good",
	"used":     "the new password is in use; the old one is good for retries still",
	"retired":  "the new password is in use; the old one is refused",
}

func (c *cli) printRotation(r *registrar, st *rotation.Status) error {
	v := r.rotationView(st, time.Now())
	if c.json {
		return c.printJSON(v)
	}
	fmt.Fprintf(c.stdout, "pipeline %s: %s\n", r.pipeline.Name, rotationStates[v.State])
	for _, line := range []struct{ name, at string }{{"begun", v.StartedAt}, {"replaced", v.ReplacedAt}, {"new first used", v.NewUsedAt}, {"old last used", v.OldUsedAt}, {"old refused from", v.RetiredAt}} {
		if line.at != "" {
			fmt.Fprintf(c.stdout, "  %-17s %s\n", line.name, clockText(line.at))
		}
	}
	switch {
	case v.Configured == "old" && len(v.Made) > 0: // before, nobody was given the new one
		fmt.Fprintf(c.stdout, "the configuration has the old password still: set %s to the new one\n", r.passwordPlace())
	case st.Strange(r.configured()):
		fmt.Fprintln(c.stdout, strangePassword)
	}
	return nil
}
