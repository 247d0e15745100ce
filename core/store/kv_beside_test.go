package store_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"sync"
	"testing"

	"github.com/pipehook/pipehook/core"
	"github.com/pipehook/pipehook/core/coretest/testdb"
	"github.com/pipehook/pipehook/core/store"
)

// Each of many adds one, with nothing but the version to go by; nothing may be lost or counted twice.
func TestManyWhoCompareAndSetLoseNothing(t *testing.T) {
	testdb.Each(t, func(t *testing.T, url string) {
		f := open(t, url, &intake{})
		const who, each = 8, 15
		var all sync.WaitGroup
		versions := make([][]string, who)
		for i := range who {
			all.Go(func() {
				for range each {
					version, err := f.addOne(t.Context(), fmt.Sprint("own/", i))
					if err == nil {
						versions[i] = append(versions[i], version)
						version, err = f.addOne(t.Context(), "sum")
					}
					if err != nil {
						t.Error(err)
						return
					}
					versions[i] = append(versions[i], version)
				}
			})
		}
		all.Wait()
		if e, _ := f.get(t, "s", "sum"); string(e.Value) != strconv.Itoa(who*each) {
			t.Errorf("the sum is %s, want %d", e.Value, who*each)
		}
		seen := map[string]bool{}
		for _, vs := range versions {
			for _, v := range vs {
				if seen[v] {
					t.Errorf("version %s was given twice", v)
				}
				seen[v] = true
			}
		}
	})
}

func (f *fixture) addOne(ctx context.Context, key string) (version string, err error) {
	for {
		e, found, err := f.KVGet(ctx, "s", key)
		if err != nil {
			return "", err
		}
		n := 0
		if found {
			if n, err = strconv.Atoi(string(e.Value)); err != nil {
				return "", err
			}
		} else {
			e.Version = ""
		}
		set, ok, err := f.KVSet(ctx, "s", key, []byte(strconv.Itoa(n+1)), store.KVSetting{IfVersion: &e.Version})
		if ok || err != nil {
			return set.Version, err
		}
	}
}

// The command line changes entries beside a process that does so too.
func TestAManagerChangesEntriesBesideTheProcess(t *testing.T) {
	testdb.Each(t, func(t *testing.T, url string) {
		f := open(t, url, &intake{})
		m, err := store.OpenManager(t.Context(), url)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = m.Close() }()
		var all sync.WaitGroup
		for i := range 20 {
			all.Go(func() {
				if _, _, err := f.KVSet(t.Context(), "s", fmt.Sprint("a", i), []byte("1"), store.KVSetting{}); err != nil {
					t.Error(err)
				}
			})
			if _, ok, err := m.KVSet(t.Context(), "", fmt.Sprint("b", i), []byte("1"), store.KVSetting{}); !ok || err != nil {
				t.Error(ok, err)
			}
		}
		all.Wait()
		if names, err := m.KVScripts(t.Context()); err != nil || !slices.Equal(names, []string{"", "s"}) {
			t.Errorf("%q (%v)", names, err)
		}
		if ok, err := m.KVDelete(t.Context(), "s", "a3", nil); !ok || err != nil {
			t.Error(ok, err)
		}
		page, more, err := m.KVList(t.Context(), "s", store.KVRange{Prefix: "a"})
		if err != nil || more || len(page) != 19 {
			t.Errorf("%d entries, more %v (%v)", len(page), more, err)
		}
		if _, ok, err := m.KVGet(t.Context(), "", "b7"); !ok || err != nil {
			t.Error(ok, err)
		}
	})
}

func TestWhatTheDatabaseCantDoNowIsToBeTriedAgain(t *testing.T) {
	s, err := store.Open(t.Context(), store.Options{URL: "postgres://nobody@127.0.0.1:1/none", Away: true, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	_, _, getErr := s.KVGet(t.Context(), "s", "k")
	_, _, setErr := s.KVSet(t.Context(), "s", "k", []byte("1"), store.KVSetting{})
	_, deleteErr := s.KVDelete(t.Context(), "s", "k", nil)
	_, _, listErr := s.KVList(t.Context(), "s", store.KVRange{})
	for _, err := range []error{getErr, setErr, deleteErr, listErr} {
		if core.KindOf(err) != core.Unavailable {
			t.Error(err)
		}
	}
	f := open(t, testdb.SQLite(t), &intake{})
	ended, cancel := context.WithCancelCause(t.Context())
	cancel(errors.New("over"))
	if _, ok, err := f.KVSet(ended, "s", "k", []byte("1"), store.KVSetting{}); err != nil && (ok || core.KindOf(err) != core.Unavailable) {
		t.Error(ok, err)
	}
}
