package scripttest

import (
	"context"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/pipehook/pipehook/core/effect"
)

// Overlay is a kv in memory. It may lie over another, which is only read: what was written or deleted
// here hides what is below.
type Overlay struct {
	Now   func() time.Time // nil: time.Now
	Below func(ctx context.Context, script string, op *effect.KVOp) (*effect.KVResult, error)

	mu      sync.Mutex
	entries map[place]*effect.KVEntry // nil: deleted here
	writes  int
}

type place struct{ script, key string } // no script: shared by all

func placeOf(script string, op *effect.KVOp, key string) place {
	if op.Shared {
		script = ""
	}
	return place{script, key}
}

// below asks what lies below; it may not be there.
func (o *Overlay) below(ctx context.Context, script string, op *effect.KVOp) (*effect.KVResult, error) {
	if o.Below == nil {
		return &effect.KVResult{}, nil
	}
	return o.Below(ctx, script, op)
}

// Do answers one operation.
func (o *Overlay) Do(ctx context.Context, script string, op *effect.KVOp) (*effect.KVResult, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.entries == nil {
		o.entries = map[place]*effect.KVEntry{}
	}
	if op.Op == "list" {
		return o.list(ctx, script, op)
	}
	old, err := o.find(ctx, script, op)
	if err != nil || op.Op == "get" {
		return &effect.KVResult{OK: old != nil, Entry: orZero(old)}, err
	}
	if op.IfVersion != nil && *op.IfVersion != orZero(old).Version {
		return &effect.KVResult{}, nil
	}
	at := placeOf(script, op, op.Key)
	if op.Op == "delete" {
		o.entries[at] = nil
		return &effect.KVResult{OK: old != nil}, nil
	}
	o.writes++
	e := &effect.KVEntry{Key: op.Key, Value: slices.Clone(op.Value), Version: "w" + strconv.Itoa(o.writes)}
	if op.TTL > 0 {
		e.Expires = o.now().Add(op.TTL)
	}
	o.entries[at] = e
	return &effect.KVResult{OK: true, Entry: *e}, nil
}

func orZero(e *effect.KVEntry) effect.KVEntry {
	if e == nil {
		return effect.KVEntry{}
	}
	return *e
}

func (o *Overlay) now() time.Time {
	if o.Now == nil {
		return time.Now()
	}
	return o.Now()
}

// living is an entry that has not expired.
func (o *Overlay) living(e *effect.KVEntry) *effect.KVEntry {
	if e != nil && !e.Expires.IsZero() && !o.now().Before(e.Expires) {
		return nil
	}
	return e
}

func (o *Overlay) find(ctx context.Context, script string, op *effect.KVOp) (*effect.KVEntry, error) {
	if e, ok := o.entries[placeOf(script, op, op.Key)]; ok {
		return o.living(e), nil
	}
	result, err := o.below(ctx, script, &effect.KVOp{Op: "get", Shared: op.Shared, Key: op.Key})
	if err != nil || !result.OK {
		return nil, err
	}
	return o.living(&result.Entry), nil
}

const (
	listLimit = 100  // entries when the script names no limit
	listPage  = 1000 // entries read from below at a time
)

// list merges what is here with what is below.
func (o *Overlay) list(ctx context.Context, script string, op *effect.KVOp) (*effect.KVResult, error) {
	var found []effect.KVEntry
	for key, e := range o.entries {
		if key == placeOf(script, op, key.key) && strings.HasPrefix(key.key, op.Prefix) && key.key > op.After && o.living(e) != nil {
			found = append(found, *e)
		}
	}
	limit := op.Limit
	if limit <= 0 {
		limit = listLimit
	}
	page := &effect.KVOp{Op: "list", Shared: op.Shared, Prefix: op.Prefix, After: op.After, Limit: listPage}
	for taken := 0; taken <= limit; { // one more says that there is more
		result, err := o.below(ctx, script, page)
		if err != nil {
			return nil, err
		}
		for _, e := range result.Entries {
			if _, hidden := o.entries[placeOf(script, op, e.Key)]; !hidden && o.living(&e) != nil {
				found = append(found, e)
				taken++
			}
		}
		if !result.More || len(result.Entries) == 0 {
			break
		}
		page.After = result.Entries[len(result.Entries)-1].Key
	}
	slices.SortFunc(found, func(a, b effect.KVEntry) int { return strings.Compare(a.Key, b.Key) })
	more := len(found) > limit
	if more {
		found = found[:limit]
	}
	return &effect.KVResult{OK: true, Entries: found, More: more}, nil
}
