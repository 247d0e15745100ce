package store

import (
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
