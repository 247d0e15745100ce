//go:build unix

package plughost_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pipehook/pipehook/core"
	"github.com/pipehook/pipehook/core/plughost"
)

func TestAnEventArrivesWhole(t *testing.T) {
	t.Parallel()
	p := newBench(t, plughost.Limits{}).lab(t, "")
	ev := core.Event{
		ID: "0192", Pipeline: "crm", Source: "pipedrive", ReceivedAt: time.Unix(1700000000, 123456789).UTC(),
		Remote: netip.MustParseAddr("2001:db8::1"), Header: http.Header{"X-One": {"a", "b"}}, Body: []byte("{\"a\":\"\\u0000\"}\xff"),
		Action: "updated", AlsoAction: "merged", Object: "whole", ObjectID: "9007199254740993",
		Current: []byte(`{"id":1}`), Previous: []byte(`{}`), Meta: []byte(`{}`), Version: "2.0", Attempt: 3, OccurredAt: time.Unix(1600000000, 5).UTC(),
		Facts: core.Facts{UserID: "1", CompanyID: "2", ChangeSource: "app", Bulk: true}, Gathered: []string{"x", "y"},
		Origin: core.OriginReconcile, Fields: []byte(`{"tier":"Gold"}`), PreviousFields: []byte(`{"tier":null}`),
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	var got core.Event
	if err := json.Unmarshal([]byte(p.Handle(ctx, ev).Error()), &got); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got, ev) {
		t.Errorf("got  %+v\nwant %+v", got, ev)
	}
}

func TestTheLongestBodyFits(t *testing.T) {
	p := newBench(t, plughost.Limits{}).lab(t, "")
	body := []byte(`{"a":"` + strings.Repeat("x", 64<<20-8) + `"}`)
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	if err := p.Handle(ctx, core.Event{ID: "1", Body: body, Current: body}); err != nil {
		t.Error(err)
	}
}

func TestAPluginSaysWhatItsErrorMeans(t *testing.T) {
	t.Parallel()
	p := newBench(t, plughost.Limits{}).lab(t, "")
	if err := handle(t, p, "nothing"); err != nil {
		t.Error(err)
	}
	if err := handle(t, p, "never"); core.KindOf(err) != core.Permanent || err.Error() != "never" {
		t.Errorf("kind %s: %v", core.KindOf(err), err)
	}
	if err := handle(t, p, "later"); core.RetryAfter(err) != 90*time.Second || core.KindOf(err) != core.Failed || err.Error() != "later" {
		t.Errorf("after %s: %v", core.RetryAfter(err), err)
	}
}

// A process that ends takes its attempt with it at once, counts as a crash, and is followed by the
// next, which serves.
func TestAProcessThatEndsIsACrashAndIsReplacedAtOnce(t *testing.T) {
	t.Parallel()
	for object, want := range map[string]string{
		"panic": "exit status 2 (panic: the plugin has a bug", "elsewhere": "panic: a bug elsewhere",
		"exit": "exit status 7", "clean": "exit status 0", "kill": "it was killed (SIGKILL) from outside",
	} {
		t.Run(object, func(t *testing.T) {
			t.Parallel()
			p := newBench(t, plughost.Limits{}).lab(t, "")
			if err := handle(t, p, "nothing"); err != nil {
				t.Fatal(err)
			}
			began := time.Now()
			err := handle(t, p, object)
			if core.KindOf(err) != core.Crashed || !strings.Contains(err.Error(), want) {
				t.Errorf("kind %s: %v", core.KindOf(err), err)
			}
			if took := time.Since(began); took > 2*time.Second {
				t.Errorf("it took %s to notice", took)
			}
			if err := handle(t, p, "nothing"); err != nil {
				t.Errorf("the next process: %v", err)
			}
		})
	}
}

func TestAPluginThatHangsIsEndedAndCostsNobodyElse(t *testing.T) {
	t.Parallel()
	for _, object := range []string{"loop", "freeze"} {
		t.Run(object, func(t *testing.T) {
			t.Parallel()
			b := newBench(t, plughost.Limits{Answer: 200 * time.Millisecond})
			p, other := b.lab(t, ""), b.lab(t, "")
			pid, otherPid := number(t, p, "pid"), number(t, other, "pid")
			child := number(t, p, "fork")
			ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
			defer cancel()
			err := p.Handle(ctx, core.Event{ID: "1", Object: object})
			if core.KindOf(err) != core.Failed || !strings.Contains(err.Error(), "did not answer within 300ms") {
				t.Errorf("kind %s: %v", core.KindOf(err), err)
			}
			until(t, "the process and its child are gone", func() bool { return !alive(pid) && !alive(child) })
			if now := number(t, p, "pid"); now == pid {
				t.Errorf("process %d goes on", now)
			}
			if now := number(t, other, "pid"); now != otherPid {
				t.Errorf("the other plugin's process is %d, was %d", now, otherPid)
			}
		})
	}
}

