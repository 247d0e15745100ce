package core

import (
	"encoding/json"
	"strings"
	"time"
)

// StepTrace is what one stage did with an event.
type StepTrace struct {
	Stage   string `json:"stage"`
	Verdict string `json:"verdict"`
	Micros  int64  `json:"us"` // how long it took
}

// Refusal is why a listener whose pattern fits an event did not get it: the rule, and the value
// that it saw.
type Refusal struct {
	Listener string `json:"listener"`
	Why      string `json:"why"`
}

// Trace is an event's way through its chain, as it is kept with the event.
type Trace struct {
	Steps   []StepTrace `json:"steps"`
	Refused []Refusal   `json:"refused,omitempty"`
}

// Trace is the event's Steps and Refused as JSON, for ParseTrace.
func (ev *Event) Trace() string {
	if len(ev.Steps) == 0 && len(ev.Refused) == 0 {
		return ""
	}
	text, err := json.Marshal(Trace{ev.Steps, ev.Refused})
	if err != nil { // texts and numbers always encode
		return ""
	}
	return string(text)
}

// ParseTrace reads what Event.Trace made; an empty text is an empty Trace.
func ParseTrace(text string) (Trace, error) {
	var t Trace
	if text == "" {
		return t, nil
	}
	err := json.Unmarshal([]byte(text), &t)
	return t, err
}

// The verdicts of a step that ended the walk.
const (
	refused  = "refused"
	panicked = "panicked"
)

func (ev *Event) step(stage, verdict string, start time.Time) {
	ev.Steps = append(ev.Steps, StepTrace{stage, verdict, time.Since(start).Microseconds()})
}

const mostRemark = 400

// Remark is what a stage that did not refuse the event says for its trace, in the place of its verdict.
// It is for the people on this side.
func (ev *Event) Remark(text string) {
	ev.remark = clipped(strings.ToValidUTF8(text, "\uFFFD"), mostRemark)
}

// TakeRemark returns what was said with Remark last and takes it away: for who passes it on.
func (ev *Event) TakeRemark() string {
	text := ev.remark
	ev.remark = ""
	return text
}

// remarked is the remark of the step that has ended, or its verdict.
func (ev *Event) remarked(v Verdict) string {
	if text := ev.TakeRemark(); text != "" {
		return text
	}
	return v.String()
}
