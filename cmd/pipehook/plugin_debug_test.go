package main

import (
	"encoding/json"
	"os"
	"strings"
	"testing"
)

func TestHowToDebugAPluginIsSaid(t *testing.T) {
	labProject(t, moody("first", "good", "timeout = \"7s\""))
	says(t, exitDone, []string{"plugin", "debug", "first"},
		"build it anew, since its code is optimized", "go build -gcflags='all=-N -l' -o ", "    dlv exec plugins/bin/lab -- --debug\n    PIPEHOOK_REATTACH='…' pipehook dev\n",
		"no process of it is known to run now")
	var answer debugging
	if err := json.Unmarshal([]byte(says(t, exitDone, []string{"plugin", "debug", "lab", "--json"})), &answer); err != nil {
		t.Fatal(err)
	}
	if answer.Exec != "dlv exec plugins/bin/lab -- --debug" || answer.Why == "" || len(answer.Running) != 0 {
		t.Errorf("%+v", answer)
	}
	says(t, exitUsage, []string{"plugin", "debug", "nosuch"}, "there is no plugin nosuch", "pipehook: hint: known here: first, lab")

	if err := os.WriteFile("plugins/bin/churn", []byte("#!/usr/bin/env node\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	if out := says(t, exitDone, []string{"plugin", "debug", "churn"}, "churn is not a Go program", "the debugger of its own language", "no process of it is known", "PIPEHOOK_REATTACH is for programs"); strings.Contains(out, "dlv") {
		t.Errorf("Delve can't help: %s", out)
	}
	says(t, exitDone, []string{"plugin", "debug", "churn", "--json"}, `"notGo": true`)

	inFolder(t)
	made := makePlugin(t, "deal-audit")
	shell(t, made.Next[2])
	says(t, exitDone, []string{"plugin", "debug", "deal-audit"}, "go -C plugins/deal-audit build -gcflags='all=-N -l' -o ../bin/deal-audit .")
	shell(t, "go -C plugins/deal-audit build -gcflags='all=-N -l' -o ../bin/deal-audit .")
	if out := says(t, exitDone, []string{"plugin", "debug", "deal-audit"}); strings.Contains(out, "build it anew") {
		t.Errorf("it is good now: %s", out)
	}
}
