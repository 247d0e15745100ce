package mirror

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/pipehook/pipehook/core"
	"github.com/pipehook/pipehook/core/pipedrive/shape"
)

// ReconcileOptions say what is compared, and where its events go.
type ReconcileOptions struct {
	Objects []string      // all that are kept when empty
	Since   time.Time     // look at what changed from then on, in place of where the last comparison ended
	Deletes bool          // compare all ids, whether or not it is time, and believe that many are gone
	Sweep   time.Duration // how often all ids are compared; 0 only when asked for, and after a gap
	Settle  time.Duration // what changed less long ago is left to the next comparison
	Overlap time.Duration // how far before the end of the last comparison this one begins
	DryRun  bool          // count, and change nothing
	Owner   string        // who compares, as people are told
	Serving bool          // that process takes webhooks, so that others need not compare now: see Compared

	CompanyID, Host string        // as the account's webhooks name it: events have them, and tables of another company are refused with Kind Conflict
	Fields          *shape.Fields // may be nil

	// Submit has an event walk its pipeline. Its Plan.After is set; an event about the same record that was stored later
	// makes it a duplicate. It is called from several goroutines.
	Submit func(ctx context.Context, ev core.Event) (core.Receipt, error)
	// LastSeq is the number of the event that was stored last.
	LastSeq func(ctx context.Context) (int64, error)
	// Pending are those of the records about which an event is still on its way to the tables.
	Pending func(ctx context.Context, object string, ids []string) (map[string]bool, error)
	// Unheard calls do with the record and the number of each stored event that has not come into the tables: its delivery was
	// given up or cancelled, or there was none. It looks at the events about an object that were received from one time on and before
	// another, zero for no end, and at those that were stored later than the event of a number.
	Unheard func(ctx context.Context, object string, from, before time.Time, later int64, do func(id string, seq int64)) error
	// Events are those of the stored events with these numbers that the tables want. They are named.
	Events func(ctx context.Context, seqs []int64) ([]core.Event, error)

	Progress func(Progress)
}

// Report says what a comparison found.
type Report struct {
	Began    time.Time          `json:"began"`
	TookMS   int64              `json:"tookMs"`
	DryRun   bool               `json:"dryRun"`
	SettleMS int64              `json:"settleMs"` // what changed less long ago was left alone
	Objects  []ReconciledObject `json:"objects"`
}

// ReconciledObject says what a comparison found about an object.
type ReconciledObject struct {
	Object     string `json:"object"`
	Looked     int    `json:"looked"`     // records of Pipedrive's that were compared
	Differing  int    `json:"differing"`  // that an event should tell of; the next four are its parts
	Submitted  int    `json:"submitted"`  // events, of changes and deletions
	Duplicates int    `json:"duplicates"` // of which an event was there already
	Pending    int    `json:"pending"`    // whose event is on its way
	Unsent     int    `json:"unsent"`     // that a failure, or a dry run, has left to the next comparison
	Deletes    int    `json:"deletes"`    // of the submitted
	Settling   int    `json:"settling"`   // that differ, and changed less than Settle ago: the next comparison tells of them if no webhook did
	Written    int    `json:"written"`    // that no listener is told of: the tables alone have learned something
	Filled     int    `json:"filled"`     // records of an object that was never read before
	Swept      bool   `json:"swept"`      // all ids were compared
	Calls      int64  `json:"calls"`
	TookMS     int64  `json:"tookMs"`
	Note       string `json:"note,omitempty"`  // that the account does not have it, and never had: nothing was compared
	Error      string `json:"error,omitempty"` // why it did not come to its end; the next comparison begins where this one began

	err, absent error
	doubt       error // that so much is gone; to compare again shows the same
}

// Failed joins why objects could not be compared, or what somebody has to decide, nil when all is well.
func (r *Report) Failed() error {
	errs := []error{r.unfinished()}
	for i := range r.Objects {
		errs = append(errs, r.Objects[i].doubt)
	}
	return errors.Join(errs...)
}

