package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"runtime"
	"strings"
	"time"

	"github.com/pipehook/pipehook/core"
	"github.com/pipehook/pipehook/core/delivery"
	"github.com/pipehook/pipehook/core/ingress"
	"github.com/pipehook/pipehook/core/mirror"
	"github.com/pipehook/pipehook/core/pipedrive"
	source "github.com/pipehook/pipehook/core/source/pipedrive"
	"github.com/pipehook/pipehook/core/store"
)

// tablesWhat is before the URL of local tables that a listener keeps.
const tablesWhat = "tables="

// apiToken is the stand-in's.
const apiToken = "0123456789abcdef0123456789abcdef01234567"

// memory is what a process has asked for so far.
type memory struct{ Mallocs, Bytes uint64 }

// serveTables has the process say its memory, and fill and compare its tables when it is asked to.
func serveTables(mux *http.ServeMux, subs []delivery.Subscription, s *store.Store, receiver *ingress.Handler, api string) error {
	mux.HandleFunc("/memory", func(w http.ResponseWriter, _ *http.Request) {
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		_ = json.NewEncoder(w).Encode(memory{m.Mallocs, m.TotalAlloc})
	})
	if api == "" {
		return nil
	}
	client, err := pipedrive.New(pipedrive.Options{BaseURL: api, Auth: pipedrive.Token(apiToken), Budget: pipedrive.BudgetOptions{Burst: 10_000}})
	if err != nil {
		return err
	}
	for _, sub := range subs {
		m, ok := sub.Listener.(*mirror.Mirror)
		if !ok {
			continue
		}
		mux.HandleFunc("/fill", func(w http.ResponseWriter, r *http.Request) {
			report, err := m.Fill(r.Context(), client, mirror.FillOptions{Objects: strings.Split(r.FormValue("objects"), ",")})
			answer(w, report, errors.Join(err, report.Failed()))
		})
		mux.HandleFunc("/reconcile", func(w http.ResponseWriter, r *http.Request) {
			report, err := m.Reconcile(r.Context(), client, comparison(s, receiver, sub.Name, r))
			answer(w, report, errors.Join(err, report.Failed()))
		})
	}
	return nil
}

func comparison(s *store.Store, receiver *ingress.Handler, listener string, r *http.Request) mirror.ReconcileOptions {
	return mirror.ReconcileOptions{
		Objects: strings.Split(r.FormValue("objects"), ","), Deletes: r.FormValue("deletes") != "",
		Owner: "bench", CompanyID: "8087566", Host: "company.pipedrive.com",
		LastSeq: s.LastSeq,
		Pending: func(ctx context.Context, object string, ids []string) (map[string]bool, error) {
			return s.PendingFor(ctx, listener, mirror.Source, object, ids)
		},
		Unheard: func(ctx context.Context, object string, from, before time.Time, later int64, do func(id string, seq int64)) error {
			return s.Unheard(ctx, listener, mirror.Source, object, from, before, later, do)
		},
		Events: func(ctx context.Context, seqs []int64) ([]core.Event, error) {
			events, err := s.Numbered(ctx, seqs)
			for i := range events {
				err = errors.Join(err, events[i].Restore(source.Source{}.Name))
			}
			return events, err
		},
		Submit: func(ctx context.Context, ev core.Event) (core.Receipt, error) {
			ev.Pipeline = "bench"
			if err := ev.SetOrigin(core.OriginReconcile); err != nil {
				return core.Receipt{}, err
			}
			return receiver.Submit(ctx, ev)
		},
	}
}

func answer(w http.ResponseWriter, report any, err error) {
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	_ = json.NewEncoder(w).Encode(report)
}

// asks has a process do or say something.
func (p *process) asks(ctx context.Context, path string, into any) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Minute)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+p.address+path, nil)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: the process answers %s", path, resp.Status)
	}
	return json.NewDecoder(resp.Body).Decode(into)
}
