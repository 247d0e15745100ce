package sdk

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"

	"github.com/pipehook/pipehook/core/effect"
	"github.com/pipehook/pipehook/plugins/sdk/wire"
)

// Host is what pipehook does for a plugin. It may be used from several goroutines at once, from Start on.
// Contexts must be those that pipehook has given, or made of them.
type Host struct {
	log     *slog.Logger
	secrets map[string]string
	client  *wire.HostClient // nil when there is nobody to ask

	measures measures
}

// Error is why pipehook did not do what it was asked for. Its Code is one of those that scripts know:
// "EINVAL", "ETOOLARGE", "EFULL", "ELIMIT", "ELOOP" (events that cause each other), "ENOTAVAILABLE" (not here),
// "ETIMEDOUT", "EUNAVAILABLE" (another time) or "EINTERNAL".
type Error = effect.Error

func newHost(s wire.Setup, log *slog.Logger) (*Host, error) {
	h := &Host{log: log, secrets: s.Secrets}
	if s.Host.Path == "" {
		return h, nil
	}
	var err error
	h.client, err = wire.DialHost(s.Host)
	return h, err
}

// Log writes to pipehook's log, under the name of the plugin and of what it was started as. The default
// logger of slog does the same.
func (h *Host) Log() *slog.Logger { return h.log }

// Secret is a value that pipeline.toml grants by name with secrets = { … }; empty when it does not.
func (h *Host) Secret(name string) string { return h.secrets[name] }

// NeedSecret is Secret for one that the plugin can't do without. Its error is for Start to return: a mistake
// that is shown with its place in pipeline.toml.
func (h *Host) NeedSecret(name string) (string, error) {
	if secret := h.secrets[name]; secret != "" {
		return secret, nil
	}
	return "", WrongSecret(name, fmt.Sprintf(`is missing or empty: give it with secrets = { %s = "${…}" }`, name))
}

// KV is what this listener, stage or source remembers: JSON values in pipehook's store, which outlive the
// process and are the same for all processes of it.
func (h *Host) KV() KV { return KV{host: h} }

// SharedKV is what all scripts and plugins see.
func (h *Host) SharedKV() KV { return KV{host: h, shared: true} }

// Emission is an event that a listener derives from the one it handles.
type Emission struct {
	Action, Object, ObjectID string

	// Current, Previous and Meta are encoded as JSON; each must become an object. nil leaves it out.
	Current, Previous, Meta any

	// Key tells the emissions of one event apart, so that an attempt that is made again emits nothing
	// twice. Without one their order does.
	Key string
}

// Emitted is what became of an Emission.
type Emitted struct {
	ID        string // of the event
	Duplicate bool   // it was there already, from an earlier attempt
}

// Emit stores an event, with the deliveries to all listeners that match it, before it returns. ctx must be
// that of a listener's call.
func (h *Host) Emit(ctx context.Context, e Emission) (Emitted, error) {
	if h.client == nil {
		return Emitted{}, errNoHost
	}
	c := callOf(ctx)
	out := &effect.Emit{Action: e.Action, Object: e.Object, ObjectID: e.ObjectID, Key: e.Key, Ordinal: int(c.emits.Add(1)) - 1}
	for _, part := range []struct {
		name  string
		value any
		into  *[]byte
	}{{"Current", e.Current, &out.Current}, {"Previous", e.Previous, &out.Previous}, {"Meta", e.Meta, &out.Meta}} {
		if part.value == nil {
			continue
		}
		var err error
		if *part.into, err = json.Marshal(part.value); err != nil {
			return Emitted{}, fmt.Errorf("emit: %s: %w", part.name, err)
		}
	}
	done, err := h.client.Emit(ctx, c.ID, out)
	if err != nil {
		return Emitted{}, err
	}
	return Emitted{ID: done.ID, Duplicate: done.Duplicate}, nil
}
