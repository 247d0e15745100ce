package store

import (
	"database/sql/driver"
	"math"
	"time"

	"github.com/pipehook/pipehook/core"
)

func (s *sqlite) writePlan(p *plan, now time.Time) error {
	p.reset()
	ev := p.ev
	if ev.Plan.Key == nil && !ev.Plan.Store {
		p.receipt = core.Receipt{ID: ev.ID}
		return nil
	}
	first, err := s.forestalled(ev, now)
	if err == nil && first == "" {
		first, err = s.insertFirst(p, now)
	}
	if err != nil {
		return err
	}
	if first == ev.ID {
		p.known()
		return nil
	}
	p.receipt = core.Receipt{ID: ev.ID}
	duplicate := first != ""
	if duplicate {
		p.receipt = core.Receipt{ID: first, Duplicate: true}
		if ev.Plan.StoreDuplicate {
			if p.seq, err = s.insert(ev, nil, ev.Body); err != nil {
				return err
			}
		}
	}
	p.deliver = p.seq != 0 && ev.Plan.Store && (!duplicate || ev.Plan.DeliverDuplicate)
	if !p.deliver {
		return nil
	}
	for _, listener := range ev.Plan.Listeners {
		if err := s.stmts.insertDelivery.run(p.seq, listener, now.UnixMicro(), p.seq, ev.Record()); err != nil {
			return err
		}
	}
	return nil
}

// forestalled finds what makes the event a duplicate although its own key may be free: an event kept under
// its state, or one about its record that came after what its maker knew. It is the event's own id when it was
// stored before.
func (s *sqlite) forestalled(ev *core.Event, now time.Time) (first string, err error) {
	plan := &ev.Plan
	if plan.State != nil {
		since := int64(math.MinInt64)
		if plan.Window != 0 {
			since = now.Add(-plan.Window).UnixMicro()
		}
		first, err = idOf(s.stmts.stateHolder.all(ev.Pipeline, plan.State, since))
	}
	if err == nil && first == "" && plan.After != 0 && ev.ObjectID != "" {
		first, err = idOf(s.stmts.since.all(plan.After, ev.Source, plainText(ev.Object), plainText(ev.ObjectID)))
	}
	if err != nil || first == "" {
		return "", err
	}
	own, err := s.stmts.holder.all(ev.ID, ev.Pipeline, nil)
	if len(own) > 0 {
		first = ev.ID
	}
	return first, err
}

func idOf(found [][]driver.Value, err error) (string, error) {
	if err != nil || len(found) == 0 {
		return "", err
	}
	return found[0][0].(string), nil
}

// insertFirst tries to insert the event under its key. The insert that conflicts is the duplicate:
// then first is the id of the event that holds the key, or the event's own when it was stored before.
func (s *sqlite) insertFirst(p *plan, now time.Time) (first string, err error) {
	ev := p.ev
	body := ev.Body
	if !ev.Plan.Store {
		body = nil
	}
	if p.seq, err = s.insert(ev, ev.Plan.Key, body); err != nil || p.seq != 0 {
		return "", err
	}
	var key any
	if ev.Plan.Key != nil {
		key = ev.Plan.Key
	}
	found, err := s.stmts.holder.one(ev.ID, ev.Pipeline, key)
	if err != nil {
		return "", err
	}
	seq, id, received := found[0].(int64), found[1].(string), found[2].(int64)
	if id == ev.ID || ev.Plan.Window == 0 || received >= now.Add(-ev.Plan.Window).UnixMicro() {
		return id, nil
	}
	if err := s.stmts.freeKey.run(seq); err != nil {
		return "", err
	}
	p.seq, err = s.insert(ev, ev.Plan.Key, body)
	return "", err
}

// insert returns the new row's seq, 0 when the key or the id is taken.
func (s *sqlite) insert(ev *core.Event, key, body []byte) (int64, error) {
	stored, err := s.stmts.insertEvent(s.turn+1, ev, key, body)
	if err != nil || !stored {
		return 0, err
	}
	s.turn++
	return s.turn, nil
}
