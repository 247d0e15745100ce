//go:build unix

package worker_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// The generated code is that of message.proto, for the generator that go.mod pins.
func TestTheGeneratedCodeIsCurrent(t *testing.T) {
	if _, err := exec.LookPath("protoc"); err != nil {
		t.Skip("there is no protoc here (Debian: protobuf-compiler), so whether the generated code is current was NOT checked")
	}
	dir := t.TempDir()
	if out, err := exec.Command("./generate", dir).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	name := filepath.Join("message", "message.pb.go")
	want, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(withoutProtoc(got), withoutProtoc(want)) {
		t.Errorf("%s is not what message.proto gives: run go generate ./core/jshost/worker", name)
	}
}

// withoutProtoc leaves out the line that names protoc, which every system has in another version.
func withoutProtoc(text []byte) []byte {
	var kept []byte
	for line := range bytes.Lines(text) {
		if !bytes.HasPrefix(line, []byte("//")) || !bytes.Contains(line, []byte(" protoc  ")) {
			kept = append(kept, line...)
		}
	}
	return kept
}
