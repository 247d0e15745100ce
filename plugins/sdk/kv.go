package sdk

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/pipehook/pipehook/core/effect"
)

// KV is a set of JSON values by key. A key has 1 to 512 bytes, a value at most 256 KiB.
type KV struct {
	host   *Host
	shared bool
}

// Entry is a value that is kept.
type Entry struct {
	Key     string
	Value   json.RawMessage
	Version string    // another one after each change
	Expires time.Time // zero for never
}

// Get reads the value of a key into what into points to, and reports whether there is one. Numbers that
// go into an any become a json.Number, which keeps all digits.
func (kv KV) Get(ctx context.Context, key string, into any) (found bool, err error) {
	e, found, err := kv.Entry(ctx, key)
	if err != nil || !found {
		return false, err
	}
	dec := json.NewDecoder(bytes.NewReader(e.Value))
	dec.UseNumber()
	if err := dec.Decode(into); err != nil {
		return true, fmt.Errorf("kv: the value of %q: %w", key, err)
	}
	return true, nil
}

// Entry is the value of a key with its version, and whether there is one.
func (kv KV) Entry(ctx context.Context, key string) (Entry, bool, error) {
	r, err := kv.do(ctx, &effect.KVOp{Op: "get", Key: key})
	if err != nil {
		return Entry{}, false, err
	}
	return entry(r.Entry), r.OK, nil
}

// Set writes a value, whatever was there. It is forgotten after ttl; 0 keeps it.
func (kv KV) Set(ctx context.Context, key string, value any, ttl time.Duration) error {
	_, err := kv.set(ctx, key, value, ttl, nil)
	return err
}

// SetIf writes a value when the key's has the version; an empty one means that there must be none. It
// reports whether it did.
func (kv KV) SetIf(ctx context.Context, key string, value any, ttl time.Duration, version string) (bool, error) {
	return kv.set(ctx, key, value, ttl, &version)
}

func (kv KV) set(ctx context.Context, key string, value any, ttl time.Duration, version *string) (bool, error) {
	text, err := json.Marshal(value)
	if err != nil {
		return false, fmt.Errorf("kv: the value for %q: %w", key, err)
	}
	r, err := kv.do(ctx, &effect.KVOp{Op: "set", Key: key, Value: text, TTL: ttl, IfVersion: version})
	if err != nil {
		return false, err
	}
	return r.OK, nil
}

// Delete takes a key away, if it is there.
func (kv KV) Delete(ctx context.Context, key string) error {
	_, err := kv.do(ctx, &effect.KVOp{Op: "delete", Key: key})
	return err
}

// DeleteIf takes a key away when its value has the version, and reports whether it did.
func (kv KV) DeleteIf(ctx context.Context, key, version string) (bool, error) {
	r, err := kv.do(ctx, &effect.KVOp{Op: "delete", Key: key, IfVersion: &version})
	if err != nil {
		return false, err
	}
	return r.OK, nil
}

// List reads at most limit keys that begin with the prefix and come after another, in their order; more
// reports whether there are further ones.
func (kv KV) List(ctx context.Context, prefix, after string, limit int) (entries []Entry, more bool, err error) {
	r, err := kv.do(ctx, &effect.KVOp{Op: "list", Prefix: prefix, After: after, Limit: limit})
	if err != nil {
		return nil, false, err
	}
	for _, e := range r.Entries {
		entries = append(entries, entry(e))
	}
	return entries, r.More, nil
}

func (kv KV) do(ctx context.Context, op *effect.KVOp) (*effect.KVResult, error) {
	if kv.host.client == nil {
		return nil, errNoHost
	}
	op.Shared = kv.shared
	return kv.host.client.KV(ctx, callOf(ctx).ID, op)
}

func entry(e effect.KVEntry) Entry {
	return Entry{Key: e.Key, Value: e.Value, Version: e.Version, Expires: e.Expires}
}
