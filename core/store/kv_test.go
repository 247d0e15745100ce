package store_test

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/pipehook/pipehook/core"
	"github.com/pipehook/pipehook/core/coretest/testdb"
	"github.com/pipehook/pipehook/core/store"
)

func (f *fixture) set(t *testing.T, script, key, value string, o store.KVSetting) (version string, ok bool) {
	t.Helper()
	e, ok, err := f.KVSet(t.Context(), script, key, []byte(value), o)
	if err != nil {
		t.Fatal(err)
	}
	return e.Version, ok
}

func (f *fixture) get(t *testing.T, script, key string) (store.KVEntry, bool) {
	t.Helper()
	e, ok, err := f.KVGet(t.Context(), script, key)
	if err != nil {
		t.Fatal(err)
	}
	return e, ok
}

func (f *fixture) wait(t *testing.T, d time.Duration) {
	t.Helper()
	f.clock.advance(d)
	testdb.SetClock(t, f.url, f.clock.now())
}

func TestWhatAScriptSetsIsThereByteForByteAndForItAlone(t *testing.T) {
	testdb.Each(t, func(t *testing.T, url string) {
		f := open(t, url, &intake{})
		const value = `{"n":12345678901234567890.10,"q":"it's \u0000 \\ ü","a":[1e400]}`
		for _, key := range []string{"a", "it's", `\x00`, "ü/日本/𝄞", strings.Repeat("k", store.KVMaxKey), "$1 ?"} {
			if _, ok := f.set(t, "one", key, value, store.KVSetting{}); !ok {
				t.Errorf("%q was not set", key)
			}
			if e, ok := f.get(t, "one", key); !ok || string(e.Value) != value || e.Key != key || !e.Expires.IsZero() {
				t.Errorf("%q: %v %s", key, ok, e.Value)
			}
		}
		for _, other := range []string{"two", "", "on", "one "} {
			if _, ok := f.get(t, other, "a"); ok {
				t.Errorf("%q sees it", other)
			}
		}
		large := `"` + strings.Repeat("a", store.KVMaxValue-2) + `"`
		f.set(t, "", "large", large, store.KVSetting{})
		if e, _ := f.get(t, "", "large"); string(e.Value) != large {
			t.Errorf("a large value has %d bytes", len(e.Value))
		}
		f.stop()
		again := open(t, url, &intake{})
		if e, ok := again.get(t, "one", "a"); !ok || string(e.Value) != value {
			t.Errorf("after a start: %v %s", ok, e.Value)
		}
	})
}

func TestWhatCantBeKeptIsRefused(t *testing.T) {
	testdb.Each(t, func(t *testing.T, url string) {
		f := open(t, url, &intake{})
		for name, test := range map[string]struct {
			key, value string
			ttl        time.Duration
			kind       core.Kind
		}{
			"an empty key":    {"", "1", 0, core.Invalid},
			"a key with NUL":  {"a\x00", "1", 0, core.Invalid},
			"a key not text":  {"a\xff", "1", 0, core.Invalid},
			"a long key":      {strings.Repeat("k", store.KVMaxKey+1), "1", 0, core.TooLarge},
			"no value":        {"a", "", 0, core.Invalid},
			"no JSON":         {"a", "{", 0, core.Invalid},
			"two values":      {"a", "1 2", 0, core.Invalid},
			"a large value":   {"a", `"` + strings.Repeat("a", store.KVMaxValue-1) + `"`, 0, core.TooLarge},
			"a time that was": {"a", "1", -time.Second, core.Invalid},
		} {
			_, ok, err := f.KVSet(t.Context(), "s", test.key, []byte(test.value), store.KVSetting{TTL: test.ttl})
			if ok || err == nil || core.KindOf(err) != test.kind {
				t.Errorf("%s: %v %v", name, ok, err)
			}
		}
		absent := ""
		if _, err := f.KVDelete(t.Context(), "s", "a", &absent); core.KindOf(err) != core.Invalid {
			t.Error(err)
		}
		if _, _, err := f.KVList(t.Context(), "s", store.KVRange{Prefix: "\xff"}); core.KindOf(err) != core.Invalid {
			t.Error(err)
		}
	})
}

