package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/pipehook/pipehook/cmd/pipehook/internal/program"
)

const (
	username = "hook"
	password = "a password of the torture"
	hookPath = "/pipedrive/webhook"
)

// The lines that scripts log: an attempt begins, succeeds, fails. A script can write nothing else
// that outlives a kill.
const (
	lineBegin = "torture begin"
	lineEnd   = "torture end"
	lineFail  = "torture fail"

	lineGathered = "torture gathered " // and the ids that the attempt stands for
)

// scripts are the listeners. Each takes as long as the body says, with the processor in its hands.
var scripts = map[string]string{
	"ordered":   handler(""),
	"loose":     handler(""),
	"slow":      handler("for (const end = Date.now() + 15; Date.now() < end; );"),
	"lasting":   handler("for (const end = Date.now() + 20; Date.now() < end; );"),
	"latest":    handler(""),
	"gathering": handler("console.log('" + lineGathered + "' + event.gathered.join(' '));"),
	"fragile":   handler("if (event.current.torture_poison) new ArrayBuffer(2 ** 40);"),
	"moody":     "const tries = {};\n" + handler("const n = tries[event.id] = (tries[event.id] ?? 0) + 1;\n  if (n <= event.current.torture_fails) { console.log('"+lineFail+"'); throw new Error('in a bad mood'); }\n  delete tries[event.id];"),
}

func handler(before string) string {
	return "export default (event) => {\n  console.log('" + lineBegin + "');\n  " + before + `
  for (const end = Date.now() + event.current.torture_ms; Date.now() < end; );
  console.log('` + lineEnd + "');\n}\n"
}

// settings are the keys of each listener. The attempts are few and soon, so that a row sees their end.
var settings = map[string]string{
	"ordered":   "concurrency = 4\n",
	"loose":     "order = \"none\"\nconcurrency = 4\n",
	"lasting":   "concurrency = 2\ntimeout = \"2m\"\n", // it may be frozen meanwhile
	"latest":    "concurrency = 4\nstale = \"drop\"\n",
	"gathering": "coalesce = { quiet = \"100ms\", max = \"1s\" }\n",
	"fragile":   "",
	"slow":      "order = \"none\"\nconcurrency = 1\n",
	"moody":     "concurrency = 1\nretry = { attempts = 4, first = \"20ms\", max = \"100ms\" }\nbreaker = { failures = 0 }\n",
}

// project is a process's folder: its configuration, its scripts, and what it leaves behind.
type project struct {
	dir, config    string
	address, admin string
	storeURL       string
	listeners      []string
	retention      string
	authenticate   string
	spoolAfter     string
	isolation      string // of scripts
	maxPending     int
	environ        []string
	plugins        map[string]string // the tables of listeners that are no scripts
}

// newProject makes a folder for a process on the round's store.
func (r *round) newProject() (*project, error) {
	p := &project{
		dir:     filepath.Join(r.home, fmt.Sprint(len(r.projects)+1)),
		address: program.FreeAddress(), admin: program.FreeAddress(), storeURL: r.storeURL,
		listeners: r.rules.listeners, retention: "30d", spoolAfter: "1s", isolation: "process",
		authenticate: fmt.Sprintf("basic = { username = %q, password = %q }", username, password),
	}
	p.config = filepath.Join(p.dir, "pipeline.toml")
	if err := os.MkdirAll(filepath.Join(p.dir, "tmp"), 0o700); err != nil {
		return nil, err
	}
	for name, text := range scripts {
		if err := os.WriteFile(filepath.Join(p.dir, name+".js"), []byte(text), 0o600); err != nil {
			return nil, err
		}
	}
	r.projects = append(r.projects, p)
	return p, p.write()
}

// text is the configuration.
func (p *project) text() string {
	var b strings.Builder
	fmt.Fprintf(&b, "[server]\nlisten = %q\n[admin]\nlisten = %q\n[store]\nurl = %q\nretention = %q\nmax_pending = %d\n[spool]\ndir = \"spool\"\nafter = %q\n[scripts]\ndir = \"\"\nisolation = %q\n[log]\nformat = \"json\"\n",
		p.address, p.admin, p.storeURL, p.retention, p.maxPending, p.spoolAfter, p.isolation)
	fmt.Fprintf(&b, "[[pipeline]]\nname = \"crm\"\npath = %q\nsource = \"pipedrive\"\n", hookPath)
	fmt.Fprintf(&b, "[[pipeline.stage]]\nuse = \"authenticate\"\n%s\n", p.authenticate)
	for _, kind := range []string{"validate", "dedupe", "persist", "dispatch"} {
		fmt.Fprintf(&b, "[[pipeline.stage]]\nuse = %q\n", kind)
	}
	for _, name := range p.listeners {
		if table, ok := p.plugins[name]; ok {
			fmt.Fprintf(&b, "[[listener]]\nname = %q\n%s", name, table)
			continue
		}
		fmt.Fprintf(&b, "[[listener]]\nname = %q\nscript = \"%s.js\"\n%s", name, name, settings[name])
	}
	return b.String()
}

// write puts the configuration in its place at once, as editors do.
func (p *project) write() error { return p.replace(p.text()) }

func (p *project) replace(text string) error {
	if err := os.WriteFile(p.config+".new", []byte(text), 0o600); err != nil {
		return err
	}
	return os.Rename(p.config+".new", p.config)
}
