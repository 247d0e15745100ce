package config_test

import (
	"errors"
	"flag"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pipehook/pipehook/core"
	"github.com/pipehook/pipehook/core/config"
)

var update = flag.Bool("update", false, "write what the files in testdata give now")

const canary = "canary-value"

// probe is a stage's Config with a field of every sort.
type probe struct {
	Window time.Duration     `koanf:"window" validate:"gt=0"`
	Basic  *probeBasic       `koanf:"basic"`
	Allow  []netip.Prefix    `koanf:"allow"`
	Level  slog.Level        `koanf:"level"`
	Small  uint8             `koanf:"small"`
	Ratio  float64           `koanf:"ratio" validate:"lte=1"`
	Rules  []probeRule       `koanf:"rules" validate:"dive"`
	Schema map[string]string `koanf:"schema"`
	Free   map[string]any    `koanf:"free"`
	Kinds  []core.Pattern    `koanf:"kinds"`
	Limit  config.Size       `koanf:"limit" validate:"lte=1024"`
}

type probeBasic struct {
	Username string      `koanf:"username" validate:"required"`
	Password core.Secret `koanf:"password"`
	Tries    int         `koanf:"tries"`
}

type probeRule struct {
	Field string `koanf:"field" validate:"required"`
}

// allMistakes is what Load says and then each stage, as the program would ask them.
func allMistakes(o config.Options) string {
	conf, err := config.Load(o)
	if conf == nil {
		return err.Error()
	}
	all, _ := errors.AsType[config.Mistakes](err)
	for _, p := range conf.Pipelines {
		for _, s := range p.Stages {
			if s.Use == "probe" {
				all = conf.Collect(all, s.Key, s.Decode(&probe{Window: time.Hour}))
			}
		}
	}
	if err := all.Err(); err != nil {
		return err.Error()
	}
	return "no mistakes"
}

func TestEachFileGivesItsMistakes(t *testing.T) {
	files, err := filepath.Glob("testdata/*.toml")
	if err != nil || len(files) == 0 {
		t.Fatalf("%d files (%v)", len(files), err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			got := allMistakes(config.Options{
				Path: filepath.Base(file), Text: text, Environ: []string{"CANARY=" + canary, "RETENTION=" + canary},
			}) + "\n"
			if strings.Contains(got, canary) {
				t.Errorf("a secret shows:\n%s", got)
			}
			golden := strings.TrimSuffix(file, ".toml") + ".want"
			if *update {
				if err := os.WriteFile(golden, []byte(got), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if got != string(want) {
				t.Errorf("got\n%s\nwant\n%s", got, want)
			}
		})
	}
}
