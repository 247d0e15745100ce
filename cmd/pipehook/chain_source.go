package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/pipehook/pipehook/core"
	"github.com/pipehook/pipehook/core/config"
	"github.com/pipehook/pipehook/core/effect"
	"github.com/pipehook/pipehook/core/jshost/engine"
	"github.com/pipehook/pipehook/core/source/derived"
	"github.com/pipehook/pipehook/core/source/guest"
	"github.com/pipehook/pipehook/core/source/pipedrive"
	source "github.com/pipehook/pipehook/core/source/script"
	"github.com/pipehook/pipehook/plugins/sdk/wire"
)

// sources are the senders there are, by the name that a pipeline gives, and what makes events of
// itself, which none can give. A pipeline may have a script or a plugin instead.
var sources = map[string]core.Source{"pipedrive": pipedrive.Source{Fields: definitions.fields}, derived.SourceName: derived.Source{}}

// restore names a stored event again.
func restore(ev *core.Event) error { return ev.Restore(nameAgain) }

func nameAgain(ev *core.Event) error {
	source, ok := sources[ev.Source]
	if !ok {
		return fmt.Errorf("there is no source %q any more", ev.Source)
	}
	return source.Name(ev)
}

// sourceOf is the source of a pipeline, and what its events have as their source.
func sourceOf(conf *config.Config, i int, log *slog.Logger, chain *chainDraft) (core.Source, string, error) {
	p, key := conf.Pipelines[i], fmt.Sprintf("pipeline[%d].source", i)
	switch p.Source {
	case config.ScriptSource:
		return scriptSource(conf, i, log, chain)
	case config.PluginSource:
		return pluginSourceOf(conf, i, log, chain)
	}
	found, ok := sources[p.Source]
	if from, is := found.(pipedrive.Source); is {
		from.Unknown = definitions.lacking.add
		from.States = conf.Pipedrive.Connected() // else nothing is ever found that a webhook could tell of too
		return from, p.Source, nil
	}
	if ok && p.Source != derived.SourceName {
		return found, p.Source, nil
	}
	msg := "there is no such source"
	if conf.Shows(key) {
		msg = fmt.Sprintf("there is no source %q", p.Source)
	}
	return nil, p.Source, conf.Mistake(key, msg, "known: pipedrive, and script or plugin for one of your own")
}

func scriptSource(conf *config.Config, i int, log *slog.Logger, chain *chainDraft) (core.Source, string, error) {
	p := conf.Pipelines[i]
	if p.Script == "" {
		return nil, p.Source, nil // that it is required has been said
	}
	o := p.SourceOptions
	s, err := chain.open(chainSpec{kind: engine.Source, path: p.Script}, o.Concurrency, o.AllowHosts, o.Secrets)
	if err != nil {
		return nil, p.Source, conf.Mistake(fmt.Sprintf("pipeline[%d].script", i), err.Error(), "")
	}
	return source.New(source.Options{
		Runner: sourceRunner{s}, Timeout: o.Timeout, Headers: o.Headers, Log: log.With("pipeline", p.Name),
	}), s.Name(), nil
}

func pluginSourceOf(conf *config.Config, i int, log *slog.Logger, chain *chainDraft) (core.Source, string, error) {
	p := conf.Pipelines[i]
	if p.Plugin == "" {
		return nil, p.Source, nil // that it is required has been said
	}
	o, key := p.SourceOptions, fmt.Sprintf("pipeline[%d]", i)
	r, err := chain.plugin(wire.Source, pluginTerms{
		binary: p.Plugin, sha256: o.SHA256, config: o.Config, secrets: o.Secrets, limits: o.Limits, tls: o.TLS, timeout: o.Timeout,
	}, o.Concurrency, pluginPlace{key + ".plugin", key + ".source_options"})
	if err != nil {
		return nil, p.Source, err
	}
	return guest.New(guest.Options{
		Word: "plugin", Runner: pluginSource{r}, Timeout: o.Timeout, Headers: o.Headers, Log: log.With("pipeline", p.Name),
	}), r.Name(), nil
}

// sourceRunner is a chainScript as the source wants it.
type sourceRunner struct{ *chainScript }

// Run implements source.Runner.
func (s sourceRunner) Run(ctx context.Context, ev *core.Event, timeout time.Duration) ([]byte, error) {
	r := s.run(ctx, ev, timeout)
	if msg, ok := threw(r.Err); ok {
		return nil, &source.Thrown{Msg: msg, Err: r.Err}
	}
	return r.Value, r.Err
}

// threw reports whether the script itself threw, and what, as a sender may read it: not because its time
// was over, and not because something that it asked for was not to be had.
func threw(err error) (msg string, ok bool) {
	e, ok := errors.AsType[*engine.ScriptError](err)
	if !ok || e.Stopped || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) || core.KindOf(err) == core.Crashed {
		return "", false
	}
	if _, outside := errors.AsType[*effect.Error](err); outside {
		return "", false
	}
	return strings.TrimPrefix(e.Msg, "Error: "), true
}
