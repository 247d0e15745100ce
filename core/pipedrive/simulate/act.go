package simulate

import (
	"context"
	"errors"
	"fmt"
	"math/rand"
	"slices"
	"time"
)

// Mix says what people do, as weights. The zero Mix is the usual one.
type Mix struct {
	Create, Update, Delete, Merge int
	Objects                       []string // empty for those that people work with
	By                            By       // the zero By: one of the users, at the screen or by the API
}

// Tally is how often what was done.
type Tally struct {
	Created int `json:"created"`
	Updated int `json:"updated"`
	Deleted int `json:"deleted"`
	Merged  int `json:"merged"`
}

var worked = []string{"organization", "person", "deal", "lead", "activity", "note", "product", "deal_product", "project", "task"}

// Act does n random things to random records. The same r does the same to the same records, if nobody else works on
// them; else some of the n may come to nothing.
func (c *CRM) Act(r *rand.Rand, n int, mix Mix) (Tally, error) {
	a := c.actor(r, mix)
	var done Tally
	for range n {
		if err := a.step(&done); err != nil {
			return done, err
		}
	}
	return done, nil
}

// actor does random things.
type actor struct {
	c   *CRM
	r   *rand.Rand
	mix Mix
}

func (c *CRM) actor(r *rand.Rand, mix Mix) *actor {
	if mix.Create+mix.Update+mix.Delete+mix.Merge == 0 {
		mix.Create, mix.Update, mix.Delete, mix.Merge = 20, 70, 7, 3
	}
	if len(mix.Objects) == 0 {
		mix.Objects = worked
	}
	return &actor{c, r, mix}
}

func (a *actor) step(done *Tally) error {
	by := a.mix.By
	if by.UserID == 0 {
		by.UserID = 1001 + a.r.Int63n(3)
	}
	if by.Source == "" {
		by.Source = pick(a.r, []string{"app", "app", "api"})
	}
	object := pick(a.r, a.mix.Objects)
	roll := a.r.Intn(a.mix.Create + a.mix.Update + a.mix.Delete + a.mix.Merge)
	create := a.mix.Create
	id, there := a.any(object)
	other, second := a.any(object)
	switch {
	case !there || roll < create:
		return count(&done.Created, a.create(object, by))
	case roll < create+a.mix.Update:
		_, err := a.c.Update(object, id, a.edit(object, id), by)
		return count(&done.Updated, err)
	case roll < create+a.mix.Update+a.mix.Merge && mergeable(object) && second && other != id:
		_, err := a.c.Merge(object, id, other, by)
		return count(&done.Merged, err)
	}
	return count(&done.Deleted, a.c.Delete(object, id, by))
}

// count counts what went well. What failed because somebody else deleted the record in between, or one that it refers
// to, is nobody's fault.
func count(n *int, err error) error {
	if _, refused := errors.AsType[*invalidError](err); refused || errors.Is(err, ErrNotFound) {
		return nil
	}
	if err == nil {
		*n++
	}
	return err
}

func pick[T any](r *rand.Rand, list []T) T { return list[r.Intn(len(list))] }

// any is the id of some record that is not deleted.
func (a *actor) any(object string) (string, bool) {
	a.c.mu.RLock()
	defer a.c.mu.RUnlock()
	t := a.c.tables[object]
	if t.live == 0 {
		return "", false
	}
	at := a.r.Intn(len(t.rows))
	for range t.rows {
		if r := t.rows[at]; r.deleted.IsZero() && !r.gone {
			return r.id, true
		}
		at = (at + 1) % len(t.rows)
	}
	return "", false
}

// create makes a record, and before it what it can't be without.
func (a *actor) create(object string, by By) error {
	values := a.values(object)
	for _, k := range schemas[object].keys {
		_, has := values[k.name]
		needed := k.need || object == "lead" && k.name == "person_id" || object == "note" && k.name == "deal_id"
		if k.ref == "" || k.fixed || has || !needed && a.r.Intn(2) == 0 {
			continue
		}
		id, there := a.any(k.ref)
		if !there && needed {
			if err := a.create(k.ref, by); err != nil {
				return err
			}
			id, there = a.any(k.ref)
		}
		if there {
			values[k.name] = refValue(k, id)
		}
	}
	_, err := a.c.Create(object, values, by)
	return err
}

func refValue(k key, id string) any {
	if k.kind == aText {
		return id
	}
	return number1(id)
}

var (
	firstNames = []string{"Ada", "Boris", "Chen", "Daria", "Emeka", "Fatima", "Georg", "Hana", "Ines", "Jörg", "Kaja", "Liam", "Mária", "Nils"}
	lastNames  = []string{"Abel", "Brandt", "Costa", "Dubois", "Eriksen", "Fischer", "García", "Horváth", "Ito", "Jensen", "Kask", "Łukasz"}
	trades     = []string{"Bakery", "Boats", "Clinics", "Energy", "Farms", "Foods", "Freight", "Hotels", "Optics", "Steel", "Tools", "Wines"}
)

