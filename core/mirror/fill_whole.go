package mirror

import (
	"context"
	"slices"
	"time"

	"github.com/pipehook/pipehook/core/pipedrive/shape"
)

// goOnWithin is how long a fill that was broken off is gone on with: then what it had read first is too old.
const goOnWithin = 7 * 24 * time.Hour

// wholeName is where it is kept how a fill of several objects stands.
const wholeName = "fill"

// wholeState is a fill of several objects that was broken off, so that those it had read whole are not read again.
type wholeState struct {
	Began   time.Time `json:"began"`
	Since   time.Time `json:"since,omitzero"`
	Objects []string  `json:"objects"`
	Open    bool      `json:"open"`
}

// beginWhole finds the fill to go on with, or begins one.
func (w *work) beginWhole(ctx context.Context, objects []shape.Object, o *FillOptions) (wholeState, error) {
	var last wholeState
	if o.DryRun {
		return last, nil
	}
	if err := w.m.load(ctx, wholeName, &last); err != nil {
		return last, err
	}
	names := make([]string, len(objects))
	for i, object := range objects {
		names[i] = object.Name
	}
	if last.Open && !o.Restart && slices.Equal(last.Objects, names) && goesBack(last.Since, o.Since) && w.now().Sub(last.Began) < goOnWithin {
		return last, nil
	}
	fresh := wholeState{Began: w.now(), Since: o.Since.UTC(), Objects: names, Open: true}
	return fresh, w.m.save(ctx, wholeName, fresh)
}

// endWhole says that every object had its turn. One that failed by itself goes on the next time, and the others begin anew.
func (w *work) endWhole(ctx context.Context, whole wholeState, o *FillOptions) error {
	if o.DryRun {
		return nil
	}
	whole.Open = false
	return w.m.save(ctx, wholeName, whole)
}

// goesBack reports whether a fill since one time reads what is asked for since another, and not much more: who asks for
// the last 24 hours a second time means a later moment.
func goesBack(was, since time.Time) bool {
	later := since.Sub(was)
	return was.IsZero() == since.IsZero() && later >= 0 && later <= 24*time.Hour
}
