package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pipehook/pipehook/core/database"
	"github.com/pipehook/pipehook/core/spool"
	"github.com/pipehook/pipehook/core/store"
)

// The disk is nearly full below either.
const (
	leastFree  = 1 << 30
	leastShare = 10 // percent
)

func (d *doctor) configuration(context.Context) []diagnosis {
	if d.wrong != nil {
		return from(bad, d.wrong)
	}
	var all []diagnosis
	for _, w := range append(warnings(d.conf), openDoors(d.conf)...) {
		all = append(all, diagnosis{Verdict: warning, Says: w})
	}
	if all == nil {
		all = seen(good, fmt.Sprintf("%s: %s", d.conf.Path, count(len(d.conf.Pipelines), "pipeline")), "")
	}
	return all
}

func (d *doctor) scripts(ctx context.Context) []diagnosis {
	listeners, strange, errs := checkScripts(ctx, d.conf)
	errs = append(errs, checkChainScripts(d.conf)...)
	nameless, wrong := checkFields(ctx, d.conf)
	if wrong != nil {
		errs = append(errs, wrong)
	}
	var all []diagnosis
	if len(errs) > 0 {
		all = from(bad, several(errs))
	}
	for i := range all {
		all[i].Fix = cmp.Or(all[i].Fix, "mend the file; pipehook check looks again")
	}
	for _, w := range slices.Concat(strange, nameless) {
		all = append(all, diagnosis{Verdict: warning, Says: w, Fix: "mend it; pipehook check looks again"})
	}
	switch {
	case all != nil:
		return all
	case len(listeners) == 0:
		return seen(skipped, "no listener is a script", "")
	}
	return seen(good, count(len(listeners), "listener")+": "+strings.Join(listeners, ", "), "")
}

func (d *doctor) plugins(context.Context) []diagnosis {
	uses, _ := listenerPlugins(d.conf)
	chain := bareDraft(d.conf)
	_, _ = assemble(d.conf, bareDeps(d.conf), chain) // what is wrong otherwise is said elsewhere
	if len(uses)+len(chain.plugins) == 0 {
		return seen(skipped, "none is configured", "")
	}
	if _, errs := checkPlugins(d.conf); len(errs) > 0 {
		return from(bad, several(errs))
	}
	return seen(good, count(len(uses)+len(chain.plugins), "plugin")+": the files are there and are those they should be", "")
}

// doctorState is written, read and deleted again.
const doctorState = "pipehook.doctor"

func (d *doctor) store(ctx context.Context) []diagnosis {
	url := storeURL(d.conf)
	loc, err := database.Parse("store.url", url)
	if err != nil {
		return from(bad, err)
	}
	if loc.SQLite {
		if _, err := os.Stat(loc.Path); errors.Is(err, fs.ErrNotExist) {
			return seen(warning, "there is no database at "+loc.Path+" yet", "pipehook serve makes it, or pipehook migrate")
		}
	}
	m, err := store.OpenManager(ctx, url)
	if err != nil {
		return seen(bad, err.Error(), "is store.url right, and does the database run?")
	}
	defer func() { _ = m.Close() }()
	size, err := m.Size(ctx)
	if err != nil {
		return seen(bad, err.Error(), "may this user read the database?")
	}
	mark := []byte(d.now().UTC().Format(time.RFC3339Nano))
	if err = m.SetState(ctx, doctorState, mark); err == nil {
		err = m.SetState(ctx, doctorState, nil)
	}
	if err != nil {
		return seen(bad, "it can be read and not written: "+err.Error(), "may this user write to it, and is its schema that of this pipehook? pipehook migrate")
	}
	waiting, err := m.Waiting(ctx)
	if err != nil {
		return seen(bad, err.Error(), "pipehook migrate")
	}
	pending := int64(0)
	for _, n := range waiting {
		pending += n
	}
	return seen(good, fmt.Sprintf("%s is read and written: %s, %d deliveries pending", loc.Shown, sizeText(size), pending), "")
}

// place is a folder that must not run full.
type place struct{ name, path string }

func (d *doctor) disk(context.Context) []diagnosis {
	var places []place
	if loc, err := database.Parse("store.url", storeURL(d.conf)); err == nil && loc.SQLite {
		places = append(places, place{"the store", filepath.Dir(loc.Path)})
	}
	places = append(places, place{"the spool", beside(d.conf, d.conf.Spool.Dir)})
	if loc, err := database.Parse("pipedrive.sync.database", tablesURL(d.conf)); err == nil && loc.SQLite && syncListener(d.conf) != nil {
		places = append(places, place{"the local tables", filepath.Dir(loc.Path)})
	}
	var all []diagnosis
	for _, p := range places {
		all = append(all, diskOf(p))
	}
	return all
}

