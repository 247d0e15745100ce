package main

import (
	"net/netip"
	"slices"

	"github.com/pipehook/pipehook/core"
	"github.com/pipehook/pipehook/core/config"
	"github.com/pipehook/pipehook/core/jshost"
	"github.com/pipehook/pipehook/core/jshost/engine"
)

// terms are on what a script is run, as far as the configuration says.
type terms struct {
	isolated     bool
	memory       int64
	size         int // calls at a time
	allowHosts   []string
	allowPrivate []netip.Prefix
	secrets      map[string]string
}

// termsOf joins what holds for all scripts with what one of them has besides.
func termsOf(conf *config.Config, size int, allowHosts []string, secrets map[string]core.Secret) terms {
	return terms{
		isolated: isolated(conf), memory: int64(conf.Scripts.Memory), size: size,
		allowHosts:   slices.Concat(conf.Scripts.AllowHosts, allowHosts),
		allowPrivate: conf.Scripts.AllowPrivate, secrets: granted(conf, secrets),
	}
}

// isolated reports whether scripts run in processes of their own.
func isolated(conf *config.Config) bool { return conf.Scripts.Isolation == "process" }

// runningScript is a script with what it reaches the outside through.
type runningScript struct {
	*jshost.Script
	host *scriptHost
}

// role is what a script is there for.
type role struct {
	name   string // what it is called, and remembers things under
	steady bool   // somebody waits for each of its calls
	emits  bool   // what it handles is stored
}

// start runs code on the terms.
func (e *effects) start(code engine.Code, r role, t terms, opts jshost.Options) (*runningScript, error) {
	host, err := e.host(hostSpec{name: r.name, allowHosts: t.allowHosts, allowPrivate: t.allowPrivate, emits: r.emits})
	if err != nil {
		return nil, err
	}
	s, err := jshost.NewScript(code, jshost.Setup{
		Name: r.name, Size: t.size, Isolated: t.isolated, Memory: t.memory, Steady: r.steady, Host: host, Secrets: t.secrets,
	}, opts)
	if err != nil {
		host.Close()
		return nil, err
	}
	return &runningScript{s, host}, nil
}

// Close waits for the calls that run.
func (s *runningScript) Close() {
	s.Script.Close()
	s.host.Close()
}
