package config_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pipehook/pipehook/core"
	"github.com/pipehook/pipehook/core/config"
)

// folder is a new one with these files.
func folder(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestTheLayersLieOverEachOther(t *testing.T) {
	conf, err := config.Load(config.Options{
		Path: "pipeline.toml", Text: []byte(good),
		Environ: []string{"PIPEHOOK_SERVER__LISTEN=127.0.0.1:9001", "pipehook_server__Max_Body=10KiB", "PIPEHOOK_STORE__RETENTION=7d",
			"PIPEHOOK_SERVER__TRUSTED_PROXIES=192.0.2.1, 192.0.2.2", "PIPEHOOK_ADMIN_TOKEN=not a layer", "PIPEHOOK_ADMIN__LISTEN="},
		Flags: map[string]any{"server.listen": "127.0.0.1:9002", "server.ack_within": 3 * time.Second, "admin.token": core.Secret("t0ken")},
	})
	if err != nil {
		t.Fatal(err)
	}
	if s := conf.Server; s.Listen != "127.0.0.1:9002" || s.MaxBody != 10<<10 || s.AckWithin != 3*time.Second || len(s.TrustedProxies) != 2 {
		t.Errorf("server %+v", s)
	}
	if conf.Store.Retention != 7*24*time.Hour || conf.Admin.Listen != "" || string(conf.Admin.Token) != "t0ken" {
		t.Errorf("store %+v, admin %+v", conf.Store, conf.Admin)
	}
}

func TestADotenvIsALayerUnderTheEnvironment(t *testing.T) {
	dir := folder(t, map[string]string{".env": "PIPEHOOK_LOG__LEVEL=debug\nPIPEHOOK_LOG__FORMAT=text\n"})
	conf, err := config.Load(config.Options{
		Path: filepath.Join(dir, "pipeline.toml"), Text: []byte{}, Environ: []string{"PIPEHOOK_LOG__FORMAT=json"},
	})
	if err != nil || conf.Log.Level != "debug" || conf.Log.Format != "json" {
		t.Errorf("%+v (%v)", conf, err)
	}
}

func TestAMistakeAboveTheFileNamesWhatMadeIt(t *testing.T) {
	tests := []struct {
		name, environ string
		flags         map[string]any
		want          string
	}{
		{name: "an unknown key", environ: "PIPEHOOK_SERVER__LISTNE=x", want: `PIPEHOOK_SERVER__LISTNE: server.listne: unknown key; did you mean "listen"?`},
		{name: "an unknown table", environ: "PIPEHOOK_SERVR__LISTEN=x", want: `PIPEHOOK_SERVR__LISTEN: servr.listen: unknown key; did you mean "server"?`},
		{name: "a key below a value", environ: "PIPEHOOK_SERVER__LISTEN__X=x", want: `PIPEHOOK_SERVER__LISTEN__X: server.listen.x: unknown key; did you mean "listen"?`},
		{name: "nothing but underscores", environ: "PIPEHOOK___=x", want: `PIPEHOOK___: .: unknown key; known here: admin, log, pipedrive, plugins, scripts, server, spool, store`},
		{name: "a pipeline", environ: "PIPEHOOK_PIPELINE__NAME=x", want: "PIPEHOOK_PIPELINE__NAME: pipeline.name: pipelines and listeners are read from the file only"},
		{name: "a value that is none, which stays unsaid", environ: "PIPEHOOK_SERVER__ACK_WITHIN=" + canary, want: `PIPEHOOK_SERVER__ACK_WITHIN: server.ack_within: must be a duration such as "5s"`},
		{name: "a broken rule", environ: "PIPEHOOK_SERVER__MAX_BODY=1GiB", want: "PIPEHOOK_SERVER__MAX_BODY: server.max_body: must be at most 64MiB"},
		{name: "a part of a list", environ: "PIPEHOOK_SERVER__TRUSTED_PROXIES=::1," + canary, want: `PIPEHOOK_SERVER__TRUSTED_PROXIES: server.trusted_proxies[1]: must be an address or network such as "203.0.113.0/24"`},
		{name: "the address of another", environ: "PIPEHOOK_ADMIN__LISTEN=127.0.0.1:9000", want: "PIPEHOOK_ADMIN__LISTEN: admin.listen: is the same as server.listen; give each its own"},
		{name: "a flag", flags: map[string]any{"server.listen": canary}, want: "command line: server.listen: must be HOST:PORT, such as 127.0.0.1:8080"},
		{name: "a flag of another type", flags: map[string]any{"server.listen": true}, want: "command line: server.listen: must be text, is true or false"},
		{name: "an unknown flag", flags: map[string]any{"server.port": 1}, want: "command line: server.port: unknown key; known here: ack_within, listen, max_body, shutdown_grace, trusted_proxies"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			_, err := config.Load(config.Options{Path: "pipeline.toml", Text: []byte(good), Environ: []string{test.environ}, Flags: test.flags})
			if err == nil || err.Error() != test.want {
				t.Errorf("got  %v\nwant %s", err, test.want)
			}
		})
	}
}