func TestAConditionDecidesWhatIsSetAndDeleted(t *testing.T) {
	testdb.Each(t, func(t *testing.T, url string) {
		f := open(t, url, &intake{})
		absent, foreign := "", "not a version"
		first, ok := f.set(t, "s", "k", "1", store.KVSetting{IfVersion: &absent})
		if !ok {
			t.Fatal("the first was not set")
		}
		if _, ok := f.set(t, "s", "k", "2", store.KVSetting{IfVersion: &absent}); ok {
			t.Error("it was set although there is one")
		}
		if _, ok := f.set(t, "s", "k", "2", store.KVSetting{IfVersion: &foreign}); ok {
			t.Error("it was set under a version that is none")
		}
		second, ok := f.set(t, "s", "k", "2", store.KVSetting{IfVersion: &first})
		if !ok || second == first {
			t.Errorf("it was not set under its version: %s, %s", first, second)
		}
		if _, ok := f.set(t, "s", "k", "3", store.KVSetting{IfVersion: &first}); ok {
			t.Error("it was set under an old version")
		}
		if _, ok := f.set(t, "s", "new", "3", store.KVSetting{IfVersion: &second}); ok {
			t.Error("what is not there was set under a version")
		}
		if ok, err := f.KVDelete(t.Context(), "s", "k", &first); ok || err != nil {
			t.Errorf("it was deleted under an old version: %v", err)
		}
		if e, _ := f.get(t, "s", "k"); string(e.Value) != "2" || e.Version != second {
			t.Errorf("%+v", e)
		}
		for _, want := range []bool{true, false} {
			if ok, err := f.KVDelete(t.Context(), "s", "k", nil); ok != want || err != nil {
				t.Errorf("deleted %v (%v), want %v", ok, err, want)
			}
		}
		third, _ := f.set(t, "s", "k", "2", store.KVSetting{})
		if _, ok := f.set(t, "s", "k", "9", store.KVSetting{IfVersion: &second}); ok {
			t.Error("a version came back")
		}
		if a, b := versionNumber(t, second), versionNumber(t, third); b <= a {
			t.Errorf("versions %d, then %d", a, b)
		}
		if ok, err := f.KVDelete(t.Context(), "s", "k", &third); !ok || err != nil {
			t.Errorf("it was not deleted under its version: %v", err)
		}
	})
}

