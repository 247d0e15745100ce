package main

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/pipehook/pipehook/core/config"
	"github.com/pipehook/pipehook/core/pipedrive/shape"
)

const (
	pullAgain   = 5 * time.Minute // how often the definitions may be asked for, which costs tokens of the account's day
	pullAtLeast = 24 * time.Hour  // how often what was of no use is tried again
	mostLacking = 1000            // fields that are remembered
)

// lackingFields are the custom fields that events have and the definitions lack.
type lackingFields struct {
	news chan struct{}

	mu     sync.Mutex
	all    map[lackingField]time.Time // when a pull did not bring it; zero while none was to
	failed int                        // pulls, one after the other
	next   time.Time                  // when the next may be, after those
}

type lackingField struct{ object, key string }

func newLackingFields() lackingFields {
	return lackingFields{news: make(chan struct{}, 1), all: map[lackingField]time.Time{}}
}

// add is told of fields by an event. It does not wait.
func (l *lackingFields) add(object string, keys []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, key := range keys {
		field := lackingField{object, key}
		asked, known := l.all[field]
		if known && vain(asked) {
			continue
		}
		if known || len(l.all) < mostLacking {
			l.all[field] = time.Time{}
		}
		notify(l.news)
	}
}

// vain reports whether a pull did not bring a field, not long ago: it is hidden, deleted, or of an object that
// the credentials do not have.
func vain(asked time.Time) bool { return !asked.IsZero() && time.Since(asked) < pullAtLeast }

// open are the fields that a pull may bring now. What is defined is lacking no more.
func (l *lackingFields) open(f *shape.Fields) (open []lackingField) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for field, asked := range l.all {
		switch _, defined := f.ByKey(field.object, field.key); {
		case defined || !asked.IsZero() && !vain(asked):
			delete(l.all, field)
		case asked.IsZero():
			open = append(open, field)
		}
	}
	if time.Now().Before(l.next) {
		return nil
	}
	return open
}

// pulled notes that a pull was to bring fields, and returns how many it did not.
func (l *lackingFields) pulled(fields []lackingField, f *shape.Fields) (left int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.failed, l.next = 0, time.Time{}
	for _, field := range fields {
		if _, defined := f.ByKey(field.object, field.key); !defined {
			l.all[field] = time.Now()
			left++
		}
	}
	return left
}

// pullFailed returns how long no other pull may be.
func (l *lackingFields) pullFailed() time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	wait := min(pullAgain<<min(l.failed, 10), pullAtLeast)
	l.failed, l.next = l.failed+1, time.Now().Add(wait)
	return wait
}

// pause is how long no other pull may be still.
func (l *lackingFields) pause() time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	return time.Until(l.next)
}

// forget has everything asked for anew.
func (l *lackingFields) forget() {
	l.mu.Lock()
	defer l.mu.Unlock()
	clear(l.all)
	l.failed, l.next = 0, time.Time{}
}

// fieldsKeeper pulls the definitions when an event has a field that they lack. That is never a failure: the event
// goes on without the field's name.
type fieldsKeeper struct {
	conf        func() *config.Config
	open        func(conf *config.Config) (fieldsAPI, error)
	definitions *definitionsFile
	log         *slog.Logger
}

// Run is a service.
func (k *fieldsKeeper) Run(ctx context.Context) error {
	var again <-chan time.Time // a pull that failed may be tried again; no event need come
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-k.definitions.lacking.news:
		case <-again:
		}
		if !k.pull(ctx) {
			continue
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(pullAgain):
		}
		again = time.After(k.definitions.lacking.pause())
	}
}

// pull reports whether it asked.
func (k *fieldsKeeper) pull(ctx context.Context) bool {
	conf, lacking := k.conf(), &k.definitions.lacking
	if !conf.Pipedrive.Connected() {
		return false
	}
	_ = k.definitions.look() // others may have pulled
	fields := lacking.open(k.definitions.known.Load())
	if len(fields) == 0 {
		return false
	}
	var f *shape.Fields
	api, err := k.open(conf)
	if err == nil {
		f, err = pullFields(ctx, api, conf, time.Now(), false)
	}
	field := fields[0].object + "." + fields[0].key
	switch {
	case err != nil && ctx.Err() != nil:
	case err != nil:
		k.log.Warn("events have custom fields that are not defined, and the definitions could not be pulled", "field", field, "again", lacking.pullFailed(), "err", err)
	default:
		k.log.Info("pulled the definitions of Pipedrive's fields, as events have some that were not defined", "field", field)
		if n := lacking.pulled(fields, f); n > 0 {
			k.log.Warn("Pipedrive does not define custom fields that events have: they have no names, and are asked for again in a day", "fields", n)
		}
	}
	return true
}
