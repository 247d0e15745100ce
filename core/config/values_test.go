package config_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/pipehook/pipehook/core/config"
)

func TestDurationsMayHaveDays(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"30d": 720 * time.Hour, "1d12h": 36 * time.Hour, "90s": 90 * time.Second, "1h30m": 90 * time.Minute, "0s": 0, "0d": 0, "1d0s": 24 * time.Hour,
	} {
		conf, err := load(fmt.Sprintf("[store]\nretention = %q\n", text))
		if err != nil || conf.Store.Retention != want {
			t.Errorf("%s: %v, want %v", text, err, want)
		}
	}
	for _, text := range []string{"", "d", "5", "1.5d", "-1d", "1d-25h", "1d1d", "12h1d", "99999999d", "65535d2500000h", "1 d", "1w"} {
		if _, err := load(fmt.Sprintf("[store]\nretention = %q\n", text)); err == nil || !strings.Contains(err.Error(), "is not a duration such as") {
			t.Errorf("%q: error %v", text, err)
		}
	}
}

func TestSizesPrintAsTheyAreWritten(t *testing.T) {
	for text, bytes := range map[string]config.Size{"1MiB": 1 << 20, "512KiB": 512 << 10, "3B": 3, "1GiB": 1 << 30} {
		var s config.Size
		if err := s.UnmarshalText([]byte(text)); err != nil || s != bytes || s.String() != text {
			t.Errorf("%s: %d %s (%v)", text, s, s, err)
		}
	}
	for text, bytes := range map[string]config.Size{"10MB": 10_000_000, "10 kB": 10_000, "7": 7} {
		var s config.Size
		if err := s.UnmarshalText([]byte(text)); err != nil || s != bytes {
			t.Errorf("%s: %d (%v)", text, s, err)
		}
	}
	for _, text := range []string{"", "MiB", "-1", "1.5MiB", "1TiB", "99999999999GiB", "1mib"} {
		var s config.Size
		if err := s.UnmarshalText([]byte(text)); err == nil {
			t.Errorf("%q is %d", text, s)
		}
	}
}

func TestAnAddressIsAHostAndAPort(t *testing.T) {
	for _, listen := range []string{"127.0.0.1:8080", ":8080", "[::1]:8080", "[::]:0", "localhost:0", "a.example.com:65535", "[fe80::1%eth0]:80"} {
		if _, err := load(fmt.Sprintf("[server]\nlisten = %q\n", listen)); err != nil {
			t.Errorf("%s: %v", listen, err)
		}
	}
	for _, listen := range []string{"8080", "localhost", "::1:8080", "a b:80", "localhost:http", "localhost:65536", "localhost:", "-a:80", "localhost:-1", "http://localhost:80"} {
		if _, err := load(fmt.Sprintf("[server]\nlisten = %q\n", listen)); err == nil || !strings.Contains(err.Error(), "must be HOST:PORT") {
			t.Errorf("%s: error %v", listen, err)
		}
	}
}

func TestAPathIsPlain(t *testing.T) {
	for path, good := range map[string]bool{
		"/hook": true, "/a/b-c_d.v2~": true, "/healthy": true, "/health": false, "/a/health": false, "": false, "/": false, "hook": false,
		"/a/": false, "/a//b": false, "/a/../b": false, "/a/.": false, "/..": false, "/a b": false, "/a?b": false, "/{id}": false, "/ä": false,
	} {
		_, err := load(fmt.Sprintf("[[pipeline]]\nname = \"a\"\npath = %q\nsource = \"x\"\nstage = [{ use = \"persist\" }]\n", path))
		if good != (err == nil) {
			t.Errorf("%s: error %v", path, err)
		}
	}
}

func TestAFileMayBeginWithAByteOrderMark(t *testing.T) {
	_, err := load("\ufeff[log]\nlevel = \"loud\"\n")
	if err == nil || !strings.HasPrefix(err.Error(), "pipeline.toml:2:1: log.level: ") {
		t.Errorf("error %v", err)
	}
}

func TestAKeyInAMistakeStaysOnItsLine(t *testing.T) {
	_, err := load("[admin]\n\"a\\nb\" = 1\n\"\" = 2\n")
	want := "pipeline.toml:2:1: admin.\"a\\nb\": unknown key; known here: listen, token\npipeline.toml:3:1: admin.\"\": unknown key; known here: listen, token"
	if err == nil || err.Error() != want {
		t.Errorf("got\n%v\nwant\n%s", err, want)
	}
}
