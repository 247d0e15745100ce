package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/pipehook/pipehook/core"
)

// The limits of what scripts may remember.
const (
	KVMaxKey     = 512       // bytes
	KVMaxValue   = 256 << 10 // bytes of JSON text
	KVMaxEntries = 100_000   // of one script, and of the space that all share; about, with several processes
	KVMaxPage    = 1000      // entries of one list
	kvPageBytes  = 3 << 20   // of the values of one list, and one more; with the longest keys it is no 4 MiB, which a plugin's gRPC may stop at

	kvRecount     = time.Minute // how long a count of entries is relied on: keys that were not new are in it too
	kvRecountFull = 5 * time.Second
)

// KVEntry is what is kept under a key.
type KVEntry struct {
	Key     string
	Value   []byte    // JSON text, byte for byte as it was set
	Version string    // another after every change, and never the same again; opaque
	Expires time.Time // zero for never
}

// KVSetting is how a value is set; its zero value sets it for good, whatever is there.
type KVSetting struct {
	TTL time.Duration // the entry is gone after so long; 0 for never

	// IfVersion sets the value only if the entry has this version, and "" only if there is none. Nil is any.
	IfVersion *string
}

// KVRange chooses entries in the order of their keys' bytes.
type KVRange struct {
	Prefix string
	After  string // only keys behind it
	Limit  int    // 0 for KVMaxPage
}

// ErrKVFull is the error of a new key where there are KVMaxEntries.
var ErrKVFull = &core.Error{Kind: core.TooLarge, Msg: "there are " + strconv.Itoa(KVMaxEntries) + " entries already: delete some, or let them expire"}

// kvWrite is one change and, once it is on disk, what came of it.
type kvWrite struct {
	script, key string
	value       []byte // nil deletes
	ttl         time.Duration
	only        kvCondition

	done    bool // written, or failed with err; belongs to whoever has the queue's turn
	err     error
	ok      bool // the condition was met; of a delete also: there was an entry
	version int64
	expires int64
}

// kvCondition is what an entry must be like to be changed.
type kvCondition struct {
	on      bool
	version int64 // 0: there must be none
}

func (c kvCondition) holds(live bool, version int64) bool {
	return !c.on || live == (c.version != 0) && (!live || version == c.version)
}

// condition reads a version. One that is not of our making is none that an entry has.
func condition(version *string) kvCondition {
	if version == nil {
		return kvCondition{}
	}
	if *version == "" {
		return kvCondition{on: true}
	}
	n, err := strconv.ParseInt(*version, 10, 64)
	if err != nil || n <= 0 {
		n = -1
	}
	return kvCondition{on: true, version: n}
}

func (w *kvWrite) entry() KVEntry {
	return KVEntry{Key: w.key, Value: w.value, Version: strconv.FormatInt(w.version, 10), Expires: fromMicros(w.expires)}
}

func checkKey(key string) error {
	switch {
	case key == "":
		return invalid("the key is empty")
	case len(key) > KVMaxKey:
		return tooLarge("the key has %d bytes and may have %d", len(key), KVMaxKey)
	}
	return checkKeyText(key)
}

// checkKeyText keeps a key fit for both databases.
func checkKeyText(text string) error {
	if !utf8.ValidString(text) || strings.Contains(text, "\x00") {
		return invalid("a key is text without NUL")
	}
	return nil
}

func tooLarge(format string, args ...any) error {
	return &core.Error{Kind: core.TooLarge, Msg: fmt.Sprintf(format, args...)}
}

func newKVSet(script, key string, value []byte, o KVSetting) (*kvWrite, error) {
	if err := checkKey(key); err != nil {
		return nil, err
	}
	switch {
	case len(value) > KVMaxValue:
		return nil, tooLarge("the value has %d bytes as JSON and may have %d", len(value), KVMaxValue)
	case !json.Valid(value):
		return nil, invalid("the value is not JSON")
	case o.TTL < 0:
		return nil, invalid("a value can't expire before it is set")
	}
	if o.TTL > 0 {
		o.TTL = max(o.TTL, time.Microsecond) // the databases count in these, and 0 is never
	}
	return &kvWrite{script: script, key: key, value: value, ttl: o.TTL, only: condition(o.IfVersion)}, nil
}

func newKVDelete(script, key string, ifVersion *string) (*kvWrite, error) {
	if ifVersion != nil && *ifVersion == "" {
		return nil, invalid("what must not be there can't be deleted: give a version, or none")
	}
	return &kvWrite{script: script, key: key, only: condition(ifVersion)}, checkKey(key)
}

