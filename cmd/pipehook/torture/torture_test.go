package main

import (
	"math/rand/v2"
	"os"
	"strings"
	"testing"

	"github.com/pipehook/pipehook/cmd/pipehook/internal/program"
)

func TestALittleOfEverything(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes a minute")
	}
	var out strings.Builder
	failed, err := run(t.Context(), &out, options{
		seed: rand.Uint64(), stores: "both", rate: 200, replicas: 3, short: true, postgres: os.Getenv(program.PostgresEnv),
	})
	t.Log("\n" + out.String())
	if err != nil {
		t.Fatal(err)
	}
	if failed {
		t.Error("a row failed")
	}
}