// What ran beside a call that hung was ended by us: that is no crash, and says nothing of its event.
func TestWhatRanBesideAHangIsNoCrash(t *testing.T) {
	t.Parallel()
	p := newBench(t, plughost.Limits{Answer: 50 * time.Millisecond}).lab(t, "")
	var beside sync.WaitGroup
	beside.Go(func() {
		if err := handle(t, p, "elsewhere-slow"); err != nil {
			t.Errorf("a call that had ended: %v", err)
		}
	})
	beside.Wait()
	errs := make(chan error, 1)
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		errs <- p.Handle(ctx, core.Event{ID: "slow", Object: "slow"})
	}()
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if err := p.Handle(ctx, core.Event{ID: "loop", Object: "loop"}); core.KindOf(err) != core.Failed {
		t.Errorf("the hang: %v", err)
	}
	if err := <-errs; core.KindOf(err) != core.Failed || !strings.Contains(err.Error(), "because it did not answer within 300ms (event loop)") {
		t.Errorf("beside it, kind %s: %v", core.KindOf(err), err)
	}
}

func TestASlowPluginThatHeedsItsDeadlineLives(t *testing.T) {
	t.Parallel()
	p := newBench(t, plughost.Limits{}).lab(t, "")
	pid := number(t, p, "pid")
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := p.Handle(ctx, core.Event{ID: "1", Object: "slow"}); err == nil || !strings.Contains(err.Error(), "deadline") {
		t.Errorf("error %v", err)
	}
	if now := number(t, p, "pid"); now != pid {
		t.Errorf("process %d was ended", pid)
	}
}

// Two calls run when the process ends. Only one of them is to blame, and it is found: alone the
// other succeeds.
func TestAfterACrashInCompanyEachIsTriedAlone(t *testing.T) {
	t.Parallel()
	p := newBench(t, plughost.Limits{}).lab(t, "")
	var both sync.WaitGroup
	for _, object := range []string{"meet", "meet and panic"} {
		both.Go(func() {
			if err := handle(t, p, object); object != "meet" && core.KindOf(err) != core.Crashed {
				t.Errorf("%s: %v", object, err)
			}
		})
	}
	both.Wait()
	var all sync.WaitGroup
	for _, object := range []string{"meet and panic", "nothing", "pid"} {
		all.Go(func() {
			ctx, cancel := context.WithTimeout(context.Background(), time.Second)
			defer cancel()
			err := p.Handle(ctx, core.Event{ID: "event " + object, Object: object})
			if core.KindOf(err) == core.Crashed {
				t.Errorf("%s, for which there was no company: %v", object, err)
			}
		})
	}
	all.Wait()
}

func TestAPluginSeesNothingOfOurEnvironment(t *testing.T) {
	t.Setenv("PIPEHOOK_STORE__URL", "postgres://u:secret@h/d")
	p := newBench(t, plughost.Limits{}).lab(t, "")
	allowed := map[string]bool{"PATH": true, "HOME": true, "TMPDIR": true, "TZ": true, "LANG": true, "SSL_CERT_FILE": true, "SSL_CERT_DIR": true}
	inCertificate := false
	all := handle(t, p, "environ").Error()
	if onLinux() {
		all += "\n" + handle(t, p, "first environ").Error()
	}
	for line := range strings.Lines(all) {
		name, _, _ := strings.Cut(line, "=")
		if strings.Contains(line, "secret") {
			t.Errorf("it sees %s", line)
		}
		if line == "\n" {
			continue
		}
		inCertificate = inCertificate || name == "PLUGIN_CLIENT_CERT"
		if !allowed[name] && !strings.HasPrefix(name, "PLUGIN_") && name != "PIPEHOOK_PLUGIN" && !inCertificate {
			t.Errorf("it sees %s", line)
		}
		inCertificate = inCertificate && !strings.Contains(line, "END CERTIFICATE")
	}
}

