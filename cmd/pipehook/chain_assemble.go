package main

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"slices"
	"strings"

	"github.com/pipehook/pipehook/core"
	"github.com/pipehook/pipehook/core/config"
	"github.com/pipehook/pipehook/core/ingress"
	"github.com/pipehook/pipehook/core/store"
	"github.com/pipehook/pipehook/core/strict"
	"github.com/pipehook/pipehook/stages"
)

// assemble builds every pipeline that the configuration describes, with scripts and plugins from the
// draft. It collects all mistakes.
func assemble(conf *config.Config, deps stages.Deps, chain *chainDraft) ([]ingress.Hook, error) {
	deps.OpenScript, deps.OpenPlugin = chain.openStage, chain.openPlugin
	deps.LongestGuest, deps.PluginLimits = conf.LongestGuest(), conf.Plugins.Limits
	registry, err := core.NewRegistry(stages.All(deps)...)
	if err != nil {
		return nil, err
	}
	var mistakes config.Mistakes
	mistakes = conf.Collect(mistakes, "store.url", store.Check(string(conf.Store.URL)))
	mistakes = append(mistakes, checkAdmin(conf)...)
	mistakes = append(mistakes, checkHosts(conf)...)
	mistakes = append(mistakes, checkTables(conf)...)
	mistakes = append(mistakes, checkWebhooks(conf)...)
	var hooks []ingress.Hook
	for i, p := range conf.Pipelines {
		source, name, err := sourceOf(conf, i, deps.Log, chain)
		mistakes = conf.Collect(mistakes, fmt.Sprintf("pipeline[%d].source", i), err)
		steps, wrong := assembleChain(conf, registry, p, source, chain)
		mistakes = append(mistakes, wrong...)
		hooks = append(hooks, ingress.Hook{Path: p.Path, Source: name, Types: p.SourceOptions.ContentTypes, Pipeline: &core.Pipeline{
			Name: p.Name, Source: source, Steps: steps, Committer: deps.Committer, Log: deps.Log,
		}})
	}
	if err := mistakes.Err(); err != nil {
		return nil, &usageError{err: err}
	}
	return hooks, nil
}

func assembleChain(conf *config.Config, registry core.Registry, p config.Pipeline, source core.Source, chain *chainDraft) ([]core.Step, config.Mistakes) {
	var mistakes config.Mistakes
	var steps []core.Step
	kinds := kindsOf(p)
	for i, s := range p.Stages {
		if s.Use == "" {
			continue // that it is required has been said
		}
		if !slices.Contains(registry.Kinds(), s.Use) && !conf.Shows(s.Key+".use") {
			mistakes = append(mistakes, conf.Mistake(s.Key, "use names no kind of stage; there are "+strings.Join(registry.Kinds(), ", "), ""))
			continue
		}
		at := core.Place{Pipeline: p.Name, Source: source, Kinds: kinds, Index: i}
		chain.stage = s.Key
		stage, err := registry.New(s.Decode, at)
		mistakes = collectStage(conf, mistakes, s.Key, err)
		name := s.Use
		if own, ok := stage.(fmt.Stringer); ok { // there may be several of its kind
			name = own.String()
		}
		steps = append(steps, core.Step{Name: name, Stage: stage})
	}
	return steps, mistakes
}

// collectStage adds the mistakes of a stage's table.
func collectStage(conf *config.Config, mistakes config.Mistakes, key string, err error) config.Mistakes {
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		for _, one := range joined.Unwrap() {
			mistakes = collectStage(conf, mistakes, key, one)
		}
		return mistakes
	}
	if own, ok := errors.AsType[*stageMistakes](err); ok {
		return append(mistakes, own.at(conf, key)...)
	}
	return conf.Collect(mistakes, key, err)
}

func kindsOf(p config.Pipeline) []string {
	kinds := make([]string, len(p.Stages))
	for i, s := range p.Stages {
		kinds[i] = s.Use
	}
	return kinds
}

func checkAdmin(conf *config.Config) config.Mistakes {
	if conf.Admin.Listen == "" || conf.Admin.Token != "" || loopback(conf.Admin.Listen) {
		return nil
	}
	return config.Mistakes{conf.Mistake("admin.token", "is required when admin.listen can be reached from other machines",
		"set a long random one, or listen on 127.0.0.1")}
}

// warnings are what is allowed and may be meant, but weakens something.
func warnings(conf *config.Config) []string {
	all := append(costs(conf), missingFolder(conf)...)
	all = append(all, idleEchoes(conf)...)
	all = append(all, strangeWebhooks(conf)...)
	all = append(all, signedByNobody(conf)...)
	for _, l := range conf.Listeners {
		all = append(all, strangeActions(l.Name, l.Match)...)
	}
	return all
}

// strangeActions warns of patterns whose action no sender is known to use: most are a slip, and a
// listener that is never called says nothing of it.
func strangeActions(listener string, match []core.Pattern) (all []string) {
	for _, p := range match {
		if !p.KnownAction() {
			all = append(all, fmt.Sprintf("listener %s: match %s: %s is no known action; %s", listener, p, p.Action(), strict.Suggest(p.Action(), core.Actions())))
		}
	}
	return all
}

// missingFolder warns of a scripts folder that was asked for and is not there: none of its listeners
// is. The folder that is looked in by default need not be.
func missingFolder(conf *config.Config) []string {
	asked := conf.Mistake("scripts.dir", "", "")
	if conf.Scripts.Dir == "" || asked.Line == 0 && asked.File == conf.Path {
		return nil
	}
	dir := beside(conf, conf.Scripts.Dir)
	if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return []string{"scripts.dir: there is no folder " + dir + ", so none of its listeners is there"}
}

// costs is what the order of each chain weakens, by pipeline, one sentence each.
func costs(conf *config.Config) []string {
	var all []string
	for _, p := range conf.Pipelines {
		for _, cost := range orderCosts(kindsOf(p)) {
			all = append(all, "pipeline "+p.Name+": "+cost)
		}
		kinds := kindsOf(p)
		if c := chain(kinds); p.OwnSource() && slices.Index(kinds, "authenticate") > 0 && !c.late("authenticate", p.Source) {
			all = append(all, fmt.Sprintf("pipeline %s: the source is a %s and authenticate is not the first stage: a stranger's body runs through your %[2]s", p.Name, p.Source))
		}
	}
	return all
}

// bareDeps are enough to build chains that are not run.
func bareDeps(conf *config.Config) stages.Deps {
	return stages.Deps{
		Log: slog.New(slog.DiscardHandler), Resolve: func(path string) string { return beside(conf, path) },
		AuthenticationFailed: func(string, string, string) {},
	}
}
