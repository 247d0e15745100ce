package main

import (
	"context"
	"log/slog"
	"os"
	"time"

	"github.com/pipehook/pipehook/core/config"
	"github.com/pipehook/pipehook/core/pipedrive/shape"
)

// fieldsAPI tells the definitions of an account's fields.
type fieldsAPI interface {
	Fields(ctx context.Context) (*shape.Fields, error)
}

// pullFields asks for the definitions and writes them into the configuration's file. Names that the file
// has stay.
func pullFields(ctx context.Context, api fieldsAPI, conf *config.Config, now time.Time) (*shape.Fields, error) {
	f, err := api.Fields(ctx)
	if err != nil {
		return nil, err
	}
	path := beside(conf, conf.Pipedrive.Fields)
	if text, err := os.ReadFile(path); err == nil {
		if old, err := shape.ParseFields(text); err == nil { // one that can't be read has no names to keep
			f = f.Keep(old)
		}
	}
	f = f.PulledAt(now)
	return f, writeDefinitions(path, f)
}

// pullAgain is how often an unknown field may have the definitions asked for anew: it may stay unknown.
const pullAgain = 5 * time.Minute

// fieldsKeeper pulls the definitions when an event has a field that they lack. That is never a failure: the event
// goes on without the field's name.
type fieldsKeeper struct {
	conf    func() *config.Config
	open    func(conf *config.Config) (fieldsAPI, error)
	unknown <-chan string
	log     *slog.Logger
	again   time.Duration
}

// Run is a service.
func (k *fieldsKeeper) Run(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case field := <-k.unknown:
			k.pull(ctx, field)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(k.again):
		}
	}
}

func (k *fieldsKeeper) pull(ctx context.Context, field string) {
	conf := k.conf()
	if !conf.Pipedrive.Connected() {
		return
	}
	api, err := k.open(conf)
	if err == nil {
		_, err = pullFields(ctx, api, conf, time.Now())
	}
	if err != nil && ctx.Err() == nil {
		k.log.Warn("an event has a custom field that is not defined, and the definitions could not be pulled", "field", field, "err", err)
		return
	}
	k.log.Info("pulled the definitions of Pipedrive's fields, as an event has one that was not defined", "field", field)
}