func versionNumber(t *testing.T, version string) int64 {
	t.Helper()
	n, err := strconv.ParseInt(version, 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func TestWhatHasExpiredIsGoneAtOnceAndDeletedLater(t *testing.T) {
	testdb.Each(t, func(t *testing.T, url string) {
		f := open(t, url, &intake{})
		version, _ := f.set(t, "s", "k", "1", store.KVSetting{TTL: time.Minute})
		f.set(t, "s", "long", "1", store.KVSetting{TTL: time.Hour})
		f.set(t, "s", "kept", "1", store.KVSetting{TTL: time.Minute})
		f.set(t, "s", "kept", "2", store.KVSetting{})
		if e, ok := f.get(t, "s", "k"); !ok || !e.Expires.Equal(f.clock.now().Add(time.Minute)) {
			t.Errorf("%v %+v", ok, e)
		}
		f.wait(t, time.Minute)
		if _, ok := f.get(t, "s", "k"); ok {
			t.Error("it is still there")
		}
		if got := f.keys(t, "s", store.KVRange{}); !slices.Equal(got, []string{"kept", "long"}) {
			t.Errorf("listed are %q", got)
		}
		if _, ok := f.set(t, "s", "k", "2", store.KVSetting{IfVersion: &version}); ok {
			t.Error("it was set under its version")
		}
		if ok, err := f.KVDelete(t.Context(), "s", "k", nil); ok || err != nil {
			t.Errorf("it was deleted: %v", err)
		}
		absent := ""
		f.set(t, "s", "k", "1", store.KVSetting{TTL: time.Second})
		f.wait(t, time.Second)
		if _, ok := f.set(t, "s", "k", "3", store.KVSetting{IfVersion: &absent, TTL: time.Minute}); !ok {
			t.Error("what has expired stands in the way")
		}
		f.wait(t, 2*time.Hour)
		f.stop()
		g := keeping(t, url, f.clock, store.Keep{}) // it looks at once
		deadline := time.Now().Add(20 * time.Second)
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		for ; g.Rows(t) != 1; <-tick.C {
			if time.Now().After(deadline) {
				t.Fatalf("%d rows are left", g.Rows(t))
			}
		}
	})
}

func (f *fixture) keys(t *testing.T, script string, r store.KVRange) []string {
	t.Helper()
	var keys []string
	for {
		page, more, err := f.KVList(t.Context(), script, r)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range page {
			keys = append(keys, e.Key)
		}
		if !more {
			return keys
		}
		r.After = page[len(page)-1].Key
	}
}

func TestEntriesAreListedInTheOrderOfTheirBytes(t *testing.T) {
	testdb.Each(t, func(t *testing.T, url string) {
		f := open(t, url, &intake{})
		keys := []string{"a", "B", "b", "ab", "a-b", "a b", "A", "_", "é", "e", "z", "日", "\uffff", "𝄞", "\U0010ffff", "\U0010ffffa", "won/1", "won/10", "won/2", "won0", "won.", "퟿x", "\ue000x"}
		for _, k := range keys {
			f.set(t, "s", k, `"of `+k+`"`, store.KVSetting{})
		}
		f.set(t, "t", "a", "1", store.KVSetting{})
		slices.Sort(keys)
		for _, limit := range []int{0, 1, 2, 7, len(keys), 5000} {
			if got := f.keys(t, "s", store.KVRange{Limit: limit}); !slices.Equal(got, keys) {
				t.Errorf("in pages of %d: %q, want %q", limit, got, keys)
			}
		}
		for _, prefix := range []string{"won/", "won", "a", "\U0010ffff", "\ud7ff", "日", "x", "won/1"} {
			var want []string
			for _, k := range keys {
				if strings.HasPrefix(k, prefix) {
					want = append(want, k)
				}
			}
			if got := f.keys(t, "s", store.KVRange{Prefix: prefix, Limit: 2}); !slices.Equal(got, want) {
				t.Errorf("with %q: %q, want %q", prefix, got, want)
			}
		}
		page, more, err := f.KVList(t.Context(), "s", store.KVRange{Prefix: "won/", After: "won/1", Limit: 1})
		if err != nil || !more || len(page) != 1 || page[0].Key != "won/10" || string(page[0].Value) != `"of won/10"` {
			t.Errorf("%+v %v %v", page, more, err)
		}
	})
}

func TestAPageOfLargeValuesEndsEarly(t *testing.T) {
	testdb.Each(t, func(t *testing.T, url string) {
		f := open(t, url, &intake{})
		large := `"` + strings.Repeat("a", store.KVMaxValue-2) + `"`
		for i := range 20 {
			f.set(t, "s", fmt.Sprintf("%02d", i), large, store.KVSetting{})
		}
		page, more, err := f.KVList(t.Context(), "s", store.KVRange{})
		if err != nil || !more || len(page) != 12 {
			t.Errorf("%d entries, more %v (%v)", len(page), more, err)
		}
		if got := f.keys(t, "s", store.KVRange{}); len(got) != 20 {
			t.Errorf("%d in all", len(got))
		}
	})
}

// Most libraries of gRPC take messages of 4 MiB, and a plugin is sent a page in one.
func TestTheLargestPageFitsAMessage(t *testing.T) {
	const around = 40 // bytes of an entry's version, time and lengths
	f := open(t, testdb.SQLite(t), &intake{})
	for script, usual := range map[string]int{"just below the end": 3140, "beyond the end": 4100} {
		for i := range store.KVMaxPage {
			size := usual
			if i == store.KVMaxPage-1 {
				size = store.KVMaxValue
			}
			f.set(t, script, fmt.Sprintf("%0*d", store.KVMaxKey, i), `"`+strings.Repeat("a", size-2)+`"`, store.KVSetting{})
		}
		page, _, err := f.KVList(t.Context(), script, store.KVRange{})
		if err != nil {
			t.Fatal(err)
		}
		size := 0
		for _, e := range page {
			size += len(e.Key) + len(e.Value) + around
		}
		if size < 3<<20 || size >= 4<<20 {
			t.Errorf("%s: a page has %d entries and %d bytes", script, len(page), size)
		}
	}
}
