package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"github.com/pipehook/pipehook/cmd/pipehook/internal/program"
)

var block = regexp.MustCompile("(?s)```([a-z]+)\n(.*?)```")

// The first section of the page about plugins is typed as it stands, by a stranger in an empty folder.
func TestThePageAboutPluginsLeadsFromAnEmptyFolderToOneThatWorks(t *testing.T) {
	_, walk, _ := strings.Cut(page(t, "docs/plugins.md"), "## From an empty folder")
	walk, _, _ = strings.Cut(walk, "\n## ")
	p := &project{dir: filepath.Join(t.TempDir(), "shop"), hooks: program.FreeAddress(), admin: program.FreeAddress()}
	p.config = filepath.Join(p.dir, "pipeline.toml")
	bin := t.TempDir()
	if err := os.Symlink(buildBinary(t), filepath.Join(bin, "pipehook")); err != nil {
		t.Fatal(err)
	}
	for name, value := range map[string]string{"PATH": bin + ":" + os.Getenv("PATH"), "PIPEHOOK_SERVER__LISTEN": p.hooks, "PIPEHOOK_ADMIN__LISTEN": p.admin} {
		t.Setenv(name, value)
	}
	t.Chdir(filepath.Dir(p.dir))
	var build string
	var dev *process
	for _, m := range block.FindAllStringSubmatch(walk, -1) {
		switch language, text := m[1], strings.TrimSpace(m[2]); {
		case language == "sh" && text == "pipehook dev":
			dev = launch(t, p, exec.Command("pipehook", "dev"))
		case language == "sh":
			shell(t, "set -e\n"+text)
			if strings.Contains(text, "cd shop") {
				t.Chdir(p.dir)
			}
			for line := range strings.Lines(text) {
				if strings.Contains(line, "build") {
					build = line
				}
			}
		case language == "toml":
			p.write(t, "pipeline.toml", readFile(t, p.config)+"\n"+text+"\n")
		case language == "go":
			if written := readFile(t, "plugins/deal-audit/main.go"); strings.TrimSpace(written) != text {
				t.Errorf("the page shows another plugin than plugin new writes:\n%s", written)
			}
		}
	}
	eventually(t, "the plugin has greeted the event", func() bool { return strings.Contains(dev.text(t), "deal-audit: good morning  object=8") })

	if text := readFile(t, ".gitignore"); !strings.Contains(text, "\nplugins/bin/\n") {
		t.Errorf("what was built would be kept with the source: %s", text)
	}
	edit(t, "plugins/deal-audit/main.go", "(ctx, l.Greeting,", `(ctx, l.Greeting+" to you",`)
	shell(t, build)
	eventually(t, "what was built again has taken over", func() bool {
		shell(t, "pipehook trigger updated.deal")
		return strings.Contains(dev.text(t), "deal-audit: good morning to you")
	})
	dev.signal(t, dev.cmd.Process.Pid, syscall.SIGTERM)
	<-dev.exit
}
