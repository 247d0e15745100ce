package mirror

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pipehook/pipehook/core"
	"github.com/pipehook/pipehook/core/pipedrive/shape"
)

// Progress says how far a fill or a comparison has come.
type Progress struct {
	Object  string `json:"object"`  // that was begun last
	Objects int    `json:"objects"` // that it has ended
	Of      int    `json:"of"`      // objects
	Records int    `json:"records"` // that were read, of all objects
}

// work is what a fill of an object, and a comparison, share while they run.
type work struct {
	m      *Mirror
	api    API
	fields *shape.Fields
	calls  atomic.Int64
	*telling
}

func (w *work) now() time.Time { return w.m.opts.Now().UTC() }

// telling tells how far all objects have come, one thing at a time.
type telling struct {
	mu   sync.Mutex
	tell func(Progress) // nil for nobody
	at   Progress
}

func (t *telling) begin(object string) { t.say(func(at *Progress) { at.Object = object }) }
func (t *telling) read(n int)          { t.say(func(at *Progress) { at.Records += n }) }
func (t *telling) ended()              { t.say(func(at *Progress) { at.Objects++ }) }

func (t *telling) say(change func(at *Progress)) {
	t.mu.Lock()
	defer t.mu.Unlock()
	change(&t.at)
	if t.tell != nil {
		t.tell(t.at)
	}
}

// choose is the objects to work on, in the order in which what others refer to comes first.
func (m *Mirror) choose(names []string) ([]shape.Object, error) {
	for _, name := range names {
		if _, known := shape.Find(name); !known {
			return nil, &core.Error{Kind: core.Invalid, Msg: fmt.Sprintf("there is no object %q; there are %s", name, strings.Join(m.Objects(), ", "))}
		}
		if !m.kept[name] {
			return nil, &core.Error{Kind: core.Invalid, Msg: fmt.Sprintf("%s is not kept: add it to pipedrive.sync.objects", name)}
		}
	}
	var all []shape.Object
	for _, o := range shape.Objects() {
		if !m.kept[o.Name] || len(names) > 0 && !slices.Contains(names, o.Name) {
			continue
		}
		if o.Parent != "" && !m.kept[o.Parent] {
			if slices.Contains(names, o.Name) {
				return nil, &core.Error{Kind: core.Invalid, Msg: fmt.Sprintf("%s can only be listed by %s: add %[2]s to pipedrive.sync.objects", o.Name, o.Parent)}
			}
			continue
		}
		all = append(all, o)
	}
	return all, nil
}

// load reads a state into a value, which stays as it is when nothing is kept.
func (m *Mirror) load(ctx context.Context, name string, into any) error {
	kept, err := m.State(ctx, name)
	if err != nil || kept == nil {
		return err
	}
	if err := json.Unmarshal(kept, into); err != nil {
		return fmt.Errorf("the state %s of the local tables: %w", name, err)
	}
	return nil
}

func (m *Mirror) save(ctx context.Context, name string, value any) error {
	kept, err := json.Marshal(value)
	if err != nil {
		return err
	}
	return m.SetState(ctx, name, kept)
}

// parents calls do with so many of the parents' ids as one list is for.
func (w *work) parents(ctx context.Context, o shape.Object, after string, do func(ids []string) error) error {
	for {
		ids, err := w.m.IDs(ctx, o.Parent, after, perList(o))
		if err != nil || len(ids) == 0 {
			return err
		}
		if err := do(ids); err != nil {
			return err
		}
		after = ids[len(ids)-1]
	}
}
