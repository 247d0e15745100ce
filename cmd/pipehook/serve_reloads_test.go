package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/pipehook/pipehook/core"
	"github.com/pipehook/pipehook/core/coretest/testdb"
	"github.com/pipehook/pipehook/core/jshost/bundle"
)

// reloads is how many versions of scripts are taken under load: some by default, as many as this
// says for make test.
const reloads = "PIPEHOOK_TEST_RELOADS"

// at a time several scripts are saved, which are all taken with the same look at the folder.
const reloading = 5

// twoFiles is a script of a handler and an import, each of which knows its version. Both are
// numbers that grow.
type twoFiles struct {
	p            *project
	name         string
	handler, lib int
	from         string            // the file that the handler imports
	was          map[string]bool   // the versions that both files had at one time, "handler/lib"
	hashes       map[string]string // of the versions that ran
	broken       int
}

func (s *twoFiles) versions() string { return fmt.Sprintf("%d/%d", s.handler, s.lib) }

// handlerText says the versions that a call sees when it begins and when it ends.
func (s *twoFiles) handlerText() string {
	return fmt.Sprintf(`import { lib, now } from "./%s";
const handler = %d;
export default async function (event, ctx) {
  const first = handler + "/" + lib;
  await null;
  if (event.id.endsWith("0")) for (const end = Date.now() + 3; Date.now() < end;);
  ctx.log.info("versions", { first, last: handler + "/" + now() });
}
`, s.from, s.handler)
}

func (s *twoFiles) libText() string {
	return fmt.Sprintf("const version = %d;\nexport const lib = version;\nexport const now = () => version;\n", s.lib)
}

func (s *twoFiles) path(name string) string { return filepath.Join(s.p.dir, "scripts", name) }

// An editor's ways to save a file.
const (
	inPlace = iota
	renamed // from a file beside it
	anew    // the old one is put aside first
	ways
)

func (s *twoFiles) save(t *testing.T, way int, name, text string) {
	t.Helper()
	path := s.path(name)
	var err error
	switch way {
	case inPlace:
		err = os.WriteFile(path, []byte(text), 0o600)
	case renamed:
		err = errors.Join(os.WriteFile(path+".tmp", []byte(text), 0o600), os.Rename(path+".tmp", path))
	case anew:
		if _, missing := os.Stat(path); missing == nil {
			err = os.Rename(path, path+"~")
		}
		err = errors.Join(err, os.WriteFile(path, []byte(text), 0o600))
	}
	if err != nil {
		t.Fatal(err)
	}
}

// next saves another version: of the handler, of the import, or of both, which then may be another
// file. What is on disk after each step may be taken.
func (s *twoFiles) next(t *testing.T, rng *rand.Rand) {
	t.Helper()
	way := rng.IntN(ways)
	handler := func() {
		s.handler++
		s.save(t, way, s.name+".js", s.handlerText())
		s.was[s.versions()] = true
	}
	lib := func() {
		s.lib++
		s.save(t, way, s.from, s.libText())
		s.was[s.versions()] = true
	}
	switch rng.IntN(5) {
	case 0:
		handler()
	case 1:
		lib()
	case 2:
		handler()
		lib()
	case 3:
		lib()
		handler()
	case 4: // the import is there before anything needs it
		s.lib++
		s.from = fmt.Sprintf("lib/%s-%d.js", s.name, s.lib)
		s.save(t, way, s.from, s.libText())
		handler()
	}
}

// breakIt saves what must not run, and what is complained of differently each time.
func (s *twoFiles) breakIt(t *testing.T, rng *rand.Rand) {
	t.Helper()
	way := rng.IntN(ways)
	s.broken++
	never := fmt.Sprintf("export default (event, ctx) => ctx.log.info(\"versions\", { first: \"broken %d\" });\n", s.broken)
	switch rng.IntN(5) {
	case 4: // as it is before an editor has written anything
		s.save(t, way, s.name+".js", "")
	case 0:
		s.save(t, way, s.name+".js", fmt.Sprintf("%slet wrong wrong%d;\n", never, s.broken))
	case 1:
		s.save(t, way, s.from, fmt.Sprintf("export const lib = wrong wrong%d;\n", s.broken))
	case 2:
		s.save(t, way, s.name+".js", fmt.Sprintf("import \"./lib/missing-%d.js\";\n%s", s.broken, never))
	case 3:
		s.save(t, way, s.name+".js", fmt.Sprintf("%sthrow new Error(\"wrong %d\");\n", never, s.broken))
	}
}

