package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/pipehook/pipehook/cmd/pipehook/internal/program"
	"github.com/pipehook/pipehook/core/mirror"
	"github.com/pipehook/pipehook/core/pipedrive/simulate"
)

// filling is how tables are filled.
type filling struct {
	from    *standIn
	latency time.Duration
	burst   int
}

// fills measures how fast tables are filled from the API, and that a limit on requests is all that bounds it where there is one.
// There the pages are small, so that the tables are not what bounds it.
func (b *bench) fills(ctx context.Context, stores []string, all *standIn) error {
	few, err := newStandIn(8_000, 20)
	if err != nil {
		return err
	}
	defer few.close()
	more, err := newStandIn(40_000, 120)
	if err != nil {
		return err
	}
	defer more.close()
	few.page, more.page = "100", "100"
	fmt.Printf("\n%-44s %9s %9s %9s %9s %9s %9s\n", fmt.Sprintf("filling with %d records", all.count()), "rows/s", "requests", "of limit", "CPU µs", "allocs", "RSS MB")
	for _, store := range stores {
		for _, f := range []filling{{all, 0, 0}, {all, 150 * time.Millisecond, 0}, {few, 0, 20}, {few, 150 * time.Millisecond, 20}, {more, 0, 120}, {more, 150 * time.Millisecond, 120}} {
			if err := b.fillOnce(ctx, store, f); err != nil {
				return fmt.Errorf("%s: %w", store, err)
			}
		}
	}
	return nil
}

func (b *bench) fillOnce(ctx context.Context, store string, f filling) error {
	p, _, end, err := b.tablesEngine(ctx, store, f.from)
	if err != nil {
		return err
	}
	defer end()
	f.from.takes(f.latency)
	report, cost, err := b.fillTables(ctx, p, f.from)
	if err != nil {
		return err
	}
	asked, n := f.from.requests(), float64(f.from.count())
	rate, rss := n/(float64(report.TookMS)/1e3), float64(p.peakRSS())/1e6
	what, share, aims := label(store), "", []string{fmt.Sprintf("under 200 MB: %s", verdict(rss < 200))}
	if f.latency > 0 {
		what += fmt.Sprintf(", %d ms an answer", f.latency.Milliseconds())
	}
	if f.burst > 0 {
		limit := f.burst - f.burst/5 // background work leaves the rest to calls that somebody waits for
		what += fmt.Sprintf(", %d in 2 s", f.burst)
		u := used(asked, limit)
		share = fmt.Sprintf("%.0f%%", 100*u)
		least := .95
		if f.latency > 0 { // a slot is free two seconds after its answer
			least = .90
		}
		if f.burst == 20 || f.latency == 0 { // else it waits for answers: each page says where the next begins
			aims = append(aims, fmt.Sprintf("at least %.0f %% of what it may ask: %s", 100*least, verdict(u >= least)))
		}
	} else {
		aims = append(aims, fmt.Sprintf("at least 5000/s: %s", verdict(rate >= 5000)))
	}
	fmt.Printf("%-44s %9.0f %9d %9s %9.0f %9.0f %9.0f   (aim: %s)\n", what, rate, len(asked), share, us(cost.cpu)/n, float64(cost.Mallocs)/n, rss, strings.Join(aims, "; "))
	return nil
}

// spending is what a process has used for something.
type spending struct {
	memory
	cpu time.Duration
}

// fillTables fills the tables of a process from the stand-in, and fails when they have not become whole.
func (b *bench) fillTables(ctx context.Context, p *process, from *standIn) (report mirror.FillReport, c spending, err error) {
	var before, after memory
	if err := p.asks(ctx, "/memory", &before); err != nil {
		return report, c, err
	}
	cpu := p.cpu()
	if err := p.asks(ctx, "/fill?"+objectsQuery(), &report); err != nil {
		return report, c, err
	}
	c.cpu = p.cpu() - cpu
	if err := p.asks(ctx, "/memory", &after); err != nil {
		return report, c, err
	}
	c.memory = memory{after.Mallocs - before.Mallocs, after.Bytes - before.Bytes}
	written := 0
	for _, one := range report.Objects {
		written += one.Written
	}
	if written != from.count() {
		return report, c, fmt.Errorf("FAIL: %d of %d records are in the tables", written, from.count())
	}
	return report, c, nil
}

