package ingress

import (
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/uuid"

	"github.com/pipehook/pipehook/core"
)

// silence is an answer that nobody reads.
type silence struct{ header http.Header }

func (w silence) Header() http.Header             { return w.header }
func (silence) WriteHeader(int)                   {}
func (silence) Write(p []byte) (int, error)       { return len(p), nil }
func (silence) WriteString(s string) (int, error) { return len(s), nil }

// idle has one hook whose chain does nothing.
func idle(opts Options) *Handler {
	p := &core.Pipeline{Name: "crm", Source: dealSource{}, Log: slog.New(slog.DiscardHandler), Steps: []core.Step{{Name: "idle", Stage: failing(nil)}}}
	return New(opts, []Hook{{Path: crmPath, Source: "test", Pipeline: p}})
}

// A request without the connection and without a stage: what the receiver itself costs.
func BenchmarkHandler(b *testing.B) {
	uuid.EnableRandPool() // as main does
	defer uuid.DisableRandPool()
	for name, size := range map[string]int{"200B": 200, "4KiB": 4 << 10, "64KiB": 64 << 10, "1MiB": 1 << 20} {
		text := strings.Repeat("x", size)
		b.Run(name, func(b *testing.B) {
			h := idle(Options{})
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				body := strings.NewReader(text)
				r := httptest.NewRequest(http.MethodPost, crmPath, body)
				r.Header.Set("Content-Type", "application/json")
				for pb.Next() {
					body.Reset(text)
					h.ServeHTTP(silence{http.Header{}}, r)
				}
			})
		})
	}
	b.Run("refused", func(b *testing.B) {
		h := idle(Options{MaxBody: 1})
		r := crmPost("{}")
		b.ReportAllocs()
		for b.Loop() {
			h.ServeHTTP(silence{http.Header{}}, r)
		}
	})
}
