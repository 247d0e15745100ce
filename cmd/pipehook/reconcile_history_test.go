package main

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/pipehook/pipehook/core/coretest/pgcluster"
	"github.com/pipehook/pipehook/core/coretest/testdb"
	"github.com/pipehook/pipehook/core/database"
	"github.com/pipehook/pipehook/core/mirror"
	"github.com/pipehook/pipehook/core/pipedrive"
	"github.com/pipehook/pipehook/core/pipedrive/simulate"
)

// How many steps the history has, about a thousand by default and as many as this says for make test; and which
// history it is, another one each time unless this says so.
const (
	historySteps = "PIPEHOOK_TEST_HISTORY"
	historySeed  = "PIPEHOOK_TEST_HISTORY_SEED"
)

const (
	historyToken  = "token of the account"
	historyScale  = 1200 // a ban of half an hour is over in a second and a half
	historyRate   = 600  // steps in a second at most
	historyLeast  = 10 * time.Second
	historySettle = 2 * time.Second
	historyLate   = time.Second // how late at most a webhook comes that is sent out of order
)

// A fifth of the history's time the database is away, and for a while nobody listens, for which the account
// silences the webhook.
func TestAHistoryWithLossesIsWholeAfterOneComparisonAndEachLossIsToldOnce(t *testing.T) {
	bin := buildBinary(t)
	seed := time.Now().UnixNano()
	if text := os.Getenv(historySeed); text != "" {
		var err error
		if seed, err = strconv.ParseInt(text, 10, 64); err != nil {
			t.Fatalf("%s: %v", historySeed, err)
		}
	}
	t.Run("sqlite", func(t *testing.T) {
		h := newHistory(t, bin, testdb.SQLite(t), seed)
		h.away = h.lockFiles
		h.test(t)
	})
	t.Run("postgres", func(t *testing.T) {
		testdb.Postgres(t) // skips where there is none
		db, err := pgcluster.New(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = db.Close() })
		h := newHistory(t, bin, db.URL, seed)
		h.away = func(t *testing.T) func() {
			if err := db.Stop(t.Context(), "immediate"); err != nil {
				t.Fatal(err)
			}
			return func() {
				if err := db.Start(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
		}
		h.test(t)
	})
}

// history is an account in which people work, and a project that is told of it.
type history struct {
	seed   int64
	steps  int
	bin    string
	p      *project
	pr     *process
	server *simulate.Server
	client *pipedrive.Client // asks the account as the program does
	tables *mirror.Mirror
	told   *tellings
	away   func(t *testing.T) (back func()) // takes the database away

	done  atomic.Int64 // steps
	mu    sync.Mutex
	last  map[recordName]simulate.Change
	twins map[recordName]bool // whose last change was in the millisecond of the one before: they can't be told apart
	total int64               // changes
}

// recordName is which record it is.
type recordName struct{ object, id string }

func newHistory(t *testing.T, bin, storeURL string, seed int64) *history {
	t.Helper()
	h := &history{seed: seed, steps: 1000, bin: bin, told: newTellings(t), last: map[recordName]simulate.Change{}, twins: map[recordName]bool{}}
	if os.Getenv(historySteps) != "" {
		h.steps = kills(t, historySteps)
	}
	h.server = simulate.New(simulate.Options{Token: historyToken, Company: "acme", CompanyID: 7, Scale: historyScale, Seed: seed})
	if err := h.server.CRM().Fill(rand.New(rand.NewSource(seed)), h.steps/20); err != nil {
		t.Fatal(err)
	}
	h.server.CRM().OnChange(h.changed)
	web := httptest.NewServer(h.server)
	ctx, end := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { _ = h.server.Run(ctx) })
	t.Cleanup(func() {
		end()
		running.Wait()
		web.Close()
	})
	h.p = newProject(t, storeURL, fullChain, map[string]string{"": "SETTINGS"})
	h.configure(t, web.URL)
	var err error
	if h.client, err = pipedrive.New(pipedrive.Options{BaseURL: web.URL, Auth: pipedrive.Token(historyToken), Budget: pipedrive.BudgetOptions{Burst: 100_000}}); err != nil {
		t.Fatal(err)
	}
	return h
}

