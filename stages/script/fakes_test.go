package script_test

import (
	"log/slog"

	"github.com/pipehook/pipehook/core"
)

var silent = slog.New(slog.DiscardHandler)

// source has named the event already.
type source struct{}

func (source) Name(*core.Event) error { return nil }