// tablesEngine is a process with an empty store and empty tables, which may be filled from the stand-in.
func (b *bench) tablesEngine(ctx context.Context, store string, from *standIn) (*process, string, func(), error) {
	url, db, err := b.empty(store)
	if err != nil {
		return nil, "", nil, err
	}
	if err := db.Close(); err != nil {
		return nil, "", nil, err
	}
	tables, err := b.tables(ctx, store)
	if err != nil {
		return nil, "", nil, err
	}
	b.api = from.url
	defer func() { b.api = "" }()
	p, err := b.engine(ctx, url, "tables:record:"+tablesWhat+tables)
	if err != nil {
		return nil, "", nil, err
	}
	return p, url, p.stop, nil
}

// compared measures the comparison of tables with the API where one in a hundred records was missed, and then, one in a hundred
// deleted, that of all ids.
func (b *bench) compared(ctx context.Context, stores []string, from *standIn) error {
	fmt.Printf("\n%-44s %9s %9s %9s %9s %9s\n", fmt.Sprintf("comparing %d records, 1 %% missed", from.count()), "seconds", "calls", "per 1000", "events", "events/s")
	for _, store := range stores {
		if err := b.compareOnce(ctx, store, from); err != nil {
			return fmt.Errorf("%s: %w", store, err)
		}
	}
	return nil
}

func (b *bench) compareOnce(ctx context.Context, store string, from *standIn) error {
	p, url, end, err := b.tablesEngine(ctx, store, from)
	if err != nil {
		return err
	}
	defer end()
	from.takes(0)
	if err := nextSecond(ctx); err != nil {
		return err
	}
	if _, _, err := b.fillTables(ctx, p, from); err != nil {
		return err
	}
	for _, round := range []struct {
		what, path string
		mix        simulate.Mix
	}{{"changed", "", simulate.Mix{Update: 1}}, {"deleted, all ids", "&deletes=1", simulate.Mix{Delete: 1}}} {
		if err := nextSecond(ctx); err != nil {
			return err
		}
		if err := from.act(from.count()/100, round.mix); err != nil {
			return err
		}
		if err := nextSecond(ctx); err != nil {
			return err
		}
		if err := b.comparison(ctx, p, url, label(store)+", "+round.what, "/reconcile?"+objectsQuery()+round.path); err != nil {
			return err
		}
	}
	return nil
}

// comparison prints what one costs, and fails when after it there is still a difference.
func (b *bench) comparison(ctx context.Context, p *process, url, what, path string) error {
	var r, again mirror.Report
	if err := p.asks(ctx, path, &r); err != nil {
		return err
	}
	calls, events, swept := int64(0), 0, false
	for _, one := range r.Objects {
		calls, events, swept = calls+one.Calls, events+one.Submitted, swept || one.Swept
	}
	seconds := float64(r.TookMS) / 1e3
	aim := "no sweep has one"
	if !swept { // the last page of an object is never full
		per := float64(calls-int64(len(r.Objects))) / float64(events) * 1000
		aim = fmt.Sprintf("aim: at most 2 a thousand, and one for each object: %s", verdict(per <= 2))
	}
	fmt.Printf("%-44s %9.2f %9d %9.1f %9d %9.0f   (%s)\n", what, seconds, calls, float64(calls)/float64(events)*1000, events, float64(events)/seconds, aim)
	if err := b.settled(ctx, url); err != nil {
		return err
	}
	if err := p.asks(ctx, path, &again); err != nil {
		return err
	}
	if n := again.Differences(); n > 0 || events == 0 {
		return fmt.Errorf("FAIL: after %d events %d records differ", events, n)
	}
	return nil
}

// settled waits until the tables have had all events.
func (b *bench) settled(ctx context.Context, url string) error {
	db, err := program.Open(url)
	if err != nil {
		return err
	}
	defer func() { _ = db.Close() }() // it is read only
	return nothingWaits(ctx, db)
}

// nextSecond waits until the second of now is over: Pipedrive's times have no parts of one.
func nextSecond(ctx context.Context) error {
	select {
	case <-time.After(2 * time.Second):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