func (h *history) configure(t *testing.T, api string) {
	t.Helper()
	own := fmt.Sprintf(`[spool]
after = "200ms"
[scripts]
allow_hosts = [%[1]q]
allow_private = ["127.0.0.1"]
secrets = { LEDGER = "http://%[1]s" }
[pipedrive]
base_url = %[2]q
api_token = %[3]q
public_url = "http://%[4]s"
[pipedrive.budget]
burst = 100000
[pipedrive.watch]
every = "0s"
[pipedrive.reconcile]
at_start = false
every = "0s"
settle = %[5]q
[[listener]]
name = "mirror"
match = ["*.*"]
use = "pipedrive_sync"
retry = { attempts = 1000, first = "50ms", max = "500ms" }
[[listener]]
name = "ledger"
match = ["*.*"]
script = "ledger.js"
concurrency = 16
`, h.told.address, api, historyToken, h.p.hooks, historySettle.String())
	text := readFile(t, h.p.config)
	h.p.write(t, "pipeline.toml", strings.Replace(text, "SETTINGS", own, 1))
	h.p.write(t, "ledger.js", `export default async ({ id, origin, action, object, objectId, meta }, ctx) => {
  const answer = await ctx.fetch(ctx.secrets.LEDGER, { method: "POST", body: JSON.stringify({ id, origin, action, object, objectId, at: meta.timestamp }) });
  if (!answer.ok) throw new Error("the ledger answers " + answer.status);
};`)
}

func (h *history) changed(ch simulate.Change) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.total++
	is := recordName{ch.Object, ch.ID}
	h.twins[is] = h.last[is].At.Equal(ch.At)
	h.last[is] = ch
}

// tellings are what the second listener was told, in that order.
type tellings struct {
	address string
	mu      sync.Mutex
	all     []telling
}

type telling struct {
	ID, Origin, Action, Object, ObjectID string
	At                                   time.Time
}

func newTellings(t *testing.T) *tellings {
	h := &tellings{}
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var line telling
		if err := json.NewDecoder(r.Body).Decode(&line); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		h.mu.Lock()
		defer h.mu.Unlock()
		h.all = append(h.all, line)
	}))
	t.Cleanup(web.Close)
	h.address = strings.TrimPrefix(web.URL, "http://")
	return h
}

func (h *tellings) lines() []telling {
	h.mu.Lock()
	defer h.mu.Unlock()
	return append([]telling(nil), h.all...)
}

func (h *history) test(t *testing.T) {
	t.Logf("%s=%d", historySeed, h.seed)
	began := time.Now()
	h.begin(t)
	h.pass(t)
	h.quiet(t)
	passed := time.Since(began)
	missed := h.differences(t)
	report := compared(t, h.p, "--deletes")
	all := h.p.events(t)
	h.checkTold(t, missed)
	h.checkLedger(t, all)
	h.checkTables(t)
	h.quiet(t)
	if again := compared(t, h.p, "--deletes"); again.Differences() != 0 {
		t.Errorf("a second comparison finds %+v", again.Objects)
	}
	var calls int64
	for _, o := range report.Objects {
		calls += o.Calls
	}
	t.Logf("%s and a comparison of %d ms with %d calls; %d changes, webhooks %+v; %d events, %d differences",
		passed.Round(time.Millisecond), report.TookMS, calls, h.total, h.hookStats(), len(all), len(missed))
}

