package main

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/pipehook/pipehook/core/config"
	"github.com/pipehook/pipehook/core/pipedrive/shape"
)

// fieldsAPI tells the definitions of an account's fields.
type fieldsAPI interface {
	Fields(ctx context.Context, urgent bool) (*shape.Fields, error)
}

// pullFields asks for the definitions and writes them into the configuration's file. Names that the file
// has stay.
func pullFields(ctx context.Context, api fieldsAPI, conf *config.Config, now time.Time, urgent bool) (*shape.Fields, error) {
	path := beside(conf, conf.Pipedrive.Fields)
	if err := definable(path); err != nil { // before tokens are spent
		return nil, &hinted{fmt.Errorf("the definitions can't be written: %w", err), "name a file that pipehook may write to with pipedrive.fields"}
	}
	f, err := api.Fields(ctx, urgent)
	if err != nil {
		return nil, err
	}
	if text, err := os.ReadFile(path); err == nil {
		if old, err := shape.ParseFields(text); err == nil { // one that can't be read has no names to keep
			f = f.Keep(old)
		}
	}
	f = f.PulledAt(now)
	return f, writeDefinitions(path, f)
}
