package store_test

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/google/uuid"

	"github.com/pipehook/pipehook/core"
	"github.com/pipehook/pipehook/core/coretest/testdb"
	"github.com/pipehook/pipehook/core/store"
)

// BenchmarkCommit is intake without HTTP: many requests at once, each with an event of 2 kB and one listener.
func BenchmarkCommit(b *testing.B) {
	for name, url := range map[string]func(testing.TB) string{"sqlite": testdb.SQLite, "postgres": testdb.Postgres} {
		for _, keys := range []string{"key", "key and state"} {
			b.Run(name+"/"+keys, func(b *testing.B) {
				s, err := store.Open(b.Context(), store.Options{URL: url(b)})
				if err != nil {
					b.Fatal(err)
				}
				ctx, cancel := context.WithCancel(context.Background())
				done := make(chan error, 1)
				go func() { done <- s.Run(ctx) }()
				var n atomic.Int64
				b.SetParallelism(128)
				b.RunParallel(func(pb *testing.PB) {
					for pb.Next() {
						id := fmt.Sprint(n.Add(1))
						ev := &core.Event{ID: uuid.Must(uuid.NewV7()).String(), Pipeline: "crm", Source: "pipedrive", Action: core.Updated, Object: "deal", ObjectID: id, Body: make([]byte, 2000)}
						ev.Plan = core.Plan{Store: true, Listeners: []string{"a"}, Key: []byte("key of event " + id)}
						if keys != "key" {
							ev.Plan.State = []byte("state of event " + id)
						}
						if _, err := s.Commit(ctx, ev); err != nil {
							b.Error(err)
							return
						}
					}
				})
				b.StopTimer()
				cancel()
				if err := <-done; err != nil {
					b.Error(err)
				}
				_ = s.Close()
			})
		}
	}
}
