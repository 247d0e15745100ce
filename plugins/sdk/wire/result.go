package wire

import (
	"time"

	"github.com/pipehook/pipehook/core"
	"github.com/pipehook/pipehook/plugins/sdk/wire/pluginv1"
)

const (
	// longestWait is the most that a plugin may ask for: what waits longer is forgotten by people.
	longestWait = 30 * 24 * time.Hour

	// maxText is how much of an error is sent.
	maxText = 16 << 10
)

// resultOf is a listener's error on its way to pipehook.
func resultOf(err error) *pluginv1.Result {
	if err == nil {
		return &pluginv1.Result{Outcome: pluginv1.Outcome_OUTCOME_DONE}
	}
	r := &pluginv1.Result{
		Outcome: pluginv1.Outcome_OUTCOME_FAILED, Message: short(err.Error()), RetryAfterMs: asked(core.RetryAfter(err)),
	}
	if core.KindOf(err) == core.Permanent {
		r.Outcome = pluginv1.Outcome_OUTCOME_PERMANENT
	}
	return r
}

// short is what can be sent of a text.
func short(s string) string {
	if len(s) > maxText {
		s = s[:maxText] + "…"
	}
	return text(s)
}

// asked is a wait as it is sent: one that is short is not none.
func asked(d time.Duration) int64 {
	if d <= 0 {
		return 0
	}
	return millis(d)
}

// wait is how long a plugin asks to wait, as far as it may.
func wait(ms int64) time.Duration {
	return min(max(time.Duration(ms), 0), longestWait/time.Millisecond) * time.Millisecond
}

// errorOf is a result as the delivery engine judges it.
func errorOf(r *pluginv1.Result) error {
	if r.GetOutcome() == pluginv1.Outcome_OUTCOME_DONE {
		return nil
	}
	e := &core.Error{Kind: core.Failed, Msg: short(r.GetMessage())}
	switch r.GetOutcome() {
	case pluginv1.Outcome_OUTCOME_PERMANENT:
		e.Kind = core.Permanent
	case pluginv1.Outcome_OUTCOME_FAILED:
		e.RetryAfter = wait(r.GetRetryAfterMs())
	default:
		e.Err = errAnswer
	}
	if e.Msg == "" {
		e.Msg = "the plugin failed and did not say why"
	}
	return e
}