// repair saves both files as they should be, in new versions.
func (s *twoFiles) repair(t *testing.T, rng *rand.Rand) {
	t.Helper()
	way := rng.IntN(ways)
	s.lib++
	s.save(t, way, s.from, s.libText())
	s.was[s.versions()] = true
	s.handler++
	s.save(t, way, s.name+".js", s.handlerText())
	s.was[s.versions()] = true
}

// told is a line of the log about a script.
type told struct {
	Msg, Event, Listener string
	Data                 struct{ First, Last string }
}

// reader reads the log as it grows.
type reader struct {
	file *bufio.Reader
	rest string
	runs map[string]map[string]told // the versions that ran, by listener and event
	said map[string]int             // "message listener"
	odd  []string
}

func (r *reader) read(t *testing.T) {
	t.Helper()
	for {
		text, err := r.file.ReadString('\n')
		if r.rest += text; err == io.EOF {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		line := r.rest
		r.rest = ""
		var l told
		if json.Unmarshal([]byte(line), &l) != nil || l.Listener == "" {
			continue
		}
		if l.Msg != "versions" {
			r.said[l.Msg+" "+l.Listener]++
			continue
		}
		if _, twice := r.runs[l.Listener][l.Event]; twice {
			r.odd = append(r.odd, fmt.Sprintf("%s ran twice for event %s", l.Listener, l.Event))
		}
		if r.runs[l.Listener] == nil {
			r.runs[l.Listener] = map[string]told{}
		}
		r.runs[l.Listener][l.Event] = l
	}
}

const (
	takenWell = "listener reloaded"
	keptOld   = "a listener does not compile; its last good version goes on"
)

// says waits until something was said of each script once more than before.
func (r *reader) says(t *testing.T, msg string, scripts []*twoFiles, save func(*twoFiles)) {
	t.Helper()
	before := map[string]int{}
	r.read(t)
	for _, s := range scripts {
		before[s.name] = r.said[msg+" "+s.name]
	}
	for _, s := range scripts {
		save(s)
	}
	eventually(t, fmt.Sprintf("%q is said of all scripts", msg), func() bool {
		r.read(t)
		for _, s := range scripts {
			if r.said[msg+" "+s.name] == before[s.name] {
				return false
			}
		}
		return true
	})
}

func TestReloadsUnderLoadDisturbNoEvent(t *testing.T) {
	bin := buildBinary(t)
	rounds := 10
	if os.Getenv(reloads) != "" {
		rounds = (kills(t, reloads) + reloading - 1) / reloading
	}
	t.Run("in processes of their own", func(t *testing.T) { reloadsUnderLoad(t, bin, "process", rounds) })
	t.Run("in one process", func(t *testing.T) { reloadsUnderLoad(t, bin, "none", max(rounds/5, 5)) })
}

func reloadsUnderLoad(t *testing.T, bin, isolation string, rounds int) {
	p := newProject(t, testdb.SQLite(t), fullChain, map[string]string{"": fmt.Sprintf("[scripts]\nisolation = %q\n", isolation)})
	rng := rand.New(rand.NewPCG(3, uint64(rounds)))
	var scripts []*twoFiles
	if err := os.MkdirAll(filepath.Join(p.dir, "scripts", "lib"), 0o700); err != nil {
		t.Fatal(err)
	}
	for i := range reloading {
		s := &twoFiles{p: p, name: string(rune('a' + i)), from: fmt.Sprintf("lib/%c.js", 'a'+i), was: map[string]bool{}, hashes: map[string]string{}}
		s.repair(t, rng)
		scripts = append(scripts, s)
	}
	pr := launch(t, p, exec.Command(bin, "serve", "--config", p.config))
	file, err := os.Open(pr.log)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = file.Close() }()
	r := &reader{file: bufio.NewReader(file), runs: map[string]map[string]told{}, said: map[string]int{}}
	l, stop := p.press(t, 200, nil)
	began := time.Now()
	for round := range rounds {
		if round%5 == 4 {
			r.says(t, keptOld, scripts, func(s *twoFiles) { s.breakIt(t, rng) })
			r.says(t, takenWell, scripts, func(s *twoFiles) { s.repair(t, rng) })
		} else {
			r.says(t, takenWell, scripts, func(s *twoFiles) { s.next(t, rng) })
		}
		if round%20 == 0 {
			l.more(t, 20)
		}
	}
	took := time.Since(began)
	l.more(t, 20)
	stop()
	l.flawless(t, p)
	undisturbed(t, p, l, r, scripts)
	swaps := 0
	for _, s := range scripts {
		swaps += r.said[takenWell+" "+s.name]
	}
	t.Logf("%d versions were taken in %s, %d events acknowledged; the slowest answer took %s", swaps, took.Round(time.Second), l.acked.Load(), l.slowest)
	pr.stop(t, p, pr.cmd.Process.Pid)
}

