// Package config reads pipehook's TOML file with its layers around it, checks all of it, and
// reports every mistake at once with its place. It hands each stage the means to decode its own
// table and knows none of them.
package config

import (
	"net/netip"
	"slices"
	"time"

	"github.com/pipehook/pipehook/core"
)

// Config is a checked configuration.
type Config struct {
	Path      string
	Server    Server
	Store     Store
	Admin     Admin
	Log       Log
	Scripts   Scripts
	Plugins   Plugins
	Spool     Spool
	Pipedrive Pipedrive
	Pipelines []Pipeline
	Listeners []Listener

	doc *document
}

// Server is the front door.
type Server struct {
	Listen         string         `koanf:"listen" validate:"required,address"`
	MaxBody        Size           `koanf:"max_body" validate:"gt=0,lte=67108864"`
	AckWithin      time.Duration  `koanf:"ack_within" validate:"gt=0,lte=14s"`
	ShutdownGrace  time.Duration  `koanf:"shutdown_grace" validate:"gt=0"`
	TrustedProxies []netip.Prefix `koanf:"trusted_proxies"`
}

// Store is where events are kept. The URL may hold a password.
type Store struct {
	URL       core.Secret   `koanf:"url" validate:"required"`
	Retention time.Duration `koanf:"retention" validate:"gte=0"`

	MaxSize    Size  `koanf:"max_size" validate:"gte=0"`
	MaxPending int64 `koanf:"max_pending" validate:"gte=0"`
}

// Admin is the listener for operators; an empty Listen turns it off.
type Admin struct {
	Listen string      `koanf:"listen" validate:"omitempty,address"`
	Token  core.Secret `koanf:"token"`
}

// Log says what is logged, and how.
type Log struct {
	Level  string `koanf:"level" validate:"oneof=debug info warn error"`
	Format string `koanf:"format" validate:"oneof=auto text json"`
	File   string `koanf:"file"`
}

// Scripts is the folder of handler files, and what all scripts may do.
type Scripts struct {
	Dir          string                 `koanf:"dir"`
	Isolation    string                 `koanf:"isolation" validate:"oneof=process none"`
	Memory       Size                   `koanf:"memory" validate:"gte=33554432"` // of one script's process
	AllowHosts   []string               `koanf:"allow_hosts" validate:"dive,required"`
	AllowPrivate []netip.Prefix         `koanf:"allow_private"`
	Secrets      map[string]core.Secret `koanf:"secrets"`
}

// Plugins is the folder of compiled plugins, and what the process of each may take that has no limits
// of its own.
type Plugins struct {
	Dir    string             `koanf:"dir"`
	Limits core.ProgramLimits `koanf:"limits"`
}

// Spool is the folder on this machine that belongs to the processes: each has a place of its own in
// it, with what must outlive it and can't be in the store. Events wait there when the store takes
// longer than After.
type Spool struct {
	Dir     string        `koanf:"dir" validate:"required"`
	After   time.Duration `koanf:"after" validate:"gt=0"`
	MaxSize Size          `koanf:"max_size" validate:"min=1048576"`
}

// Pipeline is one endpoint and its chain.
type Pipeline struct {
	Name   string  `koanf:"name" validate:"required,name"`
	Path   string  `koanf:"path" validate:"required,path"`
	Source string  `koanf:"source" validate:"required"`
	Script string  `koanf:"script"` // the file of a Source that is a script
	Plugin string  `koanf:"plugin"` // of one that is a plugin: a binary in Plugins.Dir, or a path
	Stages []Stage `koanf:"-"`

	SourceOptions SourceOptions `koanf:"source_options"`
}

// The Sources of pipelines whose Script or Plugin says what a request is.
const (
	ScriptSource = "script"
	PluginSource = "plugin"
)

// OwnSource reports whether the user's code says what a request is.
func (p *Pipeline) OwnSource() bool { return p.Source == ScriptSource || p.Source == PluginSource }

// SourceOptions are for a source that is a script or a plugin.
type SourceOptions struct {
	Timeout     time.Duration          `koanf:"timeout" validate:"gt=0"`
	Concurrency int                    `koanf:"concurrency" validate:"gte=1,lte=1024"`
	Headers     []string               `koanf:"headers" validate:"dive,required"` // shown to it although they may be credentials
	AllowHosts  []string               `koanf:"allow_hosts" validate:"dive,required"`
	Secrets     map[string]core.Secret `koanf:"secrets"`

	ContentTypes []string `koanf:"content_types"` // that it reads besides JSON

	// These are for a plugin.
	SHA256 string             `koanf:"sha256" validate:"omitempty,len=64,hexadecimal"`
	Config map[string]any     `koanf:"config"`
	Limits core.ProgramLimits `koanf:"limits"`
	TLS    string             `koanf:"tls" validate:"oneof=auto off"`
}

// Stage is one step of a chain, in the file's order.
type Stage struct {
	Use    string
	Key    string // its place in the file, such as pipeline[0].stage[2]
	Decode core.Decode
}