func diskOf(p place) diagnosis {
	path, err := filepath.Abs(p.path)
	var is unix.Statfs_t
	for err == nil {
		if err = unix.Statfs(path, &is); !errors.Is(err, fs.ErrNotExist) || path == filepath.Dir(path) {
			break
		}
		path, err = filepath.Dir(path), nil // it will be made there
	}
	if err != nil {
		return diagnosis{Verdict: bad, Says: fmt.Sprintf("%s: %s: %v", p.name, p.path, err)}
	}
	return diskVerdict(p, uint64(is.Bavail)*uint64(is.Bsize), uint64(is.Blocks)*uint64(is.Bsize))
}

func diskVerdict(p place, free, total uint64) diagnosis {
	share := uint64(100)
	if total > 0 {
		share = free * 100 / total
	}
	v := diagnosis{Verdict: good, Says: fmt.Sprintf("%s: %s free (%d %%) at %s", p.name, sizeText(int64(free)), share, p.path)}
	switch {
	case free < 64<<20:
		v.Verdict, v.Fix = bad, "make room now: webhooks are refused when nothing can be written"
	case free < leastFree || share < leastShare:
		v.Verdict, v.Fix = warning, "make room, or set store.retention or store.max_size"
	}
	return v
}

func (d *doctor) spool(context.Context) []diagnosis {
	dir := beside(d.conf, d.conf.Spool.Dir)
	entries, err := os.ReadDir(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return seen(good, "empty: nobody has needed it yet", "")
	case err != nil:
		return seen(bad, err.Error(), "name a folder that pipehook may read and write with spool.dir")
	}
	var all []diagnosis
	for _, e := range entries {
		folder := filepath.Join(dir, e.Name())
		if e.IsDir() && spool.Holds(folder) {
			all = append(all, diagnosis{Verdict: warning, Says: "events wait for the store in " + folder, Fix: "they are stored once the store works and pipehook serves; see the check of the store"})
		}
		for _, suffix := range []string{"refused", "damaged"} {
			if aside, _ := filepath.Glob(filepath.Join(folder, "*."+suffix)); len(aside) > 0 {
				all = append(all, diagnosis{Verdict: warning, Says: fmt.Sprintf("%s put aside in %s: *.%s", count(len(aside), "file"), folder, suffix), Fix: "the log says why; look at them and take them away"})
			}
		}
	}
	if all == nil {
		all = seen(good, "empty", "")
	}
	return all
}

func (d *doctor) server(ctx context.Context) []diagnosis {
	at := d.conf.Admin.Listen
	if at == "" {
		return seen(skipped, "admin.listen is not set, so nobody can be asked", "")
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	if _, err := askAdmin(ctx, at, "/healthz", nil); err != nil {
		return seen(warning, "pipehook does not run here: nobody answers as it at admin.listen, "+at, "pipehook serve")
	}
	var is struct {
		Status string            `json:"status"`
		Causes map[string]string `json:"causes"`
	}
	status, err := askAdmin(ctx, at, "/readyz", &is)
	if err != nil {
		return seen(bad, err.Error(), "look at the log of pipehook serve")
	}
	verdict := warning
	if status != http.StatusOK {
		verdict = bad
	}
	var all []diagnosis
	for name, cause := range is.Causes {
		fix := "look at the log of pipehook serve"
		if name == "pipedrive" {
			fix = "pipehook events refused --since 1h tells why requests failed, pipehook webhooks list what Pipedrive says"
		}
		all = append(all, diagnosis{Verdict: verdict, Says: fmt.Sprintf("%s: %s: %s", is.Status, name, cause), Fix: fix})
	}
	slices.SortFunc(all, func(a, b diagnosis) int { return strings.Compare(a.Says, b.Says) })
	switch {
	case all != nil:
		return all
	case verdict == bad:
		return seen(bad, "not ready", "look at the log of pipehook serve")
	}
	return seen(good, "it serves and is ready", "")
}

// askAdmin asks the process that serves. Into may be nil.
func askAdmin(ctx context.Context, at, path string, into any) (status int, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+at+path, nil)
	if err != nil {
		return 0, err
	}
	// No proxy: it is near.
	client := &http.Client{Transport: &http.Transport{}, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	defer client.CloseIdleConnections()
	resp, err := client.Do(req)
	if err != nil {
		return 0, err
	}
	defer func() { _ = resp.Body.Close() }()
	var any map[string]any
	if into == nil {
		into = &any
	}
	if err := json.NewDecoder(http.MaxBytesReader(nil, resp.Body, 1<<20)).Decode(into); err != nil {
		return resp.StatusCode, fmt.Errorf("what is answered at %s can't be read: %w", path, err)
	}
	return resp.StatusCode, nil
}