// unfinished joins why objects could not be compared, nil when all were.
func (r *Report) unfinished() error {
	var errs []error
	for i := range r.Objects {
		errs = append(errs, r.Objects[i].err)
	}
	return errors.Join(errs...)
}

// Differences is how many records differed.
func (r *Report) Differences() (n int) {
	for i := range r.Objects {
		n += r.Objects[i].Differing
	}
	return n
}

// Settling is how many records changed too short a time ago to be compared.
func (r *Report) Settling() (n int) {
	for i := range r.Objects {
		n += r.Objects[i].Settling
	}
	return n
}

// reportName is where the last report is kept, for all processes.
const reportName = "report"

// Last is the report of the last comparison, of whatever process; zero when there was none.
func (m *Mirror) Last(ctx context.Context) (r Report, err error) {
	return r, m.load(ctx, reportName, &r)
}

// comparedName is where it is kept when all was compared last, for all processes.
const comparedName = "compared"

type comparedState struct {
	At      time.Time `json:"at"`
	Objects []string  `json:"objects"` // that were all to who compared
}

// Compared is when a comparison of all since the one before it has last ended that a process made which serves and keeps no
// fewer objects; zero for never.
func (m *Mirror) Compared(ctx context.Context) (time.Time, error) {
	var last comparedState
	err := m.load(ctx, comparedName, &last)
	ahead := last.At.After(m.opts.Now().Add(clockMargin)) // by another clock
	if ahead || slices.ContainsFunc(m.Objects(), func(name string) bool { return !slices.Contains(last.Objects, name) }) {
		return time.Time{}, err
	}
	return last.At, err
}

// Reconcile compares Pipedrive with the tables and submits an event for each record that differs; the row follows when
// that event is handled. An object that was never read is filled, without events. Objects without webhooks are written
// at once, as no listener expects events of them. An object that was never read and that the account does not have is noted,
// unless it is all of them.
//
// One comparison runs at a time, over all processes with these tables: else the error is a *Busy. An object that fails does
// not keep the others from being compared; what it has submitted stays, and repeating it does no harm. The error is of
// ctx, of the lease, or says that the options are wrong.
func (m *Mirror) Reconcile(ctx context.Context, api API, o ReconcileOptions) (Report, error) {
	report := Report{Began: m.opts.Now().UTC(), DryRun: o.DryRun, SettleMS: o.Settle.Milliseconds(), Objects: []ReconciledObject{}}
	objects, err := m.choose(o.Objects)
	if err == nil {
		err = m.belong(ctx, o.CompanyID, o.Host, o.DryRun)
	}
	if err != nil {
		return report, err
	}
	err = m.leased(ctx, o.Owner, func(ctx context.Context) error {
		w := &work{m: m, api: api, fields: o.Fields, telling: &telling{tell: o.Progress, at: Progress{Of: len(objects)}}}
		run := &comparison{work: w, o: o, began: w.now(), horizon: w.now().Add(-o.Settle), fresh: map[string]map[string]time.Time{"deal": {}, "board": {}}}
		was, err := run.loadGap(ctx)
		if err != nil {
			return err
		}
		for _, object := range objects {
			w.begin(object.Name)
			l := &look{comparison: run, object: object}
			done := l.run(ctx)
			report.Objects = append(report.Objects, done)
			if object.Name == "deal" && errors.Join(done.err, done.absent) != nil {
				run.dealsBy = true // those that were not listed are the next time, and then their parts are looked at
			}
			if done.err != nil && hopeless(ctx, done.err) {
				break
			}
			w.ended()
		}
		report.lacksAll()
		report.TookMS = m.opts.Now().Sub(report.Began).Milliseconds()
		if o.DryRun || ctx.Err() != nil {
			return ctx.Err()
		}
		if len(o.Objects) == 0 && report.unfinished() == nil {
			if err := run.closeGap(ctx, was); err != nil {
				return err
			}
			if o.Serving && o.Since.IsZero() {
				if err := m.save(ctx, comparedName, comparedState{m.opts.Now().UTC(), m.Objects()}); err != nil {
					return err
				}
			}
		}
		return m.save(ctx, reportName, report)
	})
	return report, err
}

