package pipedrive

import (
	"testing"

	"github.com/pipehook/pipehook/core"
)

func TestSealedTextOpensOnlyUnchangedAndWithItsSecret(t *testing.T) {
	seal := func(secret core.Secret, purpose string) *sealer {
		s, err := newSealer(secret, purpose)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	one := seal("one", "tokens")
	text := one.seal([]byte("plain"))
	if plain, err := one.open(text); err != nil || string(plain) != "plain" {
		t.Fatalf("got %q, %v", plain, err)
	}
	for i := range text {
		changed := append([]byte(nil), text...)
		changed[i] ^= 1
		if _, err := one.open(changed); err == nil {
			t.Fatalf("it opens with byte %d changed", i)
		}
	}
	for _, other := range []*sealer{seal("two", "tokens"), seal("one", "other")} {
		if _, err := other.open(text); err == nil {
			t.Error("another key opens it")
		}
	}
	if _, err := newSealer("", "tokens"); err == nil {
		t.Error("it seals without a secret")
	}
}
