package core

import (
	"encoding/json"
	"log/slog"
	"slices"
	"strings"
)

const redacted = "[redacted]"

// Secret is text that never shows: every way of printing or encoding it gives "[redacted]".
// Convert it to a string only where it is used.
type Secret string

func (s Secret) String() string               { return redacted }
func (s Secret) GoString() string             { return redacted }
func (s Secret) MarshalText() ([]byte, error) { return []byte(redacted), nil }
func (s Secret) LogValue() slog.Value         { return slog.StringValue(redacted) }

// leastSecret is how long a secret is that is taken out of texts: "1" would be everywhere.
const leastSecret = 4

// Redactor takes secrets out of what people will read, also as they stand in JSON. A nil one has none.
type Redactor struct{ replacer *strings.Replacer }

// NewRedactor makes a Redactor of the secrets that somebody was granted, by name.
func NewRedactor(secrets map[string]string) *Redactor {
	var hidden []string
	for _, value := range secrets {
		if len(value) < leastSecret {
			continue
		}
		hidden = append(hidden, value)
		if quoted, err := json.Marshal(value); err == nil { // inside an object that is logged
			hidden = append(hidden, string(quoted[1:len(quoted)-1]))
		}
	}
	if hidden == nil {
		return nil
	}
	slices.SortFunc(hidden, func(a, b string) int { return len(b) - len(a) }) // one may be part of another
	var pairs []string
	for _, text := range hidden {
		pairs = append(pairs, text, redacted)
	}
	return &Redactor{strings.NewReplacer(pairs...)}
}

// Redact is the text without the secrets.
func (r *Redactor) Redact(text string) string {
	if r == nil {
		return text
	}
	return r.replacer.Replace(text)
}
