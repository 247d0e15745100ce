package config

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/joho/godotenv"
)

// environment answers ${NAME}: from the process, from a file that NAME_FILE names, or from the
// .env beside the configuration, in this order.
type environment struct{ vars, dotenv map[string]string }

func newEnvironment(environ []string, dir string) (environment, error) {
	env := environment{vars: map[string]string{}}
	for _, entry := range environ {
		if name, value, ok := strings.Cut(entry, "="); ok {
			env.vars[name] = value
		}
	}
	path := filepath.Join(dir, ".env")
	dotenv, err := godotenv.Read(path)
	if err != nil && !os.IsNotExist(err) {
		// The parser's error repeats the line, which may be a secret.
		return env, fmt.Errorf("%s is not of the form NAME=value", path)
	}
	env.dotenv = dotenv
	return env, nil
}

func (e environment) lookup(name string) (string, bool, error) {
	if v, ok := e.vars[name]; ok {
		return v, true, nil
	}
	file, ok := e.vars[name+"_FILE"]
	if !ok {
		file, ok = e.dotenv[name+"_FILE"]
	}
	if _, direct := e.dotenv[name]; ok && !direct {
		text, err := os.ReadFile(file)
		if err != nil {
			return "", false, fmt.Errorf("%s_FILE: %w", name, err)
		}
		return strings.TrimRight(string(text), "\r\n"), true, nil
	}
	v, ok := e.dotenv[name]
	return v, ok, nil
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
			v[i] = d.expand(fmt.Sprintf("%s[%d]", key, i), v[i], env)
		}
	}
	return v
}

func (d *decoder) expandText(key, text string, env environment) string {
	return reference.ReplaceAllStringFunc(text, func(match string) string {
		if match == "$$" {
			return "$"
		}
		parts := reference.FindStringSubmatch(match)
		name, fallback := parts[1], parts[2] != ""
		if name == "" {
			d.wrong(key, "${ without a NAME and a }", "write ${NAME} or ${NAME:-default}; $$ is a plain $")
			return ""
		}
		value, ok, err := env.lookup(name)
		switch {
		case err != nil:
			d.wrong(key, err.Error(), "")
		case ok:
			return value
		case fallback:
			return parts[3]
		default:
			d.wrong(key, fmt.Sprintf("the environment variable %s is not set", name),
				fmt.Sprintf("set %s in the environment or in a .env file beside the configuration", name))
		}
		return ""
	})
}
