package store

import (
	"errors"
	"fmt"
	"log/slog"
	"testing"

	"github.com/pipehook/pipehook/core/coretest/testdb"
)

// Rows is how many entries there are in the table, expired ones among them.
func (s *Store) Rows(t *testing.T) int {
	t.Helper()
	var n int
	if err := s.read.DB.QueryRowContext(t.Context(), "SELECT count(*) FROM kv").Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

func TestAScriptMayRememberSoMuchAndNoMore(t *testing.T) {
	testdb.Each(t, func(t *testing.T, url string) {
		s, err := Open(t.Context(), Options{URL: url, Log: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = s.Close() }()
		s.kvCounts.most = 10
		set := func(script, key string) error {
			_, _, err := s.KVSet(t.Context(), script, key, []byte("2"), KVSetting{})
			return err
		}
		for i := range 9 {
			for range 5 { // what is there already does not count again
				if err := set("s", fmt.Sprint("key", i)); err != nil {
					t.Fatal(err)
				}
			}
		}
		if err := set("s", "last"); err != nil {
			t.Fatal(err)
		}
		if err := set("s", "another"); !errors.Is(err, ErrKVFull) {
			t.Errorf("one more: %v", err)
		}
		if err := errors.Join(set("s", "last"), set("s", "key7"), set("", "another")); err != nil {
			t.Errorf("what is there, and what another has: %v", err)
		}
		if ok, err := s.KVDelete(t.Context(), "s", "key8", nil); !ok || err != nil {
			t.Fatal(ok, err)
		}
		if err := set("s", "another"); err != nil {
			t.Errorf("after one was deleted: %v", err)
		}
	})
}

func TestTheKeyBehindAPrefixIsText(t *testing.T) {
	for prefix, want := range map[string]string{
		"": "", "a": "b", "won/": "won0", "\u007f": "\u0080", "é": "ê", "\ud7ff": "\ue000", "a\U0010ffff": "b", "\U0010ffff": "", "a\U0010ffff\U0010ffff": "b",
	} {
		if got := afterPrefix(prefix); got != want {
			t.Errorf("%q: got %q, want %q", prefix, got, want)
		}
	}
}
