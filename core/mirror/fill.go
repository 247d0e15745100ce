package mirror

import (
	"cmp"
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pipehook/pipehook/core"
	"github.com/pipehook/pipehook/core/pipedrive/shape"
)

// FillOptions say what Fill reads.
type FillOptions struct {
	Objects  []string      // all that are kept when empty
	Since    time.Time     // only what changed from then on, where Pipedrive offers such a list
	Restart  bool          // begin anew, whatever a fill that was broken off has read
	DryRun   bool          // count, and write nothing
	Leave    bool          // what changed since the last comparison, or it could not tell of, is left to the next one, so that listeners learn of it
	Fields   *shape.Fields // may be nil
	Progress func(Progress)

	CompanyID, Host string // whose records are read: tables of another company are refused with Kind Conflict. Empty when nobody knows
}

// FillReport says what Fill did.
type FillReport struct {
	Began   time.Time      `json:"began"`
	TookMS  int64          `json:"tookMs"`
	DryRun  bool           `json:"dryRun"`
	Objects []FilledObject `json:"objects"`
}

// FilledObject says what Fill did about an object.
type FilledObject struct {
	Object  string `json:"object"`
	Records int    `json:"records"` // that were read
	Written int    `json:"written"` // of which the tables did not know all
	Left    int    `json:"left"`    // to the next comparison
	Calls   int64  `json:"calls"`
	Resumed bool   `json:"resumed"` // it went on where one before it was broken off
	TookMS  int64  `json:"tookMs"`
	Note    string `json:"note,omitempty"`  // what Pipedrive does not offer
	Error   string `json:"error,omitempty"` // why it is not whole; the next fill goes on there

	err error
}

// Failed joins why objects are not whole, nil when all are.
func (r *FillReport) Failed() error {
	var errs []error
	for i := range r.Objects {
		errs = append(errs, r.Objects[i].err)
	}
	return errors.Join(errs...)
}

// fillState is how far the fill of an object has come.
type fillState struct {
	Began time.Time `json:"began"`
	Since time.Time `json:"since,omitzero"`
	Next  string    `json:"next,omitempty"`  // of the list
	After string    `json:"after,omitempty"` // this parent
	Old   bool      `json:"old,omitempty"`   // it is at the list of the archived ones
	Ended time.Time `json:"ended,omitzero"`
}

func fillName(object string) string { return "fill." + object }

// Fill reads all records of the objects, or those that changed since a time, into the tables, and makes no events. What was
// read stays when it is broken off: the next fill goes on there. An object that fails does not keep the others
// from being read; the error is of ctx, or says that the options are wrong. It may run beside a process that serves.
func (m *Mirror) Fill(ctx context.Context, api API, o FillOptions) (FillReport, error) {
	report := FillReport{Began: m.opts.Now().UTC(), DryRun: o.DryRun, Objects: []FilledObject{}}
	objects, err := m.choose(o.Objects)
	if err == nil {
		err = m.belong(ctx, o.CompanyID, o.Host, o.DryRun)
	}
	if err != nil {
		return report, err
	}
	w := &work{m: m, api: api, fields: o.Fields, telling: &telling{tell: o.Progress, at: Progress{Of: len(objects)}}}
	whole, err := w.beginWhole(ctx, objects, &o)
	if err != nil {
		return report, err
	}
	if report.Objects = w.fillAll(ctx, o, objects, whole.Began); w.at.Objects == len(objects) {
		err = w.endWhole(ctx, whole, &o)
	}
	report.TookMS = m.opts.Now().Sub(report.Began).Milliseconds()
	return report, cmp.Or(ctx.Err(), err)
}

// sideBySide is how many objects are read at a time. A list goes page by page and so spends most of its time waiting for
// Pipedrive; three of them keep the tables busy, and no more than six pages in memory.
const sideBySide = 3

// fillAll fills the objects, those that are listed by others after these. What is said is in the order of the objects.
func (w *work) fillAll(ctx context.Context, o FillOptions, objects []shape.Object, whole time.Time) []FilledObject {
	all := make([]*FilledObject, len(objects))
	var spoilt atomic.Bool // the others would fail in the same way
	one := func(i int) {
		w.begin(objects[i].Name)
		own := &work{m: w.m, api: w.api, fields: w.fields, telling: w.telling} // it counts its own calls
		f := &filling{work: own, o: o, object: objects[i], whole: whole}
		done := f.run(ctx)
		if all[i] = &done; done.err != nil && hopeless(ctx, done.err) {
			spoilt.Store(true)
			return
		}
		w.ended()
	}
	for _, children := range []bool{false, true} {
		var wg sync.WaitGroup
		slots := make(chan struct{}, sideBySide)
		for i := range objects {
			if children != (objects[i].Parent != "") {
				continue
			}
			slots <- struct{}{}
			if spoilt.Load() {
				break
			}
			wg.Go(func() {
				defer func() { <-slots }()
				one(i)
			})
		}
		wg.Wait()
	}
	done := []FilledObject{}
	for _, one := range all {
		if one != nil {
			done = append(done, *one)
		}
	}
	return done
}

// filling is the fill of one object.
type filling struct {
	*work
	o      FillOptions
	object shape.Object
	whole  time.Time // when the fill of all objects began; zero when this is the only one
	state  fillState
	base   base
	again  map[string]bool // base.Again
	done   FilledObject
}