// begin has the program serve, know all there is, and hear of what changes.
func (h *history) begin(t *testing.T) {
	t.Helper()
	h.pr = launch(t, h.p, exec.Command(h.bin, "serve", "--config", h.p.config))
	for _, args := range [][]string{{"pipedrive", "fields", "pull"}, {"sync"}, {"webhooks", "create", "--auto-config", "--event", "*.*"}} {
		if code, out, errs := command(t, append(args, "--config", h.p.config)...); code != exitDone {
			t.Fatalf("%v: exit code %d\n%s%s", args, code, out, errs)
		}
	}
	h.open(t)
	h.server.Faults().SetHooks(simulate.HookFaults{Drop: 0.01, Reorder: 0.01, Hold: historyLate * historyScale})
}

func (h *history) hookStats() (sum simulate.HookStats) {
	for _, one := range h.server.HookStats() {
		sum = one // there is one webhook
	}
	return sum
}

// pass is the history.
func (h *history) pass(t *testing.T) {
	lasts := max(historyLeast, time.Duration(h.steps)*time.Second/historyRate)
	var working sync.WaitGroup
	working.Go(func() { h.work(t, lasts) })
	defer working.Wait()
	h.reaches(t, 25)
	back := h.away(t)
	until := time.Now().Add(lasts / 5)
	eventually(t, "the database was away for long enough", func() bool { return time.Now().After(until) })
	back()
	h.reaches(t, 60)
	h.pr.signal(t, h.pr.cmd.Process.Pid, syscall.SIGTERM)
	<-h.pr.exit
	eventually(t, "the webhook is silenced", func() bool { return h.hookStats().Bans > 0 })
	h.pr = launch(t, h.p, exec.Command(h.bin, "serve", "--config", h.p.config))
}

// reaches waits until so many hundredths of the history have passed.
func (h *history) reaches(t *testing.T, hundredths int) {
	t.Helper()
	eventually(t, fmt.Sprintf("%d%% of the history have passed", hundredths), func() bool { return h.done.Load()*100 >= int64(h.steps*hundredths) })
}

// work has people work at a steady rate, but no faster than they can be told of.
func (h *history) work(t *testing.T, lasts time.Duration) {
	r := rand.New(rand.NewSource(h.seed + 1))
	mix := simulate.Mix{Objects: strings.Fields("organization person person deal deal lead activity activity note product deal_product deal_installment project task file stage")}
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	began := time.Now()
	for n := 0; n < h.steps; <-tick.C {
		due := min(h.steps, int(float64(h.steps)*float64(time.Since(began))/float64(lasts)))
		if due <= n || h.unsent() > 2000 {
			continue
		}
		if _, err := h.server.CRM().Act(r, due-n, mix); err != nil {
			t.Error(err)
			return
		}
		n = due
		h.done.Store(int64(n))
	}
}

// unsent is how many changes the webhook has not told of yet.
func (h *history) unsent() int64 {
	is := h.hookStats()
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.total - is.Succeeded - is.Failed - is.Dropped - is.Lost
}

// quiet waits until all that was sent is handled, and nothing is so new that a comparison leaves it alone.
func (h *history) quiet(t *testing.T) {
	t.Helper()
	if err := h.server.Settle(t.Context()); err != nil {
		t.Fatal(err)
	}
	h.p.events(t)
	settled := time.Now().Add(historySettle + time.Second)
	eventually(t, "all has settled", func() bool { return time.Now().After(settled) })
}

// lockFiles keeps the files of the store and of the tables from being written.
func (h *history) lockFiles(t *testing.T) (free func()) {
	var locks []func()
	for _, url := range []string{h.p.storeURL, h.tablesURL()} {
		db, err := database.SQLite(strings.TrimPrefix(url, "sqlite:"))
		if err != nil {
			t.Fatal(err)
		}
		tx, err := db.BeginTx(context.WithoutCancel(t.Context()), nil)
		if err != nil {
			t.Fatal(err)
		}
		locks = append(locks, func() {
			if err := tx.Rollback(); err != nil {
				t.Error(err)
			}
			if err := db.Close(); err != nil {
				t.Error(err)
			}
		})
	}
	return func() {
		for _, unlock := range locks {
			unlock()
		}
	}
}
