package simulate

import (
	"github.com/pipehook/pipehook/core/pipedrive/shape"
)

func mergeable(object string) bool {
	o, _ := shape.Find(object)
	return o.Merges
}

// Merge merges a record into another. What the survivor has stays, what it lacks comes from the loser, and whatever
// referred to the loser refers to the survivor then.
func (c *CRM) Merge(object, loser, survivor string, by By) (Record, error) {
	var made Record
	err := c.do(by, func(op *operation) error {
		if !mergeable(object) {
			return invalidf("%s can't be merged", object)
		}
		if loser == survivor {
			return invalidf("a record can't be merged with itself")
		}
		t, from, err := c.find(object, loser)
		if err != nil {
			return err
		}
		_, to, err := c.find(object, survivor)
		if err != nil {
			return err
		}
		// A guess: the loser's delete is told first, and both share the operation's correlation.
		values := c.merged(t.schema, from.rec, to.rec)
		op.delete(t, from, survivor)
		if made, err = op.update(t, to, values, loser); err != nil {
			return err
		}
		return op.move(object, loser, to.rec["id"])
	})
	return made, err
}

// merged are the values that the survivor of a merge gets.
func (c *CRM) merged(s *schema, loser, survivor Record) Record {
	values := Record{}
	for _, k := range s.keys {
		if k.fixed || k.name == "custom_fields" || k.name == "name" || k.name == "add_time" || k.name == "update_time" {
			continue
		}
		switch mine, theirs := survivor[k.name], loser[k.name]; {
		case mine == nil && theirs != nil && k.kind != aTime && (k.ref == "" || c.exists(k.ref, idText(theirs))):
			values[k.name] = theirs
		case k.name == "emails" || k.name == "phones":
			values[k.name] = union(mine, theirs)
		}
	}
	custom := map[string]any{}
	mine, _ := survivor["custom_fields"].(map[string]any)
	theirs, _ := loser["custom_fields"].(map[string]any)
	for key, value := range theirs {
		if value != nil && mine[key] == nil {
			custom[key] = value
		}
	}
	if len(custom) > 0 {
		values["custom_fields"] = custom
	}
	return values
}

// union is a list of addresses with those of another that it lacks, which are not its main ones.
func union(mine, theirs any) any {
	list, _ := mine.([]any)
	more, _ := theirs.([]any)
	all := append([]any{}, list...)
	there := map[any]bool{}
	for _, one := range list {
		m, _ := one.(map[string]any)
		there[idText(m["value"])] = true
	}
	for _, one := range more {
		m, _ := one.(map[string]any)
		if there[idText(m["value"])] {
			continue
		}
		all = append(all, map[string]any{"value": m["value"], "label": m["label"], "primary": len(all) == 0})
	}
	return all
}

// move has everything that refers to the loser of a merge refer to the survivor.
func (op *operation) move(object, loser string, survivor any) error {
	c := op.c
	from := refKey{object, loser}
	for _, r := range c.refs[from] {
		if r.gone || !r.deleted.IsZero() {
			continue
		}
		t := c.tables[r.object]
		values := Record{}
		for _, k := range t.schema.keys {
			if k.ref == object && r.rec[k.name] != nil && idText(r.rec[k.name]) == loser {
				values[k.name] = survivor
			}
		}
		if len(values) == 0 {
			continue
		}
		// A guess: what is moved gets a new update_time and a webhook of its own.
		if _, err := op.update(t, r, values, ""); err != nil {
			return err
		}
	}
	delete(c.refs, from)
	return nil
}
