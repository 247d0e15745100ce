package simulate

import (
	"strings"
	"time"
)

// fill sets what a new record has that nobody gave.
func (op *operation) fill(t *table, rec Record) error {
	now := op.now(t.object)
	set := func(name string, value any) {
		if _, has := t.schema.byName[name]; has && rec[name] == nil {
			rec[name] = value
		}
	}
	set("add_time", now)
	set("created", now)
	for _, name := range []string{"owner_id", "creator_user_id", "creator_id", "user_id"} {
		set(name, op.by.UserID)
	}
	if name := "order_nr"; t.schema.byName[name] != nil && t.object != "deal_product" {
		set(name, t.last+1)
	}
	if err := op.fillOne(t, rec); err != nil {
		return err
	}
	if err := op.derive(t.object, nil, rec); err != nil {
		return err
	}
	if t.object != "deal" { // a deal has none until it changes, as its webhook shows
		set("update_time", rec["add_time"])
		set("modified", rec["created"])
	}
	return nil
}

// fillOne is what only records of one object are given.
func (op *operation) fillOne(t *table, rec Record) error {
	c := op.c
	switch t.object {
	case "deal":
		switch {
		case rec["stage_id"] == nil && rec["pipeline_id"] == nil:
			rec["stage_id"] = c.firstStage(int64(1))
		case rec["stage_id"] == nil:
			rec["stage_id"] = c.firstStage(rec["pipeline_id"])
		}
	case "lead":
		if rec["person_id"] == nil && rec["organization_id"] == nil {
			return invalidf("a lead needs a person_id or an organization_id")
		}
		rec["cc_email"] = "company+lead" + strings.ReplaceAll(idText(rec["id"]), "-", "") + "@pipedrivemail.com"
	case "note":
		for _, name := range []string{"deal_id", "person_id", "org_id", "lead_id", "project_id"} {
			if rec[name] != nil {
				return nil
			}
		}
		return invalidf("a note needs a deal_id, person_id, org_id, lead_id or project_id")
	case "deal_product":
		if r := c.tables["product"].byID[idText(rec["product_id"])]; r != nil && rec["name"] == nil {
			rec["name"] = r.rec["name"]
		}
		if rec["order_nr"] == nil {
			rec["order_nr"] = t.last + 1
		}
	}
	return nil
}

// firstStage is the first one of a pipeline.
func (c *CRM) firstStage(pipeline any) any {
	for _, r := range c.tables["stage"].rows {
		if r.rec["pipeline_id"] == pipeline && r.deleted.IsZero() && !r.gone {
			return r.rec["id"]
		}
	}
	return nil
}

// derive sets what follows from other values. before is nil for a new record.
func (op *operation) derive(object string, before, rec Record) error {
	now := op.now(object)
	changed := func(name string) bool { return before == nil || before[name] != rec[name] }
	switch object {
	case "deal":
		return op.deriveDeal(before, rec, changed)
	case "person":
		return derivePerson(rec, changed)
	case "activity", "task":
		done := map[string]string{"activity": "done", "task": "is_done"}[object]
		if changed(done) {
			rec["marked_as_done_time"] = nil
			if rec[done] == true {
				rec["marked_as_done_time"] = now
			}
		}
	case "project":
		if before != nil && changed("status") {
			rec["status_change_time"] = now
		}
	case "deal_product":
		rec["sum"] = sum(rec)
	case "note":
		if before != nil {
			rec["last_update_user_id"] = op.by.UserID
		}
	}
	return nil
}

func (op *operation) deriveDeal(before, rec Record, changed func(string) bool) error {
	now, today := op.now("deal"), op.at.Format(time.DateOnly)
	if before != nil && changed("pipeline_id") && !changed("stage_id") {
		rec["stage_id"] = op.c.firstStage(rec["pipeline_id"])
	}
	if changed("stage_id") {
		if r := op.c.tables["stage"].byID[idText(rec["stage_id"])]; r != nil {
			rec["pipeline_id"] = r.rec["pipeline_id"]
		}
		if before != nil {
			rec["stage_change_time"] = now
		}
	}
	if changed("is_archived") {
		rec["archive_time"] = nil
		if rec["is_archived"] == true {
			rec["archive_time"] = now
		}
	}
	if !changed("status") {
		return nil
	}
	for _, name := range []string{"won_time", "lost_time", "close_time", "local_won_date", "local_lost_date", "local_close_date"} {
		if before != nil {
			rec[name] = nil
		}
	}
	switch rec["status"] {
	case "open":
		rec["lost_reason"] = nil
	case "won", "lost":
		status := rec["status"].(string)
		for name, value := range map[string]any{
			status + "_time": now, "close_time": now, "local_" + status + "_date": today, "local_close_date": today,
		} {
			if rec[name] == nil {
				rec[name] = value
			}
		}
		if status == "won" && rec["first_won_time"] == nil {
			rec["first_won_time"] = rec["won_time"]
		}
	default:
		return invalidf("status: must be open, won or lost")
	}
	return nil
}

// derivePerson keeps a person's name and its two parts together.
func derivePerson(rec Record, changed func(string) bool) error {
	first, _ := rec["first_name"].(string)
	last, _ := rec["last_name"].(string)
	name, _ := rec["name"].(string)
	switch {
	case name != "" && changed("name"):
		first, last = splitName(name)
		rec["first_name"], rec["last_name"] = orNil(first), orNil(last)
	case first != "" || last != "":
		rec["name"] = strings.TrimSpace(first + " " + last)
	default:
		return invalidf("name: required")
	}
	return nil
}

func splitName(name string) (first, last string) {
	first, last, _ = strings.Cut(name, " ")
	return first, last
}

func orNil(text string) any {
	if text == "" {
		return nil
	}
	return text
}

// sum is what a product of a deal costs there.
func sum(rec Record) any {
	total := number(rec["item_price"]) * number(rec["quantity"])
	if rec["discount_type"] == "amount" {
		total -= number(rec["discount"])
	} else {
		total *= 1 - number(rec["discount"])/100
	}
	return plain(total)
}

func number(value any) float64 {
	switch v := value.(type) {
	case int64:
		return float64(v)
	case float64:
		return v
	}
	return 0
}

// setUpdated marks a record as changed now.
func (op *operation) setUpdated(t *table, rec Record) {
	for _, name := range []string{"update_time", "modified"} {
		if t.schema.byName[name] != nil {
			rec[name] = op.now(t.object)
		}
	}
}

// now is the operation's time as records of an object hold it.
func (op *operation) now(object string) string {
	if object == "lead" {
		return op.at.Format("2006-01-02T15:04:05.000Z")
	}
	return stamp(op.at)
}
