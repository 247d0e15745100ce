package main

import (
	"bytes"
	"cmp"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"text/template"

	"github.com/spf13/cobra"

	"github.com/pipehook/pipehook/core"
	"github.com/pipehook/pipehook/core/jshost"
	"github.com/pipehook/pipehook/core/jshost/typings"
	"github.com/pipehook/pipehook/core/samples"
)

//go:embed skeleton
var skeletonFiles embed.FS

var skeletons = template.Must(template.ParseFS(skeletonFiles, "skeleton/*.tmpl"))

// scriptKinds are what a script can be, with the folder for it inside the scripts folder.
var scriptKinds = map[string]string{"listener": "", "stage": "stages", "source": "sources"}

// newScript is what the skeletons are filled with.
type newScript struct {
	Name, Kind   string
	Folder       string // inside that of its kind, with / at the end; or empty
	TS           bool
	Match        string // for people
	MatchList    string // in JavaScript
	Sample       string // the type of the event that the test uses
	SampleWords  string
	SampleLabel  string
	Fixture      string
	Event        string // what script run takes for it
	Script, Test string // the files
}

func (c *cli) scriptNewCommand() *cobra.Command {
	var match []string
	var kind string
	var js bool
	cmd := &cobra.Command{
		Use: "new NAME", Short: "Write a new script with its test", Args: cobra.ExactArgs(1),
		Long:    "Write a script and a test that passes into the scripts folder, and the types for editors where there are\nnone. Files that are there are left alone.",
		Example: "  pipehook script new deal-moved --match updated.deal\n  pipehook script new crm/deal-won --match updated.deal\n  pipehook script new tag --kind stage --js",
		RunE: func(_ *cobra.Command, args []string) error {
			s, err := describeScript(args[0], kind, match, js)
			if err != nil {
				return err
			}
			dir, err := c.scriptsDir()
			if err != nil {
				return err
			}
			written, err := writeScript(dir, s)
			if err != nil {
				return err
			}
			return c.printNewScript(s, written)
		},
	}
	cmd.Flags().StringSliceVar(&match, "match", nil, "the events to call it for, such as updated.deal or *.deal; all when not given")
	cmd.Flags().StringVar(&kind, "kind", "listener", "listener, stage or source")
	cmd.Flags().BoolVar(&js, "js", false, "write JavaScript instead of TypeScript")
	return cmd
}

// fullName is the name that the script has once it is live.
func (s *newScript) fullName() string { return strings.ReplaceAll(s.Folder, "/", "-") + s.Name }

func describeScript(name, kind string, match []string, js bool) (*newScript, error) {
	folder, name := path.Split(name)
	parts := strings.Split(folder+name, "/")
	if slices.ContainsFunc(parts, func(part string) bool { return !core.IsName(part) }) {
		return nil, usagef("use lower-case letters, digits, - and _, such as deal-moved or crm/deal-moved", "%q can't name a script", folder+name)
	}
	for _, part := range parts[:len(parts)-1] {
		if slices.Contains(jshost.Beside(), part) {
			return nil, usagef("take another folder, or --kind stage or source", "what is in a folder named %s is no listener", part)
		}
	}
	if folder != "" && kind != "listener" {
		return nil, usagef("leave the folder out", "a %s is written into the folder %s", kind, scriptKinds[kind])
	}
	if _, ok := scriptKinds[kind]; !ok {
		return nil, usagef("it is one of listener, stage, source", "there is no kind of script %q", kind)
	}
	if len(match) > 0 && kind != "listener" {
		return nil, usagef("leave --match out", "a %s is called for everything that comes to it", kind)
	}
	if len(match) == 0 {
		match = []string{"*.*"}
	}
	s := &newScript{Name: name, Folder: folder, Kind: kind, TS: !js, Match: strings.Join(match, " and ")}
	for _, text := range match {
		pattern, err := core.ParsePattern(text)
		if err != nil {
			return nil, usagef("write it as action.object, such as updated.deal or *.deal", "--match: %w", err)
		}
		if s.Sample == "" {
			s.describe(pattern)
		}
	}
	list, err := json.Marshal(match)
	if err != nil {
		return nil, err
	}
	action, object, _ := strings.Cut(s.Sample, ".")
	s.MatchList, s.SampleWords, s.SampleLabel = strings.ReplaceAll(string(list), `","`, `", "`), action+" "+object, object+"/"+action
	return s, nil
}

// describe finds an event that fits a pattern, and how a test makes it: of what is recorded, when
// there is something.
func (s *newScript) describe(pattern core.Pattern) {
	types := samples.Types()
	if i := slices.Index(types, "updated.deal"); i > 0 { // the one that is told most about
		types = slices.Insert(slices.Delete(types, i, i+1), 0, "updated.deal")
	}
	for _, t := range types {
		action, object, _ := strings.Cut(t, ".")
		if pattern.Match(&core.Event{Action: action, Object: object}) {
			s.Sample, s.Event, s.Fixture = t, t, fmt.Sprintf("fixture(%q)", t)
			return
		}
	}
	action, object := cmp.Or(strings.ReplaceAll(pattern.Action(), "*", ""), core.Updated), cmp.Or(strings.ReplaceAll(pattern.Object(), "*", ""), "thing")
	s.Sample = action + "." + object
	s.Event = fmt.Sprintf(`'{"action":%q,"object":%q}'`, action, object)
	s.Fixture = fmt.Sprintf("fixture({ action: %q, object: %q, objectId: 7, current: { id: 7 } })", action, object)
}

