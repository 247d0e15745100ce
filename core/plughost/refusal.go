//go:build unix

package plughost

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/pipehook/pipehook/core"
	"github.com/pipehook/pipehook/plugins/sdk/wire"
)

// Refused are the mistakes that a plugin finds in its configuration.
type Refused []wire.ConfigError

func (r Refused) Error() string {
	texts := make([]string, len(r))
	for i := range r {
		texts[i] = r[i].Error()
	}
	return "the plugin refuses its configuration: " + strings.Join(texts, "; ")
}

// refusal tells a plugin's complaints from a call that failed.
func refusal(err error) error {
	joined, ok := err.(interface{ Unwrap() []error })
	if !ok {
		return err
	}
	var r Refused
	for _, one := range joined.Unwrap() {
		if wrong, ok := errors.AsType[*wire.ConfigError](one); ok {
			r = append(r, *wrong)
		}
	}
	return r
}

// hidden is an error of the plugin's without its secrets: people read it.
func (i *instance) hidden(err error) error {
	if err == nil || i.voice.secrets == nil {
		return err
	}
	switch e := err.(type) {
	case *core.Error:
		own := *e
		own.Msg = i.voice.secrets.Redact(e.Msg)
		return &own
	case *wire.Rejection:
		own := *e
		own.Msg = i.voice.secrets.Redact(e.Msg)
		return &own
	case Refused:
		own := slices.Clone(e)
		for k := range own {
			own[k].Msg = i.voice.secrets.Redact(own[k].Msg)
		}
		return own
	}
	if text := err.Error(); i.voice.secrets.Redact(text) != text { // a call that failed, in the plugin's words
		return errors.New(i.voice.secrets.Redact(text))
	}
	return err
}

// startError says why a process did not become a plugin, with what it said itself.
func (i *instance) startError(ctx context.Context, err error) error {
	_, refused := errors.AsType[Refused](err)
	if _, misplaced := errors.AsType[*wire.KindError](err); refused || misplaced { // it knows what it said
		return err
	}
	hello := i.firstLine()
	switch {
	case ctx.Err() != nil && errors.Is(context.Cause(ctx), context.DeadlineExceeded):
		return fmt.Errorf("it did not start within %s", i.limits.Start)
	case hello != "" && strings.Count(hello, "|") < 3:
		return fmt.Errorf("it is no plugin of pipehook, or prints before it calls sdk.Serve: the first it says is %q", clip(strings.TrimSpace(hello), 200))
	case otherVersion(hello) != "":
		return versionError(otherVersion(hello))
	case !i.isOver() && hungUp(err):
		return fmt.Errorf(`it does not serve as it said: with tls = "off" without TLS, else with the certificate of its handshake: %w`, err)
	case !i.isOver() || i.wasKilled(): // go-plugin knows more
		return err
	case hello == "" && i.voice.toldOfAnother():
		return errors.New("it is a plugin of another program: one of pipehook is built with its SDK")
	case hello == "":
		return fmt.Errorf("it ended before it shook hands: %s", i.lastWords())
	}
	return fmt.Errorf("it ended while it started: %s", i.lastWords())
}

// otherVersion is the version of pipehook's protocol that a plugin speaks, when it is not ours.
func otherVersion(hello string) string {
	parts := strings.Split(hello, "|")
	if len(parts) < 4 || parts[1] == strconv.Itoa(wire.Version) {
		return ""
	}
	return clip(parts[1], 20)
}

func versionError(theirs string) error {
	return fmt.Errorf("it speaks version %s of the plugin protocol, and this pipehook speaks version %d: build it with an SDK of this pipehook, or run a pipehook of its own time", theirs, wire.Version)
}

// hungUp reports whether a call failed as it does when only one of the two ends speaks TLS.
func hungUp(err error) bool {
	return slices.ContainsFunc([]string{"server preface", "tls: ", "broken pipe", "connection reset"}, func(words string) bool {
		return strings.Contains(err.Error(), words)
	})
}