// Listener is a subscription that the file names.
type Listener struct {
	Name        string             `koanf:"name" validate:"required,name"`
	Match       []core.Pattern     `koanf:"match" validate:"omitempty,min=1"`
	Changed     []string           `koanf:"changed" validate:"dive,required"`
	Where       core.Where         `koanf:"where"`
	Script      string             `koanf:"script"`
	Plugin      string             `koanf:"plugin"` // a binary in Plugins.Dir, or a path
	Use         string             `koanf:"use" validate:"omitempty,oneof=pipedrive_sync"`
	SHA256      string             `koanf:"sha256" validate:"omitempty,len=64,hexadecimal"`
	Config      map[string]any     `koanf:"config"` // is the plugin's own
	Limits      core.ProgramLimits `koanf:"limits"` // of the plugin's process
	TLS         string             `koanf:"tls" validate:"oneof=auto off"`
	Timeout     time.Duration      `koanf:"timeout" validate:"gt=0"`
	Retry       Retry              `koanf:"retry"`
	Concurrency int                `koanf:"concurrency" validate:"gte=1,lte=1024"`
	Order       string             `koanf:"order" validate:"oneof=record none"`
	OnFailure   string             `koanf:"on_failure" validate:"oneof=block skip"`
	Stale       string             `koanf:"stale" validate:"oneof=keep drop"`
	Coalesce    Coalesce           `koanf:"coalesce"`
	Breaker     Breaker            `koanf:"breaker"`

	AllowHosts []string               `koanf:"allow_hosts" validate:"dive,required"` // of the script, besides those of all
	Secrets    map[string]core.Secret `koanf:"secrets"`                              // of the script, besides those of all, or of the plugin
}

// PipedriveSyncListener is the listener that is built in: it keeps the local tables of Pipedrive's records.
const PipedriveSyncListener = "pipedrive_sync"

// IsScript reports whether a script handles the listener's events, and not a plugin or pipehook itself.
func (l *Listener) IsScript() bool { return l.Plugin == "" && l.Use == "" }

// Coalesce gathers what comes for one record into one attempt; without Quiet it does not.
type Coalesce struct {
	Quiet time.Duration `koanf:"quiet" validate:"gte=0"`
	Max   time.Duration `koanf:"max" validate:"gtefield=Quiet"`
}

// Breaker leaves a listener alone for a while when so many deliveries in a row have failed; with 0
// failures it never does.
type Breaker struct {
	Failures int           `koanf:"failures" validate:"gte=0,lte=1000"`
	Pause    time.Duration `koanf:"pause" validate:"gt=0"`
}

// Retry is when a delivery that failed is attempted again.
type Retry struct {
	Attempts int           `koanf:"attempts" validate:"gte=1,lte=1000"`
	First    time.Duration `koanf:"first" validate:"gt=0"`
	Max      time.Duration `koanf:"max" validate:"gtefield=First"`
}

// plain are the tables that every layer can set.
type plain struct {
	Server  Server  `koanf:"server"`
	Store   Store   `koanf:"store"`
	Admin   Admin   `koanf:"admin"`
	Log     Log     `koanf:"log"`
	Scripts Scripts `koanf:"scripts"`
	Plugins Plugins `koanf:"plugins"`
	Spool   Spool   `koanf:"spool"`

	Pipedrive Pipedrive `koanf:"pipedrive"`
}

func defaults() plain {
	return plain{
		Server: Server{
			Listen: "127.0.0.1:8080", MaxBody: 1 << 20, AckWithin: 8 * time.Second, ShutdownGrace: 10 * time.Second,
		},
		Store:   Store{URL: "sqlite:pipehook.db", Retention: 30 * 24 * time.Hour, MaxPending: 10_000_000},
		Admin:   Admin{Listen: "127.0.0.1:8081"},
		Log:     Log{Level: "info", Format: "auto"},
		Scripts: Scripts{Dir: "scripts", Isolation: "process", Memory: 128 << 20},
		Plugins: Plugins{Dir: "plugins/bin", Limits: core.ProgramLimits{Memory: 512 << 20, OpenFiles: 1024}},
		Spool:   Spool{Dir: "pipehook.spool", After: time.Second, MaxSize: 1 << 30},

		Pipedrive: pipedriveDefaults(),
	}
}

// PipelineDefaults is a pipeline as it is when the file says nothing about it.
func PipelineDefaults() Pipeline {
	return Pipeline{SourceOptions: SourceOptions{
		Timeout: 500 * time.Millisecond, Concurrency: 8, Limits: defaults().Plugins.Limits, TLS: "auto",
	}}
}

// LongestGuest is how long a script or a plugin in a chain may take at most, while the sender waits.
func (c *Config) LongestGuest() time.Duration { return c.Server.AckWithin / 4 }

// ListenerDefaults is a listener as it is when the file says nothing about it.
func ListenerDefaults() Listener {
	return Listener{
		Limits:      defaults().Plugins.Limits,
		TLS:         "auto",
		Timeout:     5 * time.Second,
		Retry:       Retry{Attempts: 8, First: 2 * time.Second, Max: time.Hour},
		Concurrency: 4,
		Order:       "record",
		OnFailure:   "block",
		Stale:       "keep",
		Coalesce:    Coalesce{Max: 5 * time.Minute},
		Breaker:     Breaker{Failures: 20, Pause: 30 * time.Second},
	}
}

// Mistake makes a mistake at a key's place, for what only others can check.
func (c *Config) Mistake(key, msg, hint string) Mistake { return c.doc.mistake(key, msg, hint) }

// Shows reports whether the text of a key may be repeated in a message: it may when it stands in the
// file, and not when it came from the environment.
func (c *Config) Shows(key string) bool { return c.doc.shows(key) }

// Variable is the variable that a key of the file stands for, as in "${NAME}".
func (c *Config) Variable(key string) (Variable, bool) {
	v, ok := c.doc.variables[key]
	return v, ok
}

// Uses are the keys of the file that stand for a variable, in order.
func (c *Config) Uses(variable string) (keys []string) {
	for key, v := range c.doc.variables {
		if v.Name == variable {
			keys = append(keys, key)
		}
	}
	slices.Sort(keys)
	return keys
}

// At is where a key stands in the file, or what holds it; 0, 0 when the file is silent or something
// above it has set the key.
func (c *Config) At(key string) (line, column int) {
	m := c.doc.mistake(key, "", "")
	return m.Line, m.Column
}