// values are those of a new record, without references.
func (a *actor) values(object string) Record {
	r := a.r
	name := pick(r, firstNames) + " " + pick(r, lastNames)
	company := pick(r, lastNames) + " " + pick(r, trades)
	switch object {
	case "organization":
		return Record{"name": company, "custom_fields": a.custom(object, 3)}
	case "person":
		mail := fmt.Sprintf("person%d@example.com", r.Intn(1e6))
		return Record{"name": name, "custom_fields": a.custom(object, 2),
			"emails": []any{map[string]any{"value": mail, "primary": true, "label": "work"}},
			"phones": []any{map[string]any{"value": fmt.Sprintf("+372 5%06d", r.Intn(1e6)), "primary": true, "label": "mobile"}}}
	case "deal":
		return Record{"title": company + " deal", "value": int64(r.Intn(500) * 100), "custom_fields": a.custom(object, 4)}
	case "lead":
		return Record{"title": company + " lead", "value": map[string]any{"amount": int64(r.Intn(500) * 100), "currency": "EUR"}}
	case "activity":
		kind := pick(r, []string{"call", "meeting", "task", "email"})
		return Record{"subject": kind + " with " + name, "type": kind, "due_date": a.date()}
	case "note":
		return Record{"content": name + " called about " + company}
	case "product":
		return Record{"name": pick(r, trades) + fmt.Sprintf(" %03d", r.Intn(1000)), "code": fmt.Sprintf("P-%04d", r.Intn(1e4)), "tax": int64(20)}
	case "deal_product":
		return Record{"item_price": int64(r.Intn(1000)), "quantity": int64(1 + r.Intn(9))}
	case "deal_installment":
		return Record{"description": "Part", "amount": int64(1 + r.Intn(1000)), "billing_date": a.date()}
	case "file":
		return Record{"file_name": fmt.Sprintf("offer-%04d.pdf", r.Intn(1e4)), "file_type": "pdf"}
	case "project", "task":
		return Record{"title": company + " " + object}
	default:
		values := Record{}
		for _, k := range schemas[object].keys {
			if k.need && k.kind == aText {
				values[k.name] = company
			}
		}
		return values
	}
}

func (a *actor) date() string {
	return time.Date(2026, 1, 1+a.r.Intn(700), 0, 0, 0, 0, time.UTC).Format(time.DateOnly)
}

// custom are values of some custom fields.
func (a *actor) custom(object string, n int) map[string]any {
	fields := a.c.Fields(object)
	values := map[string]any{}
	for range n {
		f := pick(a.r, fields)
		var value any
		switch f.Type {
		case "enum":
			value = pick(a.r, f.Options).ID
		case "set":
			value = []any{f.Options[0].ID, f.Options[1+a.r.Intn(len(f.Options)-1)].ID}
		case "user":
			value = 1001 + a.r.Int63n(3)
		case "org", "people":
			value = 1 + a.r.Int63n(50) // may be gone, as in life
		case "double":
			value = float64(a.r.Intn(10000)) / 4
		case "monetary":
			value = map[string]any{"value": int64(a.r.Intn(10000)), "currency": pick(a.r, []string{"EUR", "USD", "SEK"})}
		case "time":
			value = map[string]any{"value": a.clock()}
		case "timerange":
			value = map[string]any{"value": a.clock(), "until": "23:59:00"}
		case "date":
			value = a.date()
		case "daterange":
			value = map[string]any{"value": a.date(), "until": "2028-12-31"}
		case "address":
			town := pick(a.r, []string{"Tallinn", "Tartu", "Pärnu"})
			value = map[string]any{"value": town + ", Estonia", "country": "Estonia", "locality": town}
		default:
			value = fmt.Sprintf("%s %d", f.Label, a.r.Intn(1e5))
		}
		values[f.Key] = value
	}
	return values
}

func (a *actor) clock() string { return fmt.Sprintf("%02d:%02d:00", a.r.Intn(23), a.r.Intn(60)) }

// edit are the values of a change that somebody might make.
func (a *actor) edit(object, id string) Record {
	r := a.r
	fresh := a.values(object)
	switch object {
	case "deal":
		switch r.Intn(5) {
		case 0:
			if stage, there := a.any("stage"); there {
				return Record{"stage_id": number1(stage)}
			}
		case 1:
			return Record{"status": pick(r, []string{"open", "won", "lost"})}
		case 2:
			return Record{"value": fresh["value"]}
		}
	case "activity":
		if r.Intn(2) == 0 {
			rec, _ := a.c.Get(object, id)
			return Record{"done": rec["done"] != true}
		}
	}
	if schemas[object].custom && r.Intn(2) == 0 {
		return Record{"custom_fields": a.custom(object, 1)}
	}
	names := make([]string, 0, len(fresh))
	for name := range fresh {
		if name != "custom_fields" {
			names = append(names, name)
		}
	}
	slices.Sort(names) // a map's order is another in every run
	name := pick(r, names)
	return Record{name: fresh[name]}
}

// Fill makes n records of what people work with, in the shares of a real account, and tells nobody.
func (c *CRM) Fill(r *rand.Rand, n int) error {
	shares := []string{"organization", "person", "person", "deal", "deal", "activity", "activity", "activity", "note", "lead", "product"}
	a := c.actor(r, Mix{})
	for i := range n {
		if err := a.create(shares[i%len(shares)], By{UserID: 1001 + int64(i%3), Quiet: true}); err != nil {
			return err
		}
	}
	return nil
}

// actSlowly does n random things, per of them in a second, or as fast as it can when per is 0.
func (s *Server) actSlowly(ctx context.Context, n int, per float64, seed int64) (Tally, error) {
	a := s.crm.actor(rand.New(rand.NewSource(seed)), Mix{})
	var done Tally
	for range n {
		if per > 0 {
			if err := s.wait(ctx, time.Duration(float64(time.Second)/per)); err != nil {
				return done, err
			}
		}
		if err := a.step(&done); err != nil {
			return done, err
		}
	}
	return done, nil
}
