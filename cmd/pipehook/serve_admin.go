package main

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/json"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"github.com/pipehook/pipehook/core"
)

// probe is one thing that must be well for pipehook to be ready.
type probe struct {
	name     string
	check    func(ctx context.Context) error
	bearable func() bool // whether webhooks are taken all the same
}

// adminHandler serves what operators and their tools ask for. Health and readiness are open: an
// orchestrator has no credentials, and they show no data. The rest needs the token when there is
// one; without one the listener must be on loopback, which check has made sure of.
func adminHandler(token core.Secret, probes []probe, metrics http.Handler, plugins func() []pluginStateJSON, compare *reconciling) *http.ServeMux {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		writeJSON(w, http.StatusOK, map[string]string{"status": "ok"})
	})
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, r *http.Request) { ready(w, r, probes) })
	mux.Handle("GET /metrics", withToken(token, metrics))
	mux.Handle("GET "+pluginsPath, withToken(token, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		writeJSON(w, http.StatusOK, pluginStates{plugins()})
	})))
	mux.Handle("GET "+reconcilePath, withToken(token, http.HandlerFunc(compare.last)))
	mux.Handle("POST "+reconcilePath, withToken(token, http.HandlerFunc(compare.ask)))
	return mux
}

// ownSite refuses what a page of another site has a browser send: the browser is on this machine, and needs no token
// where there is none. What is no browser is not asked.
func ownSite(next http.Handler) http.Handler {
	var protection http.CrossOriginProtection
	protection.SetDenyHandler(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		writeError(w, http.StatusForbidden, "forbidden", "a page of another site may not ask for this")
	}))
	return protection.Handler(next)
}

func ready(w http.ResponseWriter, r *http.Request, probes []probe) {
	ctx, cancel := context.WithTimeout(r.Context(), 2*time.Second)
	defer cancel()
	answer, status := map[string]any{"status": "ready"}, http.StatusOK
	causes := map[string]string{}
	for _, p := range probes {
		if err := p.check(ctx); err != nil {
			causes[p.name] = err.Error()
			if !p.bearable() {
				answer["status"], status = "not ready", http.StatusServiceUnavailable
			}
		}
	}
	if len(causes) > 0 {
		answer["causes"] = causes
	}
	writeJSON(w, status, answer)
}

func withToken(token core.Secret, next http.Handler) http.Handler {
	if token == "" {
		return next
	}
	want := sha256.Sum256([]byte(token))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		given, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
		got := sha256.Sum256([]byte(given))
		if subtle.ConstantTimeCompare(got[:], want[:]) != 1 || !ok {
			w.Header().Set("WWW-Authenticate", `Bearer realm="pipehook admin"`)
			writeJSON(w, http.StatusUnauthorized, map[string]any{"error": map[string]string{
				"code": "unauthenticated", "message": "send admin.token as Authorization: Bearer …"}})
			return
		}
		next.ServeHTTP(w, r)
	})
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v) // the client is gone
}

// loopback reports whether a listen address can be reached from this machine only.
func loopback(listen string) bool {
	host, _, err := net.SplitHostPort(listen)
	if err != nil {
		return false
	}
	if host == "localhost" {
		return true
	}
	addr, err := netip.ParseAddr(host)
	return err == nil && addr.IsLoopback()
}