// lacksAll makes errors of the notes when there is nothing else: then it is the token that lacks something.
func (r *Report) lacksAll() {
	if slices.ContainsFunc(r.Objects, func(o ReconciledObject) bool { return o.absent == nil }) {
		return
	}
	for i := range r.Objects {
		o := &r.Objects[i]
		o.Note, o.Error, o.err = "", o.Note, o.absent
	}
}

// comparison is what the objects of one comparison share.
type comparison struct {
	*work
	o       ReconcileOptions
	began   time.Time
	horizon time.Time // later changes are left alone
	gap     time.Time // the end of one that has settled; zero for none

	deals   []string                        // that changed, whose parts are looked at
	dealsBy bool                            // deals are all that did
	dealsOf time.Time                       // since then
	fresh   map[string]map[string]time.Time // when the parents, by object and id, were added that were listed and are in no table yet
}

// look is the comparison of one object.
type look struct {
	*comparison
	object   shape.Object
	base     base
	sweep    bool // all records are listed
	from     time.Time
	there    map[string]struct{} // ids that were listed, while all are
	asked    map[string]bool     // parents whose records were listed, while all are
	unread   map[string]bool     // of the deals whose parts are listed now, those whose parts no fill has read
	counting sync.Mutex          // guards held, dropped, done and base while events are submitted
	held     time.Time           // the earliest change that is not told of yet
	dropped  []Change            // whose events a stage has ended; of a page
	refused  int                 // events
	refusal  error               // of the first of them
	done     ReconciledObject

	missed     map[string][]int64 // the events that the tables have not got, by record; nil until one is asked for
	missedFrom time.Time          // of those that were received from then on
	missedTo   int64              // or stored, up to this one
}

func (l *look) run(ctx context.Context) ReconciledObject {
	began, calls := l.now(), l.calls.Load()
	l.done = ReconciledObject{Object: l.object.Name}
	err := l.compare(ctx)
	if l.done.absent != nil {
		l.done.Note = l.done.absent.Error()
	} else if all := errors.Join(err, l.done.doubt); all != nil {
		l.done.Error, l.done.err = all.Error(), err
	}
	l.done.Calls, l.done.TookMS = l.calls.Load()-calls, l.now().Sub(began).Milliseconds()
	return l.done
}

func (l *look) compare(ctx context.Context) error {
	if err := l.m.load(ctx, baseName(l.object.Name), &l.base); err != nil {
		return err
	}
	if l.base.Cursor.IsZero() {
		return l.first(ctx)
	}
	l.begin()
	if l.sweep {
		l.there = map[string]struct{}{}
	}
	again := l.base.Again
	l.base.Again = nil
	if err := l.lists(ctx); err != nil {
		return err
	}
	if l.sweep {
		missing, err := l.missing(ctx)
		if err != nil {
			return err
		}
		again = missing
	}
	if err := l.gone(ctx, again); err != nil {
		return err
	}
	return errors.Join(l.end(ctx), l.turnedDown())
}

// first fills the tables with an object that nothing is known of: there is nothing to compare with, and nothing was missed.
func (l *look) first(ctx context.Context) error {
	f := &filling{work: l.work, o: FillOptions{DryRun: l.o.DryRun, Fields: l.o.Fields}, object: l.object}
	done := f.run(ctx)
	l.done.Filled = done.Records
	if absent(done.err) {
		l.done.absent = done.err
	}
	return done.err
}

