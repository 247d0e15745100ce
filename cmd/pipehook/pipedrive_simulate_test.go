package main

import (
	"bytes"
	"context"
	"encoding/json"
	"net"
	"os/exec"
	"regexp"
	"strings"
	"sync"
	"testing"
)

// written is what a command that runs has printed so far.
type written struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (w *written) Write(text []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.text.Write(text)
}

func (w *written) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.text.String()
}

// runStandIn runs the command until the test ends, and gives what it prints once it answers.
func runStandIn(t *testing.T, args ...string) string {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	var out, errs written
	code := make(chan int, 1)
	go func() { code <- run(ctx, args, nil, strings.NewReader(""), &out, &errs) }()
	t.Cleanup(func() {
		stop()
		if got := <-code; got != exitDone {
			t.Errorf("exit code %d\n%s", got, errs.String())
		}
	})
	eventually(t, "it says where it is", func() bool {
		return strings.HasSuffix(out.String(), "\n\n") || strings.HasSuffix(out.String(), "}\n")
	})
	return out.String()
}

var shellExample = regexp.MustCompile("(?s)```sh\n(.*?)```")

func TestTheExamplesOfTheStandInWorkAsTyped(t *testing.T) {
	curl, err := exec.LookPath("curl")
	if err != nil {
		t.Skip("there is no curl here")
	}
	_, section, _ := strings.Cut(page(t, "docs/pipedrive.md"), "## A stand-in\n")
	section, _, _ = strings.Cut(section, "\n## ")
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := listener.Addr().String()
	listener.Close()
	section = strings.ReplaceAll(section, "127.0.0.1:8090", address)
	var lines []string
	for _, block := range shellExample.FindAllStringSubmatch(section, -1) {
		lines = append(lines, strings.Split(strings.TrimSpace(block[1]), "\n")...)
	}
	if len(lines) < 5 {
		t.Fatalf("there are %d examples", len(lines))
	}
	printed := runStandIn(t, strings.Fields(strings.TrimPrefix(lines[0], "pipehook "))...)
	for _, m := range tomlExample.FindAllStringSubmatch(section, -1) {
		if !strings.Contains(printed, m[1]) {
			t.Errorf("it prints\n%s\nand not\n%s", printed, m[1])
		}
	}
	for _, line := range lines[1:] {
		out, err := exec.CommandContext(t.Context(), "sh", "-c", strings.Replace(line, "curl", curl, 1)).CombinedOutput()
		var answer struct{ Success bool }
		if err != nil || json.Unmarshal(out, &answer) != nil || !answer.Success {
			t.Errorf("%s\n%v\n%s", line, err, out)
		}
	}
}

func TestTheStandInSaysWhereItIsAsJSON(t *testing.T) {
	var got standInJSON
	text := runStandIn(t, "pipedrive", "simulate", "--listen", "127.0.0.1:0", "--token", "a token", "--records", "20", "--json")
	if err := json.Unmarshal([]byte(text), &got); err != nil {
		t.Fatal(err)
	}
	if got.Token != "a token" || got.Records != 20 || got.Company != "standin" || !strings.HasPrefix(got.Address, "http://127.0.0.1:") {
		t.Errorf("got %+v", got)
	}
}

func TestAStandInThatMakesNoSenseIsWrongUsage(t *testing.T) {
	for name, args := range map[string][]string{
		"no records": {"--records", "-1"}, "no time": {"--scale", "0"}, "half an app": {"--client-id", "app"}, "no token": {"--token", ""},
	} {
		t.Run(name, func(t *testing.T) {
			code, _, errs := command(t, append([]string{"pipedrive", "simulate"}, args...)...)
			if code != exitUsage || !strings.Contains(errs, "hint") {
				t.Errorf("exit code %d\n%s", code, errs)
			}
		})
	}
}
