package core

import "log/slog"

const redacted = "[redacted]"

// Secret is text that never shows: every way of printing or encoding it gives "[redacted]".
// Convert it to a string only where it is used.
type Secret string

func (s Secret) String() string               { return redacted }
func (s Secret) GoString() string             { return redacted }
func (s Secret) MarshalText() ([]byte, error) { return []byte(redacted), nil }
func (s Secret) LogValue() slog.Value         { return slog.StringValue(redacted) }
