package core

import (
	"context"
	"fmt"
	"log/slog"
	"time"
)

// Verdict is what a stage that did not fail decides.
type Verdict int

// The verdicts.
const (
	Continue Verdict = iota // go on to the next stage
	Settled                 // answer success now, go no further
	Dropped                 // nobody wants it: answer success now, and keep only what an earlier stage has planned
)

func (v Verdict) String() string {
	switch v {
	case Settled:
		return "settled"
	case Dropped:
		return "dropped"
	default:
		return "continue"
	}
}

// Stage is one step of a chain. Process judges the event or adds to it; it never calls the stage
// after it, writes no HTTP and starts no goroutine. It is called from many requests at once. An
// error ends the walk; its Kind decides the answer.
type Stage interface {
	Process(ctx context.Context, ev *Event) (Verdict, error)
}

// Blind marks a Stage that judges a request by its envelope alone: address, headers, raw bytes.
// The source names an event right before the first stage that is not Blind, so that a stranger's
// body is not looked at before he has been let in.
type Blind interface{ Blind() }

// Gate marks a Stage that can turn a request away by its address and headers alone. It is asked
// before the body is read, so that strangers can't make the receiver hold theirs; what it admits
// still passes through Process, which judges everything again.
type Gate interface{ Admit(ev *Event) error }

// Source knows one sender's bodies. Name fills the second block of an Event from its Header and
// Body and nothing else, so that it gives the same for a stored event again. It keeps objects and
// actions it does not know, and notes a body of another shape than documented as the event's Flaw;
// an Error of Kind Malformed says that the body is not readable at all.
type Source interface {
	Name(ev *Event) error
}

// Asker is a Source that takes its time. Ask does as Name does, and ends with ctx.
type Asker interface {
	Ask(ctx context.Context, ev *Event) error
}

// Step is a Stage and the name it goes by in logs.
type Step struct {
	Name  string
	Stage Stage
}

// Pipeline is one chain: its source, its steps in order, and the store that makes their plans
// durable.
type Pipeline struct {
	Name      string
	Source    Source
	Steps     []Step
	Committer Committer
	Log       *slog.Logger // debug shows each step's verdict and time
}

// Admit asks the Gates at the head of the chain, in order, about an event that has no Body yet. One
// that stands behind another kind of step is not asked: what the file puts first comes first.
func (p *Pipeline) Admit(ctx context.Context, ev *Event) error {
	for _, step := range p.Steps {
		gate, ok := step.Stage.(Gate)
		if !ok {
			return nil
		}
		start := time.Now()
		if err := gate.Admit(ev); err != nil {
			p.trace(ctx, ev, step.Name, start, "", err)
			return p.stop("stage "+step.Name, step.Name, start, err)
		}
	}
	return nil
}

// Run walks the steps until one fails, settles or drops the event, then commits what they planned. An
// event that passed persist is stored even if a later step fails or drops it. The returned error names
// the pipeline and the step.
func (p *Pipeline) Run(ctx context.Context, ev *Event) (Receipt, error) {
	dropped, walkErr := p.walk(ctx, ev)
	if !ev.Plan.Store {
		switch {
		case walkErr != nil:
			return Receipt{}, walkErr
		case dropped:
			return Receipt{ID: ev.ID, Dropped: true}, nil
		}
	}
	start := time.Now()
	receipt, err := ev.Commit(ctx, p.Committer)
	p.trace(ctx, ev, "commit", start, receiptWord(receipt), err)
	if err != nil {
		return Receipt{}, p.stop("commit", "commit", start, err)
	}
	receipt.Dropped = dropped && !receipt.Duplicate
	return receipt, walkErr
}

func (p *Pipeline) walk(ctx context.Context, ev *Event) (dropped bool, err error) {
	named := false
	for _, step := range p.Steps {
		if _, blind := step.Stage.(Blind); !blind && !named {
			start := time.Now()
			if err := p.name(ctx, ev); err != nil {
				return false, p.stop("source "+ev.Source, "source", start, err)
			}
			if ev.remark != "" {
				ev.step("source "+ev.Source, ev.remarked(Continue), start)
			}
			named = true
		}
		start := time.Now()
		verdict, err := process(ctx, ev, step, start)
		if err != nil {
			ev.remark = ""
			ev.step(step.Name, refused, start)
		} else {
			ev.step(step.Name, ev.remarked(verdict), start)
		}
		p.trace(ctx, ev, step.Name, start, verdict.String(), err)
		if err != nil {
			return false, p.stop("stage "+step.Name, step.Name, start, err)
		}
		if verdict != Continue {
			return verdict == Dropped, nil
		}
	}
	return false, nil
}

func (p *Pipeline) name(ctx context.Context, ev *Event) error {
	if asker, ok := p.Source.(Asker); ok {
		return asker.Ask(ctx, ev)
	}
	return p.Source.Name(ev)
}

// process has a stage that panics stand in the event's trace all the same.
func process(ctx context.Context, ev *Event, step Step, start time.Time) (verdict Verdict, err error) {
	returned := false
	defer func() {
		if !returned {
			ev.step(step.Name, panicked, start)
		}
	}()
	verdict, err = step.Stage.Process(ctx, ev)
	returned = true
	return verdict, err
}

// Stop is the error of a walk that ended before its time: where, and why.
type Stop struct {
	Pipeline string
	Step     string        // the stage's name, "source" or "commit"
	Took     time.Duration // of that step
	Err      error

	place string
}

func (s *Stop) Error() string { return fmt.Sprintf("pipeline %s: %s: %v", s.Pipeline, s.place, s.Err) }
func (s *Stop) Unwrap() error { return s.Err }

func (p *Pipeline) stop(place, step string, start time.Time, err error) error {
	return &Stop{Pipeline: p.Name, Step: step, Took: time.Since(start), Err: err, place: place}
}

func (p *Pipeline) trace(ctx context.Context, ev *Event, step string, start time.Time, verdict string, err error) {
	if !p.Log.Enabled(ctx, slog.LevelDebug) {
		return
	}
	attrs := []slog.Attr{
		slog.String("pipeline", p.Name), slog.String("stage", step), slog.String("event", ev.ID),
		slog.Duration("took", time.Since(start)),
	}
	if err != nil {
		attrs = append(attrs, slog.String("verdict", "failed"), slog.Any("err", err))
	} else {
		attrs = append(attrs, slog.String("verdict", verdict))
	}
	p.Log.LogAttrs(ctx, slog.LevelDebug, "stage", attrs...)
}

func receiptWord(r Receipt) string {
	if r.Duplicate {
		return "duplicate"
	}
	return "accepted"
}