func (f *filling) run(ctx context.Context) FilledObject {
	began := f.now()
	f.done = FilledObject{Object: f.object.Name, Note: notOffered(f.object, f.o.Since)}
	if !f.object.Since && f.object.Parent != "deal" {
		f.o.Since = time.Time{} // all are read
	}
	if f.done.err = f.fill(ctx); f.done.err != nil {
		f.done.Error = f.done.err.Error()
	}
	f.done.Calls, f.done.TookMS = f.calls.Load(), f.now().Sub(began).Milliseconds()
	return f.done
}

// notOffered is what a fill can't bring.
func notOffered(o shape.Object, since time.Time) string {
	switch {
	case o.Parent != "":
		return "is listed by " + o.Parent + ": those of the local table"
	case !since.IsZero() && !o.Since:
		return "can't be listed since a time: all were read"
	}
	return ""
}

func (f *filling) fill(ctx context.Context) error {
	if err := f.m.load(ctx, baseName(f.object.Name), &f.base); err != nil {
		return err
	}
	f.again = make(map[string]bool, len(f.base.Again))
	for _, id := range f.base.Again {
		f.again[id] = true
	}
	if already, err := f.begin(ctx); err != nil || already {
		return err
	}
	err := f.lists(ctx)
	if f.done.Resumed && expired(err) {
		f.state = f.fresh()
		err = f.lists(ctx)
	}
	if err != nil || f.o.DryRun {
		return err
	}
	f.state.Ended, f.state.Next, f.state.After, f.state.Old = f.now(), "", "", false
	if err := f.m.save(ctx, fillName(f.object.Name), f.state); err != nil {
		return err
	}
	f.base = base{}
	if err := f.m.load(ctx, baseName(f.object.Name), &f.base); err != nil { // a comparison may have changed it meanwhile
		return err
	}
	f.base.filled(f.state)
	return f.m.save(ctx, baseName(f.object.Name), f.base)
}

func (f *filling) fresh() fillState { return fillState{Began: f.now(), Since: f.o.Since.UTC()} }

// begin finds where to go on. There may be nothing left.
func (f *filling) begin(ctx context.Context) (already bool, err error) {
	f.state = fillState{}
	if err := f.m.load(ctx, fillName(f.object.Name), &f.state); err != nil {
		return false, err
	}
	s := f.state
	if f.object.Paging == shape.Offset {
		s.Next = "" // what was deleted since has moved those behind it
	}
	if !f.whole.IsZero() && s.Ended.After(f.whole) {
		f.done.Resumed, f.done.Note = true, "was read already, at "+s.Ended.Format(time.RFC3339)
		return true, nil
	}
	brokenOff := (s.Next+s.After != "" || s.Old) && s.Ended.IsZero() && f.now().Sub(s.Began) < goOnWithin
	f.done.Resumed = brokenOff && goesBack(s.Since, f.o.Since) && !f.o.Restart && !f.o.DryRun
	if f.state = s; !f.done.Resumed {
		f.state = f.fresh()
	}
	return false, nil
}

// lists reads the object's list and that of its archived ones, or one for each few of its parents.
func (f *filling) lists(ctx context.Context) error {
	if f.object.Parent == "" {
		what := listing{object: f.object, since: f.state.Since, from: f.state.Next, old: f.state.Old}
		if err := f.list(ctx, what); err != nil || f.state.Old || !archives[f.object.Name] {
			return err
		}
		f.state.Next, f.state.Old = "", true
		if err := f.keep(ctx); err != nil {
			return err
		}
		what.from, what.old = "", true
		return f.list(ctx, what)
	}
	return f.parents(ctx, f.object, f.state.After, func(ids []string) error {
		if err := f.list(ctx, listing{object: f.object, parent: ids}); err != nil {
			return err
		}
		f.state.After = ids[len(ids)-1]
		return f.keep(ctx)
	})
}

// keep keeps how far it has come, after the rows are there.
func (f *filling) keep(ctx context.Context) error {
	if f.o.DryRun {
		return nil
	}
	return f.m.save(ctx, fillName(f.object.Name), f.state)
}

func (f *filling) list(ctx context.Context, l listing) error {
	for page, err := range f.ahead(ctx, l) {
		if err != nil {
			return err
		}
		if err := f.page(ctx, page); err != nil {
			return err
		}
		if page.Next == "" || f.object.Parent != "" {
			continue
		}
		f.state.Next = page.Next
		if err := f.keep(ctx); err != nil {
			return err
		}
	}
	return ctx.Err()
}

func (f *filling) page(ctx context.Context, page fetched) error {
	records, err := f.records(f.object.Name, page.Items)
	if err != nil {
		return err
	}
	f.read(len(records))
	f.done.Records += len(records)
	changes := make([]Change, 0, len(records))
	for _, r := range records {
		if f.left(r) {
			f.done.Left++
			continue
		}
		changes = append(changes, seen(r, page.asked, FromSync))
	}
	if f.o.DryRun {
		return nil
	}
	results, err := f.m.Apply(ctx, changes)
	for _, result := range results {
		if result == Applied {
			f.done.Written++
		}
	}
	return err
}

// left reports whether the next comparison is to tell of a record: it changed since the last one, or could not be told of.
func (f *filling) left(r shape.Record) bool {
	if !f.o.Leave || !f.object.Hooks || f.base.Cursor.IsZero() {
		return false
	}
	return !changedAt(r).Before(f.base.Cursor) || f.again[r.ID]
}

// seen is the change that says how a record was when it was read.
func seen(r shape.Record, asked time.Time, from string) Change {
	return Change{Record: r, Action: core.Updated, At: asked, From: from}
}