// undisturbed checks that every script ran once for every event, each time as one version that both
// files had at one time, and that the attempt names it.
func undisturbed(t *testing.T, p *project, l *pressure, r *reader, scripts []*twoFiles) {
	t.Helper()
	codes := map[string]map[string]string{}
	for _, ev := range p.events(t) {
		if len(ev.Deliveries) != len(scripts) {
			t.Errorf("event %s has %d deliveries, want %d", ev.ID, len(ev.Deliveries), len(scripts))
		}
		codes[ev.ID] = map[string]string{}
		for _, d := range ev.Deliveries {
			if d.State != core.Done || d.Attempts != 1 {
				t.Errorf("event %s is %s for %s after %d attempts: %s", ev.ID, d.State, d.Listener, d.Attempts, d.LastError)
			}
			codes[ev.ID][d.Listener] = d.Code
		}
	}
	r.read(t)
	for _, odd := range r.odd {
		t.Error(odd)
	}
	for _, s := range scripts {
		versions := map[string]string{} // by hash
		for id := range l.ids {
			run, code := r.runs[s.name][id].Data, codes[id][s.name]
			switch {
			case run.First == "":
				t.Errorf("%s never ran for event %s", s.name, id)
			case run.First != run.Last || !s.was[run.First]:
				t.Errorf("%s began as %s and ended as %s", s.name, run.First, run.Last)
			case s.hashes[run.First] != "" && s.hashes[run.First] != code || versions[code] != "" && versions[code] != run.First:
				t.Errorf("%s ran as %s, and the attempt says %s, which is %s", s.name, run.First, code, versions[code])
			}
			s.hashes[run.First], versions[code] = code, run.First
		}
		last, err := bundle.Make(s.path(s.name + ".js"))
		if err != nil {
			t.Fatal(err)
		}
		if hash := s.hashes[s.versions()]; hash != last.Hash {
			t.Errorf("the last version of %s, %s, ran as %q, want %s", s.name, s.versions(), hash, last.Hash)
		}
		if strings.Contains(fmt.Sprint(versions), "broken") {
			t.Errorf("a broken version of %s ran: %v", s.name, versions)
		}
	}
}

// What a refused configuration says of the definitions does not hold either.
func TestAReloadThatIsRefusedKeepsTheDefinitionsOfFields(t *testing.T) {
	p := newProject(t, testdb.SQLite(t), fullChain, map[string]string{"": "[pipedrive]\n"})
	p.write(t, "pipedrive.fields.json", dealFields)
	p.serve(t)
	named := func() bool { return len(definitions.fields().Of("deal")) == 2 }
	if !named() {
		t.Fatal("the definitions are not known")
	}
	before := readFile(t, p.config)
	other := strings.Replace(before, "[pipedrive]\n", "[pipedrive]\nfields = \"other.json\"\n", 1)
	for i, wrong := range []string{"\n[log]\nlevle = \"info\"\n", "\n[spool]\ndir = \"other\"\n"} {
		p.replace(t, other+wrong)
		eventually(t, "the configuration is refused", func() bool {
			if !named() {
				t.Fatal("the definitions are those of a configuration that does not hold")
			}
			return p.metric(t, `pipehook_config_reloads_total{result="failure"}`) == strconv.Itoa(i+1)
		})
	}
	if !named() {
		t.Error("the definitions are those of a configuration that does not hold")
	}
	p.replace(t, other)
	eventually(t, "the configuration is taken", func() bool { return definitions.fields() == nil })
}
