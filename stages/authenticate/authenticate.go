// Package authenticate is the stage that lets only the right sender in: by address, by HTTP Basic
// and by a signature over the body, all that are configured together. It looks at the envelope and
// the raw bytes, never into the body.
package authenticate

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"strings"

	"github.com/pipehook/pipehook/core"
)

// Config is the stage's table in the file. At least one way must be configured.
type Config struct {
	Basic     *Basic         `koanf:"basic"`
	AllowIPs  []netip.Prefix `koanf:"allow_ips"`
	Signature *Signature     `koanf:"signature"`
	// None lets everybody in, and must be spelled out.
	None bool `koanf:"none"`
}

// Basic is HTTP Basic. While a password is changed the previous credential is good too.
type Basic struct {
	Username         string      `koanf:"username" validate:"required"`
	Password         core.Secret `koanf:"password"`
	PreviousUsername string      `koanf:"previous_username"` // Username when empty
	PreviousPassword core.Secret `koanf:"previous_password"`
}

// Signature is an HMAC over the raw body in a header.
type Signature struct {
	Header         string      `koanf:"header" validate:"required"`
	Secret         core.Secret `koanf:"secret"`
	PreviousSecret core.Secret `koanf:"previous_secret"`
	Algorithm      string      `koanf:"algorithm" validate:"omitempty,oneof=hmac-sha256 hmac-sha1 hmac-sha512"`
	Encoding       string      `koanf:"encoding" validate:"omitempty,oneof=hex base64 base64url"`
	Prefix         string      `koanf:"prefix"` // what stands before the encoded bytes, such as "sha256="
}

// Deps are what Factory needs. All may be nil.
type Deps struct {
	Log *slog.Logger
	// Failed counts a refused request; the reason is a fixed word.
	Failed func(pipeline, method, reason string)
	// Judge says of a credential of HTTP Basic whether it is good though it is not configured, or bad though
	// it is. It is called from many requests at once, in a time that does not tell how much of it was right.
	// attempt is true for what pipehook's own commands send to try an address, which is no use by a sender.
	Judge func(pipeline, username, password string, configured, attempt bool) Judgement
}

// Judgement is what Deps.Judge says of a credential.
type Judgement uint8

// The judgements.
const (
	AsConfigured Judgement = iota
	Good
	Retired // it was good until it was changed
)

// Factory makes authenticate stages.
func Factory(deps Deps) core.Factory {
	if deps.Log == nil {
		deps.Log = slog.New(slog.DiscardHandler)
	}
	if deps.Failed == nil {
		deps.Failed = func(string, string, string) {}
	}
	if deps.Judge == nil {
		deps.Judge = func(string, string, string, bool, bool) Judgement { return AsConfigured }
	}
	return core.Factory{Kind: "authenticate", New: func(decode core.Decode, at core.Place) (core.Stage, error) {
		var conf Config
		if err := decode(&conf); err != nil {
			return nil, err
		}
		if err := conf.check(); err != nil {
			return nil, err
		}
		s := &stage{deps: deps, pipeline: at.Pipeline, allow: conf.AllowIPs}
		if conf.Basic != nil {
			s.basic = newBasic(conf.Basic)
		}
		if conf.Signature != nil {
			s.signature = newSignature(conf.Signature)
		}
		if conf.None {
			deps.Log.Warn("anyone may post: the stage has none = true", "pipeline", at.Pipeline, "stage", "authenticate")
		}
		return s, nil
	}}
}

// minSecret is the shortest secret a signature may rest on.
const minSecret = 16

func (c *Config) check() error {
	var errs []error
	configured := c.Basic != nil || c.Signature != nil || c.AllowIPs != nil
	switch {
	case c.None && configured:
		errs = append(errs, errors.New("none = true contradicts the other settings: remove one of them"))
	case !c.None && !configured:
		errs = append(errs, errors.New("nothing is required of the sender: configure basic, signature or allow_ips, or write none = true to let everybody in"))
	case c.AllowIPs != nil && len(c.AllowIPs) == 0:
		errs = append(errs, errors.New("allow_ips is empty and would let nobody in: list networks or remove it"))
	}
	if c.Basic != nil {
		errs = append(errs, c.Basic.check())
	}
	if c.Signature != nil {
		errs = append(errs, c.Signature.check())
	}
	return errors.Join(errs...)
}

func (b *Basic) check() error {
	errs := []error{checkSecret("basic.password", b.Password, 1)}
	if b.PreviousPassword != "" {
		errs = append(errs, checkSecret("basic.previous_password", b.PreviousPassword, 1))
	} else if b.PreviousUsername != "" {
		errs = append(errs, errors.New("basic.previous_username is given without basic.previous_password: set both or neither"))
	}
	if strings.Contains(b.Username, ":") || strings.Contains(b.PreviousUsername, ":") {
		errs = append(errs, errors.New("basic: a username can't hold a colon, which HTTP Basic ends it with"))
	}
	return errors.Join(errs...)
}