// begin says what is listed: all, or what changed since the last comparison. When the last one is still to come, by a
// clock that was ahead, it is not known since when nothing was compared, so all is.
func (l *look) begin() {
	latest := l.began.Add(clockMargin)
	ahead := l.base.Cursor.After(latest) || l.base.Swept.After(latest)
	if ahead {
		l.base.Cursor, l.base.Swept = l.horizon, time.Time{}
	}
	due := l.o.Sweep > 0 && !l.began.Before(l.base.Swept.Add(l.o.Sweep))
	unswept := !l.gap.IsZero() && l.base.Swept.Before(l.gap.Add(l.o.Settle))
	l.sweep = l.o.Deletes || due || unswept || ahead
	if l.from = l.o.Since; l.from.IsZero() {
		l.from = l.base.Cursor.Add(-l.o.Overlap)
	}
	switch {
	case l.object.Since || l.object.Name == "file":
	case l.object.Parent == "deal": // there are many lists, and the deals that changed do where none is left out
		l.sweep = l.sweep || len(l.base.Again) > 0 || !l.dealsBy || l.o.Since.IsZero() && l.base.Cursor.Before(l.dealsOf)
	default: // a short list, which is whole
		l.sweep = true
	}
}

// lists compares what is listed.
func (l *look) lists(ctx context.Context) error {
	what := listing{object: l.object, since: l.from, gone: true}
	if l.object.Name == "deal" {
		l.dealsOf = l.from
	}
	switch {
	case l.object.Parent == "deal" && !l.sweep:
		for ids := range chunks(l.deals, mostIDs) {
			if err := l.list(ctx, listing{object: l.object, parent: ids}); err != nil {
				return err
			}
		}
		return nil
	case l.object.Parent != "":
		return l.children(ctx)
	case l.sweep:
		what.since = time.Time{}
	case l.object.Name == "file":
		what.newest = true
	}
	if err := l.list(ctx, what); err != nil {
		return err
	}
	if l.sweep && archives[l.object.Name] {
		if err := l.list(ctx, listing{object: l.object, old: true}); err != nil {
			return err
		}
	}
	if l.object.Name == "deal" {
		l.dealsBy = !l.sweep
	}
	return nil
}

// children compares the records of all parents: those that the tables have, and those that were found just now and are
// still on their way there.
func (l *look) children(ctx context.Context) error {
	l.asked = map[string]bool{}
	ask := func(ids []string) error {
		for _, id := range ids {
			l.asked[id] = true
		}
		return l.list(ctx, listing{object: l.object, parent: ids})
	}
	if err := l.parents(ctx, l.object, "", ask); err != nil {
		return err
	}
	var others []string
	for id := range l.fresh[l.object.Parent] {
		if !l.asked[id] {
			others = append(others, id)
		}
	}
	for ids := range chunks(others, perList(l.object)) {
		if err := ask(ids); err != nil {
			return err
		}
	}
	return nil
}

func (l *look) list(ctx context.Context, what listing) error {
	if err := l.unfilled(ctx, what.parent); err != nil {
		return err
	}
	for page, err := range l.ahead(ctx, what) {
		if err != nil {
			return err
		}
		records, err := l.records(l.object.Name, page.Items)
		if err != nil {
			return err
		}
		if err := l.page(ctx, records, page.asked); err != nil {
			return err
		}
		if l.passed(records, what) {
			break
		}
	}
	return ctx.Err()
}

// passed reports whether what a sorted list still has needs no look.
func (l *look) passed(records []shape.Record, what listing) bool {
	if len(records) == 0 {
		return false
	}
	last := records[len(records)-1].Updated
	switch {
	case what.newest:
		return last.Before(l.from)
	case what.since.IsZero() || !l.object.Since || l.object.Paging != shape.Cursor:
		return false
	}
	return last.After(l.horizon)
}

// end keeps how far the comparison has come: not past a change that is still to be told of.
func (l *look) end(ctx context.Context) error {
	if l.o.DryRun {
		return nil
	}
	next := l.horizon
	if !l.held.IsZero() {
		next = earlier(next, l.held)
	}
	if l.o.Since.After(l.base.Cursor) {
		next = earlier(next, l.base.Cursor) // what lies between was not looked at
	}
	if next.After(l.base.Cursor) || !l.object.Since {
		l.base.Cursor = next
	}
	slices.Sort(l.base.Again)
	l.base.Again = slices.Compact(l.base.Again)
	if l.sweep {
		l.base.Swept, l.done.Swept = l.began, true
	}
	return l.m.save(ctx, baseName(l.object.Name), l.base)
}
