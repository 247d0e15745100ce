package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/pipehook/pipehook/core"
	"github.com/pipehook/pipehook/core/pipedrive/simulate"
)

// simulation is what the flags say of a stand-in.
type simulation struct {
	simulate.Options
	listen       string
	token        string
	clientSecret string
	records      int
	debug        bool
}

func (c *cli) pipedriveSimulateCommand() *cobra.Command {
	var s simulation
	cmd := &cobra.Command{
		Use: "simulate", Short: "Run a stand-in for Pipedrive: its API, its webhooks and a small CRM in memory", Args: cobra.NoArgs,
		Long: `Run a stand-in for Pipedrive: the same API, the same webhooks, and a small CRM behind them, all in memory.
With --scale 60 a minute passes in a second: retries of webhooks, bans and deletion come that much sooner.`,
		Example: `  pipehook pipedrive simulate --records 500
  pipehook pipedrive simulate --scale 60 --burst 20 --latency 50ms`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := s.check(); err != nil {
				return err
			}
			return c.simulate(cmd.Context(), &s)
		},
	}
	f := cmd.Flags()
	f.StringVar(&s.listen, "listen", "127.0.0.1:8090", "the address to answer on")
	f.StringVar(&s.token, "token", "0123456789abcdef0123456789abcdef01234567", "the API token")
	f.StringVar(&s.Company, "company", "standin", "the name before .pipedrive.com")
	f.IntVar(&s.records, "records", 0, "how many records there are at the start")
	f.Float64Var(&s.Scale, "scale", 1, "how much faster retries, bans and deletion come")
	f.DurationVar(&s.Latency, "latency", 0, "how long the API takes for an answer")
	f.IntVar(&s.Burst, "burst", 0, "requests in two seconds for each token; 0 for no limit")
	f.Int64Var(&s.Daily, "daily", 0, "tokens of the API in a day; 0 for no limit")
	f.Int64Var(&s.Seed, "seed", 1, "another one makes other records")
	f.StringVar(&s.ClientID, "client-id", "", "of an app that asks for tokens by OAuth")
	f.StringVar(&s.clientSecret, "client-secret", "", "of that app")
	f.DurationVar(&s.TokenLife, "token-life", time.Hour, "how long an app's access token is good for")
	f.BoolVar(&s.WebhookCheck, "webhook-check", false, "ask for a webhook's URL before it is made")
	f.BoolVar(&s.debug, "debug", false, "log every request too")
	return cmd
}

func (s *simulation) check() error {
	hint := "pipehook pipedrive simulate --help"
	switch {
	case s.records < 0 || s.records > 1e6:
		return usagef(hint, "--records: must be from 0 to 1000000")
	case s.Scale <= 0:
		return usagef(hint, "--scale: must be above 0")
	case s.Latency < 0 || s.Burst < 0 || s.Daily < 0:
		return usagef(hint, "--latency, --burst and --daily: must be 0 or more")
	case s.token == "":
		return usagef(hint, "--token: must not be empty")
	case (s.ClientID == "") != (s.clientSecret == ""):
		return usagef(hint, "--client-id and --client-secret belong together")
	case s.TokenLife <= 0:
		return usagef(hint, "--token-life: must be above 0")
	}
	return nil
}

// standInJSON is where the stand-in is, as --json prints it.
type standInJSON struct {
	Address string `json:"address"`
	Token   string `json:"token"`
	Company string `json:"company"`
	Records int    `json:"records"`
	Seed    int64  `json:"seed"`
}

func (c *cli) simulate(ctx context.Context, s *simulation) error {
	level := slog.LevelInfo
	if s.debug {
		level = slog.LevelDebug
	}
	s.Token, s.ClientSecret = core.Secret(s.token), core.Secret(s.clientSecret)
	s.Log = slog.New(consoleHandler(c.stderr, "auto", level))
	server := simulate.New(s.Options)
	if err := server.CRM().Fill(rand.New(rand.NewSource(s.Seed)), s.records); err != nil {
		return err
	}
	listener, err := net.Listen("tcp", s.listen)
	if err != nil {
		return &hinted{err, "pipehook pipedrive simulate --listen 127.0.0.1:0 takes a port that is free"}
	}
	if addr, is := listener.Addr().(*net.TCPAddr); is && !addr.IP.IsLoopback() {
		fmt.Fprintf(c.stderr, "pipehook: warning: %s can be reached from other machines, by anybody who knows the token\n", listener.Addr())
	}
	if err := c.printStandIn(standInJSON{"http://" + listener.Addr().String(), s.token, s.Company, s.records, s.Seed}); err != nil {
		return errors.Join(err, listener.Close())
	}
	return serveStandIn(ctx, server, listener)
}

func (c *cli) printStandIn(at standInJSON) error {
	if c.json {
		return c.printJSON(at)
	}
	_, err := fmt.Fprintf(c.stdout, `The stand-in for Pipedrive answers on %s
Its API token is %s
For pipeline.toml:

[pipedrive]
base_url = %q
api_token = %q
company = %q

`, at.Address, at.Token, at.Address, at.Token, at.Company)
	return err
}

// serveStandIn works until ctx is done.
func serveStandIn(ctx context.Context, server *simulate.Server, listener net.Listener) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	h := &http.Server{Handler: server, ReadHeaderTimeout: 10 * time.Second,
		BaseContext: func(net.Listener) context.Context { return ctx }} // a slow answer ends with the stand-in
	var wg sync.WaitGroup
	var served, ran error
	wg.Go(func() {
		defer stop()
		if err := h.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			served = err
		}
	})
	wg.Go(func() { ran = server.Run(ctx) })
	<-ctx.Done()
	closing, done := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer done()
	err := h.Shutdown(closing)
	wg.Wait()
	if errors.Is(ran, context.Canceled) {
		ran = nil
	}
	return errors.Join(served, ran, err)
}