// KVGet is the entry of a script under the key, if there is one. The script "" is the space that
// all share. While the database is away it fails with Kind Unavailable, and so do the others.
func (s *Store) KVGet(ctx context.Context, script, key string) (KVEntry, bool, error) {
	if !s.ready.Load() {
		return KVEntry{}, false, kvAway(nil)
	}
	return s.kvReader().get(ctx, script, key)
}

// KVList is a page of a script's entries, and whether there are more behind it. A page ends early
// when its values are large.
func (s *Store) KVList(ctx context.Context, script string, r KVRange) (entries []KVEntry, more bool, err error) {
	if !s.ready.Load() {
		return nil, false, kvAway(nil)
	}
	return s.kvReader().list(ctx, script, r)
}

// KVSet sets the value and returns the entry, or false when the condition was not met. It is on disk
// when KVSet returns; when that is not certain it fails with Kind Unavailable. A value that is no
// JSON fails with Invalid, and what is over a limit with TooLarge.
func (s *Store) KVSet(ctx context.Context, script, key string, value []byte, o KVSetting) (KVEntry, bool, error) {
	w, err := newKVSet(script, key, value, o)
	if err != nil {
		return KVEntry{}, false, err
	}
	if err := s.kvRoom(ctx, w); err != nil {
		return KVEntry{}, false, err
	}
	if err := s.kvWrite(ctx, w); err != nil || !w.ok {
		return KVEntry{}, false, err
	}
	return w.entry(), true, nil
}

// KVDelete deletes the entry and reports whether it was there; with ifVersion, whether it was there
// with this version.
func (s *Store) KVDelete(ctx context.Context, script, key string, ifVersion *string) (bool, error) {
	w, err := newKVDelete(script, key, ifVersion)
	if err != nil {
		return false, err
	}
	if err := s.kvWrite(ctx, w); err != nil || !w.ok {
		return false, err
	}
	s.kvCounts.add(script, -1)
	return true, nil
}

func (s *Store) kvWrite(ctx context.Context, w *kvWrite) error {
	if !s.ready.Load() {
		return kvAway(nil)
	}
	if err := s.backend.kv(ctx, w); err != nil {
		return kvAway(err)
	}
	return nil
}

func (s *Store) kvReader() kvReader { return kvReader{db: s.read, now: s.opts.Now} }

func kvAway(err error) error { return unavailable("what scripts remember can't be reached now", err) }

// kvCounts are how many entries scripts have, as this process knows: counting them for each new key
// would cost more than to write it. Several processes may so go a little over the limit.
type kvCounts struct {
	most int

	mu    sync.Mutex
	known map[string]kvCount
}

type kvCount struct {
	n     int
	full  bool      // when it was counted
	until time.Time // when it is counted again
}

// add notes that a script may have n more entries. It reports whether that is within the limit, and
// whether that is known.
func (c *kvCounts) add(script string, n int) (within, known bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	count, ok := c.known[script]
	if !ok || time.Now().After(count.until) {
		return false, false
	}
	if count.n+n > c.most { // what was added since may not have been new
		return false, count.full
	}
	count.n += n
	c.known[script] = count
	return true, true
}

func (c *kvCounts) learn(script string, n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.known == nil {
		c.known = map[string]kvCount{}
	}
	count := kvCount{n: n, full: n >= c.most, until: time.Now().Add(kvRecount)}
	if count.full {
		count.until = time.Now().Add(kvRecountFull)
	}
	c.known[script] = count
}

// kvRoom refuses a new key where there are too many.
func (s *Store) kvRoom(ctx context.Context, w *kvWrite) error {
	if w.only.on && w.only.version != 0 || !s.ready.Load() {
		return nil // it is there already, or nothing is set
	}
	within, known := s.kvCounts.add(w.script, 1)
	if !known {
		n, err := s.kvReader().count(ctx, w.script, s.kvCounts.most)
		if err != nil {
			return err
		}
		s.kvCounts.learn(w.script, n)
		within, _ = s.kvCounts.add(w.script, 1)
	}
	if within {
		return nil
	}
	_, found, err := s.kvReader().get(ctx, w.script, w.key)
	if err == nil && !found {
		return ErrKVFull
	}
	return err
}

// forgetExpired deletes what has expired, a little at a time.
func (s *Store) forgetExpired(ctx context.Context) error {
	for ctx.Err() == nil {
		n, err := s.backend.forgetKV(ctx, forgetRows)
		if err != nil || n < forgetRows {
			return err
		}
	}
	return nil
}

// errNoAnswer is what an answer without its one row says: see kvGetSQLite.
var errNoAnswer = errors.New("the answer is not whole")