// writeScript writes the files of a new script, and the types where there are none.
func writeScript(dir string, s *newScript) (written []string, err error) {
	ext := ".ts"
	if !s.TS {
		ext = ".js"
	}
	folder := filepath.Join(dir, scriptKinds[s.Kind], filepath.FromSlash(s.Folder))
	s.Script, s.Test = filepath.Join(folder, s.Name+ext), filepath.Join(folder, s.Name+".test"+ext)
	for _, other := range []string{".ts", ".js", ".mjs", ".cjs"} {
		for _, path := range []string{filepath.Join(folder, s.Name+other), filepath.Join(folder, s.Name+".test"+other)} {
			if _, err := os.Stat(path); err == nil {
				return nil, usagef("choose another name", "%s is there already", path)
			}
		}
	}
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return nil, err
	}
	for path, skeleton := range map[string]string{s.Script: s.Kind + ".tmpl", s.Test: s.Kind + ".test.tmpl"} {
		var text bytes.Buffer
		if err := skeletons.ExecuteTemplate(&text, skeleton, s); err != nil {
			return written, err
		}
		if err := writeNew(path, text.Bytes(), 0o644); err != nil {
			return written, err
		}
		written = append(written, path)
	}
	slices.Sort(written)
	types := filepath.Join(dir, typings.File)
	switch changed, err := refreshTypes(types); {
	case err == nil && changed:
		written = append(written, types)
	case err != nil && !isUsage(err): // somebody else's file is left alone
		return written, err
	}
	config := filepath.Join(dir, "tsconfig.json")
	if _, err := os.Stat(filepath.Join(filepath.Dir(dir), "tsconfig.json")); err == nil {
		return written, nil // the project has one above
	}
	switch err := writeNew(config, typings.Config(), 0o644); {
	case errors.Is(err, fs.ErrExist):
	case err != nil:
		return written, err
	default:
		written = append(written, config)
	}
	return written, nil
}

func isUsage(err error) bool {
	_, ok := errors.AsType[*usageError](err)
	return ok
}

func (c *cli) printNewScript(s *newScript, written []string) error {
	script, err := filepath.Rel(filepath.Dir(c.path), s.Script)
	if err != nil {
		script = s.Script
	}
	table := scriptTable(s, filepath.ToSlash(script))
	next := []string{"pipehook test " + s.Test}
	if s.Kind == "listener" {
		next = append(next, "pipehook script run "+s.Script+" --event "+s.Event, "pipehook dev")
	} else {
		next = append(next, "pipehook check")
	}
	if c.json {
		return c.printJSON(map[string]any{"name": s.fullName(), "kind": s.Kind, "files": written, "toml": table, "next": next})
	}
	for _, f := range written {
		fmt.Fprintln(c.stdout, "wrote", f)
	}
	where := "into " + c.path + ":"
	if s.Kind == "listener" {
		where = "it is live as it is; into " + c.path + " only to say more about it:"
	}
	fmt.Fprintf(c.stdout, "\n%s\n\n%s\nnext:  %s\n", where, table, strings.Join(next, "\n       "))
	return nil
}

// scriptTable is what names the script in the configuration.
func scriptTable(s *newScript, script string) string {
	switch s.Kind {
	case "stage":
		return fmt.Sprintf("  [[pipeline.stage]]          # in the chain, where it is to stand\n  use    = \"script\"\n  script = %q\n", script)
	case "source":
		return fmt.Sprintf("[[pipeline]]\nname   = %q\npath   = \"/%s/webhook\"\nsource = \"script\"\nscript = %q\n\n%s", s.Name, s.Name, script, chainOf(s.Name))
	default:
		return fmt.Sprintf("[[listener]]\nname    = %q\nscript  = %q\ntimeout = \"5s\"\n# changed     = [\"stage_id\"]           only if one of these fields changed\n# allow_hosts = [\"chat.example.com\"]   where fetch may go\n# secrets     = { TOKEN = \"${TOKEN}\" }\n", s.fullName(), script)
	}
}

// chainOf is a whole chain for a source of one's own.
func chainOf(name string) string {
	return fmt.Sprintf("  [[pipeline.stage]]\n  use = \"authenticate\"\n  signature = { header = \"X-Signature\", secret = \"${%s_SECRET}\" }\n\n  [[pipeline.stage]]\n  use = \"validate\"\n\n  [[pipeline.stage]]\n  use = \"dedupe\"\n\n  [[pipeline.stage]]\n  use = \"persist\"\n\n  [[pipeline.stage]]\n  use = \"dispatch\"\n",
		strings.ToUpper(strings.ReplaceAll(name, "-", "_")))
}
