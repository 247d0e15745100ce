package store

import (
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestAPasswordThatIsNotEncodedIsRefusedAndNeverShown(t *testing.T) {
	for _, password := range []string{"12/34s3cret", "s3cret?x", "12?s3cret", "12#s3cret", "a@b/s3cret", "a@b/c?s3cret", "s3cret%", "a@b?s3cret#"} {
		for _, raw := range []string{
			"postgres://pipe:" + password + "@127.0.0.1:1/db?sslmode=disable",
			"postgresql://pipe:" + password + "@127.0.0.1/db",
		} {
			err := Check(raw)
			if err == nil {
				t.Errorf("%q is taken", raw)
				continue
			}
			if strings.Contains(err.Error(), "s3cret") || !strings.Contains(err.Error(), "percent-encode @ / ? # and % in the password") {
				t.Errorf("of %q it says: %v", raw, err)
			}
		}
	}
	for _, good := range []string{"postgres://pipe:12%2F34%40@127.0.0.1:1/db?sslmode=disable", "postgres://pipe@127.0.0.1/db", "sqlite:a@b.db"} {
		if err := Check(good); err != nil {
			t.Errorf("%q: %v", good, err)
		}
	}
}

func TestASQLiteFileIsForItsOwnerAlone(t *testing.T) {
	path := filepath.Join(t.TempDir(), "data", "pipehook.db")
	s, err := Open(t.Context(), Options{URL: "sqlite:" + path, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	for _, name := range []string{path, path + "-wal", path + "-shm"} {
		info, err := os.Stat(name)
		if err != nil {
			t.Fatal(err)
		}
		if mode := info.Mode().Perm(); mode != 0o600 {
			t.Errorf("%s has mode %o", name, mode)
		}
	}
}