func TestReferencesAreReadFromWhereverTheyAre(t *testing.T) {
	dir := folder(t, map[string]string{
		".env":   "FROM_DOTENV=dot\nBOTH=dotenv\nMOUNTED=dotenv\nBESIDE_FILE=secret\nQUOTED='a$B'\n",
		"secret": "mounted\r\n",
	})
	for text, want := range map[string]string{
		"${DIRECT}": "direct", "a-${DIRECT}-b": "a-direct-b", "${DIRECT}${DIRECT}": "directdirect", "${NESTED}": "${DIRECT}",
		"${MISSING:-x}": "x", "${MISSING:-}": "", "${MISSING:-a:-$$b}": "a:-$b", "${EMPTY:-x}": "x", "${EMPTY}": "",
		"$$5": "$5", "$5": "$5", "$${DIRECT}": "${DIRECT}", "$$$$": "$$", "$DIRECT": "$DIRECT",
		"${MOUNTED}": "mounted", "${FROM_DOTENV}": "dot", "${BOTH}": "real", "${BESIDE}": "mounted", "${QUOTED}": "a$B",
	} {
		conf, err := config.Load(config.Options{
			Path: filepath.Join(dir, "pipeline.toml"), Text: fmt.Appendf(nil, "[admin]\ntoken = %q\n", text),
			Environ: []string{"DIRECT=direct", "MOUNTED_FILE=" + filepath.Join(dir, "secret"), "BOTH=real", "NESTED=${DIRECT}", "EMPTY="},
		})
		if err != nil || string(conf.Admin.Token) != want {
			t.Errorf("%s: %v, want %q", text, err, want)
		}
	}
}

func TestAReferenceThatCannotBeReadIsAMistake(t *testing.T) {
	for text, want := range map[string]string{
		"${GONE}":          "pipeline.toml:2:1: admin.token: the file that GONE_FILE names can't be read: no such file or directory",
		"${A:-${B}}":       "pipeline.toml:2:1: admin.token: the default of ${A} holds another ${; a default is plain text; $$ is a plain $",
		"${lower case}":    "pipeline.toml:2:1: admin.token: ${ without a NAME and a }; write ${NAME} or ${NAME:-default}; $$ is a plain $",
		"${OPEN":           "pipeline.toml:2:1: admin.token: ${ without a NAME and a }; write ${NAME} or ${NAME:-default}; $$ is a plain $",
		"${UNSET}${UNSET}": "pipeline.toml:2:1: admin.token: the environment variable UNSET is not set; set UNSET in the environment or in a .env file beside the configuration",
	} {
		_, err := load(fmt.Sprintf("[admin]\ntoken = %q\n", text), "GONE_FILE=/none/"+canary)
		if err == nil || err.Error() != want {
			t.Errorf("%s: got  %v\nwant %s", text, err, want)
		}
	}
}

func TestABrokenDotenvIsAMistakeThatDoesNotRepeatIt(t *testing.T) {
	dir := folder(t, map[string]string{".env": "TOKEN=x\n" + canary + "\n"})
	_, err := config.Load(config.Options{Path: filepath.Join(dir, "pipeline.toml"), Text: []byte{}})
	if want := filepath.Join(dir, ".env") + ": a line is not of the form NAME=value"; err == nil || err.Error() != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
	dir = t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, ".env"), 0o700); err != nil {
		t.Fatal(err)
	}
	_, err = config.Load(config.Options{Path: filepath.Join(dir, "pipeline.toml"), Text: []byte{}})
	if err == nil || !strings.Contains(err.Error(), ".env: can't be read: ") {
		t.Errorf("error %v", err)
	}
}

// Each value is the canary, where it is of no use.
func TestASecretNeverShowsInAMistake(t *testing.T) {
	const ref = `"${CANARY}"`
	for name, text := range map[string]string{
		"text":              "[admin]\nlisten = " + ref + "\n[log]\nlevel = " + ref + "\nformat = " + ref + "\n",
		"durations, sizes":  "[server]\nmax_body = " + ref + "\nack_within = " + ref + "\n[store]\nretention = " + ref + "\n",
		"lists":             "[server]\ntrusted_proxies = [" + ref + "]\n",
		"tables":            "server = " + ref + "\npipeline = " + ref + "\nlistener = [" + ref + "]\n",
		"names and paths":   "[[pipeline]]\nname = " + ref + "\npath = " + ref + "\n[[pipeline]]\nname = " + ref + "\npath = \"/${CANARY}\"\n[[pipeline]]\npath = \"/${CANARY}\"\n",
		"listeners":         "[[listener]]\nname = " + ref + "\nmatch = [" + ref + "]\nretry = " + ref + "\ntimeout = " + ref + "\nconcurrency = " + ref + "\n[[listener]]\nname = " + ref + "\n",
		"without quotes":    "[admin]\ntoken = " + canary + "\n",
		"a number too long": "[admin]\ntoken = 12345678901234567890123\n",
	} {
		_, err := load(text, "CANARY="+canary)
		mistakes, ok := errors.AsType[config.Mistakes](err)
		if !ok || strings.Contains(err.Error(), "canary") || strings.Contains(err.Error(), "'c'") || strings.Contains(err.Error(), "1234567") {
			t.Errorf("%s: error %v", name, err)
		}
		for _, m := range mistakes {
			if m.Line == 0 {
				t.Errorf("%s: no line: %v", name, m)
			}
		}
	}
}