func TestWhatAPluginSaysIsInTheLogUnderItsName(t *testing.T) {
	t.Parallel()
	b := newBench(t, plughost.Limits{})
	p := b.lab(t, "")
	for _, object := range []string{"evil", "long", "say"} {
		if err := handle(t, p, object); err != nil {
			t.Fatal(err)
		}
	}
	type line struct {
		Level, Msg, Plugin, Listener, Event string
		Data                                map[string]any
	}
	name := filepath.Base(labSpec("").Path)
	for _, want := range []line{
		{"WARN", "said", name, "tested", "event say", map[string]any{"n": json.Number("9007199254740993"), "password": "kept apart"}},
		{"INFO", "on stdout", name, "tested", "", nil}, {"WARN", "on stderr", name, "tested", "", nil},
		{"INFO", "after it", name, "tested", "", nil}, {"WARN", `{"@message": 1}`, name, "tested", "", nil},
	} {
		until(t, want.Msg+" is in the log", func() bool {
			for text := range strings.Lines(b.log.String()) {
				var got line
				dec := json.NewDecoder(strings.NewReader(text))
				dec.UseNumber()
				if dec.Decode(&got) == nil && reflect.DeepEqual(got, want) {
					return true
				}
			}
			return false
		})
	}
	if n := len(b.log.String()); n > 64<<10 {
		t.Errorf("%d bytes were logged", n)
	}
}

func TestAStopWaitsForCallsAndLetsThePluginCleanUp(t *testing.T) {
	t.Parallel()
	b := newBench(t, plughost.Limits{})
	p := b.lab(t, `{"greeting":"file"}`)
	errs := make(chan error, 1)
	go func() { errs <- handle(t, p, "meet") }()
	until(t, "the call has arrived", func() bool { return handle(t, p, "nothing") == nil })
	stopped := make(chan struct{})
	go func() {
		p.Stop(context.Background())
		close(stopped)
	}()
	until(t, "no call is taken any more", func() bool {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		err := p.Handle(ctx, core.Event{ID: "x", Object: "nothing"})
		return core.KindOf(err) == core.Unreached
	})
	select {
	case <-stopped:
		t.Error("it did not wait for the call")
	default:
	}
	second := b.lab(t, "") // a call of another process does not meet ours: end it as its deadline would
	second.Stop(context.Background())
	hurry, cancel := context.WithCancel(context.Background())
	cancel()
	p.Stop(hurry)
	<-stopped
	if err := <-errs; core.KindOf(err) != core.Failed || !strings.Contains(err.Error(), "pipehook stops") {
		t.Errorf("the call: %v", err)
	}

	gentle := b.lab(t, `{"greeting":"file"}`)
	gentle.Stop(context.Background())
	if _, err := os.Stat(filepath.Join(filepath.Dir(b.dir), "ended")); err != nil {
		t.Error(err)
	}
}

// A folder too deep for a socket is no reason not to start.
func TestAPluginStartsInADeepFolder(t *testing.T) {
	deep := strings.Repeat("d", 100)
	for name, temp := range map[string]string{"the system's is not": t.TempDir(), "the system's is too": filepath.Join(t.TempDir(), deep)} {
		t.Run(name, func(t *testing.T) {
			if err := os.MkdirAll(temp, 0o700); err != nil {
				t.Fatal(err)
			}
			dir := filepath.Join(t.TempDir(), deep)
			t.Setenv("TMPDIR", temp)
			h, err := plughost.Open(plughost.Options{Dir: dir, Log: discard(), Services: newClerk().services})
			if err != nil {
				t.Fatal(err)
			}
			p := h.Start(labSpec(dir))
			if err := handle(t, p, "remember"); err != nil {
				t.Error(err)
			}
			links, err := filepath.Glob(filepath.Join(dir, "s*"))
			if err != nil || len(links) != 1 {
				t.Fatalf("links %v (%v)", links, err)
			}
			sockets, err := os.Readlink(links[0])
			if err != nil {
				t.Fatal(err)
			}
			if err := h.Close(); err != nil {
				t.Error(err)
			}
			if _, err := os.Lstat(sockets); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("%s is left behind (%v)", sockets, err)
			}
		})
	}
}

func BenchmarkACall(b *testing.B) {
	h, err := plughost.Open(plughost.Options{Dir: filepath.Join(b.TempDir(), "p"), Log: discard()})
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = h.Close() }()
	p := h.Start(labSpec(b.TempDir()))
	ev := core.Event{ID: "1", Body: []byte(fmt.Sprintf(`{"a":%q}`, strings.Repeat("x", 2000)))}
	for b.Loop() {
		ctx, cancel := context.WithTimeout(b.Context(), 10*time.Second)
		if err := p.Handle(ctx, ev); err != nil {
			b.Fatal(err)
		}
		cancel()
	}
}
