package config

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/joho/godotenv"
)

// environment is the process's own variables over those of the .env beside the configuration.
type environment struct {
	vars, dotenv map[string]string
	dir          string
}

func newEnvironment(environ []string, dir string) (environment, error) {
	env := environment{vars: map[string]string{}, dir: dir}
	for _, entry := range environ {
		if name, value, ok := strings.Cut(entry, "="); ok {
			env.vars[name] = value
		}
	}
	text, err := os.ReadFile(filepath.Join(dir, ".env"))
	if errors.Is(err, fs.ErrNotExist) {
		return env, nil
	}
	if err != nil {
		return env, fmt.Errorf("can't be read: %w", reason(err))
	}
	if env.dotenv, err = godotenv.UnmarshalBytes(text); err != nil {
		// The parser's error repeats the line, which may be a secret.
		return env, errors.New("a line is not of the form NAME=value")
	}
	return env, nil
}

// all is every variable once, as os.Environ would say it.
func (e environment) all() []string {
	var all []string
	for name, value := range e.dotenv {
		if _, own := e.vars[name]; !own {
			all = append(all, name+"="+value)
		}
	}
	for name, value := range e.vars {
		all = append(all, name+"="+value)
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// lookup answers ${NAME}. What the process says, be it a value or a file, wins over .env.
func (e environment) lookup(name string) (string, bool, error) {
	if v, ok := e.vars[name]; ok {
		return v, true, nil
	}
	if path, ok := e.vars[name+"_FILE"]; ok {
		return readMounted(name, path)
	}
	if v, ok := e.dotenv[name]; ok {
		return v, true, nil
	}
	if path, ok := e.dotenv[name+"_FILE"]; ok {
		if !filepath.IsAbs(path) {
			path = filepath.Join(e.dir, path)
		}
		return readMounted(name, path)
	}
	return "", false, nil
}

// dotted reports whether lookup finds the name's value in .env itself.
func (e environment) dotted(name string) bool {
	_, own := e.vars[name]
	_, mounted := e.vars[name+"_FILE"]
	_, there := e.dotenv[name]
	return there && !own && !mounted
}

func readMounted(name, path string) (string, bool, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		// Whoever mixed the two names up has put the secret where the path belongs.
		return "", false, fmt.Errorf("the file that %s_FILE names can't be read: %w", name, reason(err))
	}
	return strings.TrimRight(string(text), "\r\n"), true, nil
}

// reason is why a file could not be read, without its name.
func reason(err error) error {
	if e, ok := errors.AsType[*fs.PathError](err); ok {
		return e.Err
	}
	return err
}

var reference = regexp.MustCompile(`\$\$|\$\{([A-Za-z_][A-Za-z0-9_]*)(:-([^}]*))?\}|\$\{[^}]*\}?`)

// expand replaces ${NAME}, ${NAME:-default} and $$ in every text of the tree.
func (d *decoder) expand(key string, v any, env environment) any {
	switch v := v.(type) {
	case string:
		return d.expandText(key, v, env)
	case map[string]any:
		for name := range v {
			v[name] = d.expand(join(key, name), v[name], env)
		}
	case []any:
		for i := range v {
			v[i] = d.expand(index(key, i), v[i], env)
		}
	}
	return v
}

func (d *decoder) expandText(key, text string, env environment) string {
	return reference.ReplaceAllStringFunc(text, func(match string) string {
		if match == "$$" {
			return "$"
		}
		d.doc.hidden[key] = true
		parts := reference.FindStringSubmatch(match)
		name, fallback := parts[1], parts[2] != ""
		switch {
		case name == "":
			d.wrong(key, "${ without a NAME and a }", "write ${NAME} or ${NAME:-default}; $$ is a plain $")
			return ""
		case strings.Contains(parts[3], "${"):
			d.wrong(key, fmt.Sprintf("the default of ${%s} holds another ${", name), "a default is plain text; $$ is a plain $")
			return ""
		}
		if match == text {
			d.doc.variables[key] = Variable{name, env.dotted(name)}
		}
		value, set, err := env.lookup(name)
		switch {
		case err != nil:
			d.wrong(key, err.Error(), "")
		case fallback && value == "":
			return strings.ReplaceAll(parts[3], "$$", "$")
		case !set:
			d.wrong(key, fmt.Sprintf("the environment variable %s is not set", name),
				fmt.Sprintf("set %s in the environment or in a .env file beside the configuration", name))
		}
		return value
	})
}
