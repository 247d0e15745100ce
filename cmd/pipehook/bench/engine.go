package main

import (
	"context"
	"flag"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"runtime/pprof"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/pipehook/pipehook/core"
	"github.com/pipehook/pipehook/core/delivery"
	"github.com/pipehook/pipehook/core/ingress"
	"github.com/pipehook/pipehook/core/mirror"
	"github.com/pipehook/pipehook/core/source/pipedrive"
	"github.com/pipehook/pipehook/core/store"
	"github.com/pipehook/pipehook/stages"
)

// atATime is the concurrency of listeners.
const atATime = 4

// serveEngine is a process with the real intake, store and engine, and listeners that are scripts, plugins or
// functions in Go that do nothing but wait: a script can't, and would use the processor that is to be
// measured. It writes the address of its hook and serves until SIGTERM.
func serveEngine(args []string) error {
	flags := flag.NewFlagSet("engine", flag.ExitOnError)
	url := flags.String("url", "", "the store")
	listeners := flags.String("listeners", "", "NAME:ORDER:WHAT, with commas between; WHAT is how long to wait, ISOLATION=SCRIPT, plugin=FOLDER, or tables=URL")
	api := flags.String("api", "", "where Pipedrive's API is, for tables that are filled and compared")
	profile := flags.String("cpu-profile", "", "write a CPU profile to this file")
	cores := flags.Int("cores", 0, "cores to use; 0 for all")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if *cores > 0 {
		if err := confine(*cores); err != nil {
			return err
		}
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	if *profile != "" {
		f, err := os.Create(*profile)
		if err != nil {
			return err
		}
		if err := pprof.StartCPUProfile(f); err != nil {
			return err
		}
		defer pprof.StopCPUProfile()
	}
	log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	s, err := store.Open(ctx, store.Options{URL: *url, Log: log})
	if err != nil {
		return err
	}
	defer func() { _ = s.Close() }()
	source := pipedrive.Source{}
	engine := delivery.New(delivery.Options{Store: s, Restore: source.Name, Log: log})
	s.Attach(engine)
	subs, err := subscriptions(*listeners)
	if err != nil {
		return err
	}
	engine.Subscribe(subs)
	hook, err := engineHook(s, engine, log)
	if err != nil {
		return err
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	receiver := ingress.New(ingress.Options{Log: log}, []ingress.Hook{hook})
	mux := http.NewServeMux()
	mux.Handle("/", receiver)
	if err := serveTables(mux, subs, s, receiver, *api); err != nil {
		return err
	}
	fmt.Println(ln.Addr())
	var g core.Group
	g.Add("store", s)
	g.Add("delivery", engine)
	g.Add("hook", core.ServiceFunc(func(ctx context.Context) error {
		server := &http.Server{Handler: mux}
		context.AfterFunc(ctx, func() { _ = server.Close() })
		_ = server.Serve(ln) // until it is closed
		return nil
	}))
	return g.Run(ctx, 10*time.Second)
}

func subscriptions(text string) (subs []delivery.Subscription, err error) {
	for one := range strings.SplitSeq(text, ",") {
		parts := strings.SplitN(one, ":", 3)
		match := "updated.deal"
		if strings.HasPrefix(parts[2], tablesWhat) {
			match = "*.*"
		}
		pattern, err := core.ParsePattern(match)
		if err != nil {
			return nil, err
		}
		listener, err := listenerOf(parts[2])
		if err != nil {
			return nil, err
		}
		sub := delivery.Subscription{
			Name: parts[0], Match: []core.Pattern{pattern}, Timeout: 5 * time.Second, Concurrency: atATime,
			Retry: delivery.Retry{Attempts: 1}, Order: delivery.Unordered,
			Listener: listener,
		}
		if parts[1] == "record" {
			sub.Order = delivery.ByRecord
		}
		subs = append(subs, sub)
	}
	return subs, nil
}

func listenerOf(what string) (core.Listener, error) {
	if url, is := strings.CutPrefix(what, tablesWhat); is {
		return mirror.Open(context.Background(), mirror.Options{URL: url}) // it ends with this process
	}
	if dir, plugin := strings.CutPrefix(what, "plugin="); plugin {
		p, _, err := openPlugin(context.Background(), dir) // it ends with this process
		return p, err
	}
	if where, path, script := strings.Cut(what, "="); script {
		for _, i := range isolations {
			if i.name == where {
				return i.script(path, atATime)
			}
		}
		return nil, fmt.Errorf("there is no isolation %s", where)
	}
	wait, err := time.ParseDuration(what)
	return core.ListenerFunc(func(context.Context, core.Event) error {
		time.Sleep(wait)
		return nil
	}), err
}

func engineHook(s *store.Store, engine *delivery.Engine, log *slog.Logger) (ingress.Hook, error) {
	source := pipedrive.Source{}
	registry, err := core.NewRegistry(stages.All(stages.Deps{
		Log: log, Now: time.Now, Store: s, Committer: s, Deliverer: engine, AuthenticationFailed: func(string, string, string) {},
	})...)
	if err != nil {
		return ingress.Hook{}, err
	}
	kinds := []string{"validate", "dedupe", "persist", "dispatch"}
	var steps []core.Step
	for i, kind := range kinds {
		stage, err := registry.New(func(any) error { return nil }, core.Place{Pipeline: "bench", Source: source, Kinds: kinds, Index: i})
		if err != nil {
			return ingress.Hook{}, err
		}
		steps = append(steps, core.Step{Name: kind, Stage: stage})
	}
	return ingress.Hook{Path: hookPath, Source: "pipedrive", Pipeline: &core.Pipeline{
		Name: "bench", Source: source, Steps: steps, Committer: s, Log: slog.New(slog.DiscardHandler),
	}}, nil
}

// prepare gives a store its schema.
func prepare(ctx context.Context, storeURL string) error {
	s, err := store.Open(ctx, store.Options{URL: storeURL, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		return err
	}
	return s.Close()
}

// fill puts n events into the store's tables, of records different objects, each with a pending
// delivery to every listener.
func fill(ctx context.Context, b *bench, storeURL, name string, n, records int, listeners []string) error {
	if err := prepare(ctx, storeURL); err != nil {
		return err
	}
	db, err := b.writable(storeURL, name)
	if err != nil {
		return err
	}
	defer func() { _ = db.Close() }()
	body := strings.ReplaceAll(string(template), "'", "''")
	now := strconv.FormatInt(time.Now().UnixMicro(), 10)
	numbers := map[string]string{
		"sqlite":   "WITH RECURSIVE numbers (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < %d)",
		"postgres": "WITH numbers AS (SELECT generate_series(1, %d)::bigint AS n)",
	}[name]
	numbers = fmt.Sprintf(numbers, n)
	override, cast := "", "CAST('"+body+"' AS BLOB)"
	if name == "postgres" {
		override, cast = "OVERRIDING SYSTEM VALUE", "convert_to('"+body+"', 'UTF8')"
	}
	text := "CAST(n AS TEXT)"
	statements := []string{
		// WITH stands before SELECT in both dialects when the statement is an INSERT.
		"INSERT INTO events (seq, id, pipeline, source, action, object, object_id, occurred_at, received_at, dedupe_key, remote, header, trace, body) " + override + " " +
			numbers + " SELECT n, 'event ' || " + text + ", 'bench', 'pipedrive', 'updated', 'deal', " + text + ", " + now + ", " + now + ", NULL, '', '{}', '', " + cast + " FROM numbers",
	}
	for _, listener := range listeners {
		statements = append(statements, "INSERT INTO deliveries (event_seq, listener, state, attempts, next_at, turn, record) "+numbers+
			fmt.Sprintf(" SELECT n, '%s', 0, 0, %s, n, %d + n %% %d FROM numbers", listener, now, int64(1)<<62, records))
	}
	if name == "postgres" {
		statements = append(statements, fmt.Sprintf("SELECT setval(pg_get_serial_sequence('events', 'seq'), %d)", n), "ANALYZE events", "ANALYZE deliveries")
	}
	for _, statement := range statements {
		if _, err := db.ExecContext(ctx, statement); err != nil {
			return fmt.Errorf("fill: %w", err)
		}
	}
	return nil
}