func (s *Signature) check() error {
	errs := []error{checkSecret("signature.secret", s.Secret, minSecret)}
	if s.PreviousSecret != "" {
		errs = append(errs, checkSecret("signature.previous_secret", s.PreviousSecret, minSecret))
	}
	if strings.ContainsFunc(s.Header, notInHeaderName) {
		errs = append(errs, errors.New("signature.header is not the name of a header, such as X-Hub-Signature-256"))
	}
	return errors.Join(errs...)
}

func notInHeaderName(r rune) bool {
	switch {
	case r >= '0' && r <= '9', r >= 'A' && r <= 'Z', r >= 'a' && r <= 'z':
		return false
	default:
		return !strings.ContainsRune("!#$%&'*+-.^_`|~", r)
	}
}

func checkSecret(name string, s core.Secret, shortest int) error {
	switch text := string(s); {
	case strings.TrimSpace(text) == "":
		return fmt.Errorf("%s is empty: set it, usually from the environment as ${NAME}", name)
	case strings.Contains(text, "${"):
		return fmt.Errorf("%s holds ${ that was not replaced: write ${NAME}, and $$ for a plain $", name)
	case len(text) < shortest:
		return fmt.Errorf("%s is shorter than %d characters: take a longer random one", name, shortest)
	}
	return nil
}

type stage struct {
	deps      Deps
	pipeline  string
	allow     []netip.Prefix
	basic     *basic
	signature *signature
}

// Blind marks the stage as one that does not need the event to be named.
func (*stage) Blind() {}

// Admit judges all that can be judged without the body: the address, HTTP Basic, and that there is
// one signature to verify.
func (s *stage) Admit(ev *core.Event) error {
	if s.allow != nil && !s.allowed(ev.Remote) {
		return s.refuse("ip", "not_allowed", &core.Error{Kind: core.Forbidden, Msg: "this address is not allowed"})
	}
	if s.basic != nil {
		if reason, previous := s.basic.verify(ev.Header, s.judging(ev.Header)); reason != "" {
			return s.refuse("basic", reason, s.unauthenticated("the credentials are missing or wrong"))
		} else if previous {
			s.basic.rotating.Do(func() { s.tell("basic") })
		}
	}
	if s.signature != nil {
		if _, reason := s.signature.given(ev.Header); reason != "" {
			return s.refuseSignature(reason)
		}
	}
	return nil
}

// ownAgent begins what pipehook's commands call themselves. Who else does so keeps the old credentials good a little
// longer, and no more.
const ownAgent = "pipehook "

func (s *stage) judging(h http.Header) func(username, password string, configured bool) Judgement {
	attempt := strings.HasPrefix(h.Get("User-Agent"), ownAgent)
	return func(username, password string, configured bool) Judgement {
		return s.deps.Judge(s.pipeline, username, password, configured, attempt)
	}
}

func (s *stage) Process(_ context.Context, ev *core.Event) (core.Verdict, error) {
	if ev.Origin != "" { // nothing that a request brings sets it
		ev.Remark("passed: pipehook made it itself (" + ev.Origin + ")")
		return core.Continue, nil
	}
	if err := s.Admit(ev); err != nil {
		return core.Continue, err
	}
	if s.signature != nil {
		if reason, previous := s.signature.verify(ev.Header, ev.Body); reason != "" {
			return core.Continue, s.refuseSignature(reason)
		} else if previous {
			s.signature.rotating.Do(func() { s.tell("signature") })
		}
	}
	return core.Continue, nil
}

func (s *stage) refuseSignature(reason string) error {
	return s.refuse("signature", reason, s.unauthenticated("the signature is missing or wrong"))
}

func (s *stage) allowed(addr netip.Addr) bool {
	addr = addr.Unmap()
	for _, p := range s.allow {
		if p.Contains(addr) {
			return true
		}
	}
	return false
}

func (s *stage) unauthenticated(msg string) *core.Error {
	challenge := `Basic realm="pipehook", charset="UTF-8"`
	if s.basic == nil {
		challenge = fmt.Sprintf(`Signature header=%q`, s.signature.header)
	}
	return &core.Error{Kind: core.Unauthenticated, Msg: msg, Challenge: challenge}
}

// refuse counts; the receiver logs what it is given, so it is not logged here too.
func (s *stage) refuse(method, reason string, err *core.Error) error {
	s.deps.Failed(s.pipeline, method, reason)
	err.Err = fmt.Errorf("%s: %s", method, reason)
	return err
}

func (s *stage) tell(method string) {
	s.deps.Log.Info("the previous credential is still in use", "pipeline", s.pipeline, "stage", "authenticate", "method", method)
}
