package authenticate

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"strings"
	"testing"

	"github.com/pipehook/pipehook/core"
)

const goodSecret = "a secret of good length"

func build(conf Config, failed func(pipeline, method, reason string)) (core.Stage, error) {
	if failed == nil {
		failed = func(string, string, string) {}
	}
	decode := func(into any) error { *into.(*Config) = conf; return nil }
	return Factory(Deps{Log: slog.New(slog.DiscardHandler), Failed: failed}).New(decode, core.Place{Pipeline: "crm"})
}

func basicHeader(username, password string) http.Header {
	r := http.Request{Header: http.Header{}}
	r.SetBasicAuth(username, password)
	return r.Header
}

func TestOnlyTheRightSenderGetsIn(t *testing.T) {
	body := []byte(`{"a":1}`)
	sign := &Signature{Header: "X-Signature", Secret: goodSecret}
	signed := http.Header{"X-Signature": {Sign(sign, body)}}
	both := basicHeader("hook", "pass word:with colon")
	both.Set("X-Signature", Sign(sign, body))
	basic := &Basic{Username: "hook", Password: "pass word:with colon"}
	nets := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("2001:db8::/32")}
	tests := []struct {
		name   string
		conf   Config
		header http.Header
		remote string
		kind   core.Kind // Internal: let in
		count  string
	}{
		{name: "the right credentials", conf: Config{Basic: basic}, header: basicHeader("hook", "pass word:with colon")},
		{name: "no credentials", conf: Config{Basic: basic}, kind: core.Unauthenticated, count: "crm basic missing"},
		{name: "a wrong password", conf: Config{Basic: basic}, header: basicHeader("hook", "pass"), kind: core.Unauthenticated, count: "crm basic wrong"},
		{name: "a wrong username", conf: Config{Basic: basic}, header: basicHeader("Hook", "pass word:with colon"), kind: core.Unauthenticated, count: "crm basic wrong"},
		{name: "another scheme", conf: Config{Basic: basic}, header: http.Header{"Authorization": {"Bearer aG9vazpwYXNz"}}, kind: core.Unauthenticated, count: "crm basic missing"},
		{name: "the previous password while it is rotated", conf: Config{Basic: &Basic{Username: "hook", Password: "new", PreviousPassword: "old"}}, header: basicHeader("hook", "old")},
		{name: "the new password while it is rotated", conf: Config{Basic: &Basic{Username: "hook", Password: "new", PreviousPassword: "old"}}, header: basicHeader("hook", "new")},
		{name: "the previous username does not go with the new password", conf: Config{Basic: &Basic{Username: "b", Password: "new", PreviousUsername: "a", PreviousPassword: "old"}}, header: basicHeader("a", "new"), kind: core.Unauthenticated, count: "crm basic wrong"},
		{name: "an allowed address", conf: Config{AllowIPs: nets}, remote: "10.1.2.3"},
		{name: "an allowed address in its IPv6 form", conf: Config{AllowIPs: nets}, remote: "::ffff:10.1.2.3"},
		{name: "an allowed IPv6 address", conf: Config{AllowIPs: nets}, remote: "2001:db8::1"},
		{name: "an address that is not allowed", conf: Config{AllowIPs: nets}, remote: "192.0.2.1", kind: core.Forbidden, count: "crm ip not_allowed"},
		{name: "an address that is not known", conf: Config{AllowIPs: nets}, kind: core.Forbidden, count: "crm ip not_allowed"},
		{name: "a good signature", conf: Config{Signature: sign}, header: signed},
		{name: "no signature", conf: Config{Signature: sign}, kind: core.Unauthenticated, count: "crm signature missing"},
		{name: "two signatures", conf: Config{Signature: sign}, header: http.Header{"X-Signature": {Sign(sign, body), Sign(sign, body)}}, kind: core.Unauthenticated, count: "crm signature several"},
		{name: "an empty signature", conf: Config{Signature: sign}, header: http.Header{"X-Signature": {""}}, kind: core.Unauthenticated, count: "crm signature wrong"},
		{name: "a signature that is not hex", conf: Config{Signature: sign}, header: http.Header{"X-Signature": {"zz"}}, kind: core.Unauthenticated, count: "crm signature malformed"},
		{name: "a signature without its prefix", conf: Config{Signature: &Signature{Header: "X-Signature", Secret: goodSecret, Prefix: "sha256="}}, header: signed, kind: core.Unauthenticated, count: "crm signature malformed"},
		{name: "the previous secret while it is rotated", conf: Config{Signature: &Signature{Header: "X-Signature", Secret: "another secret of length", PreviousSecret: goodSecret}}, header: signed},
		{name: "all of several are required, and given", conf: Config{Basic: basic, Signature: sign, AllowIPs: nets}, header: both, remote: "10.0.0.1"},
		{name: "all of several are required, the signature is missing", conf: Config{Basic: basic, Signature: sign}, header: basicHeader("hook", "pass word:with colon"), kind: core.Unauthenticated, count: "crm signature missing"},
		{name: "all of several are required, the address is wrong", conf: Config{Basic: basic, Signature: sign, AllowIPs: nets}, header: both, remote: "11.0.0.1", kind: core.Forbidden, count: "crm ip not_allowed"},
		{name: "nobody is asked", conf: Config{None: true}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			var counted string
			s, err := build(test.conf, func(p, m, r string) { counted = p + " " + m + " " + r })
			if err != nil {
				t.Fatal(err)
			}
			ev := &core.Event{Header: test.header, Body: body}
			if test.remote != "" {
				ev.Remote = netip.MustParseAddr(test.remote)
			}
			_, err = s.Process(t.Context(), ev)
			if (err == nil) != (test.kind == core.Internal) || err != nil && core.KindOf(err) != test.kind {
				t.Errorf("error %v", err)
			}
			if counted != test.count {
				t.Errorf("counted %q, want %q", counted, test.count)
			}
			if e, ok := errors.AsType[*core.Error](err); ok && e.Kind == core.Unauthenticated && e.Challenge == "" {
				t.Error("no challenge")
			}
		})
	}
}

func TestAConfigurationThatProtectsNothingIsRefused(t *testing.T) {
	for name, conf := range map[string]Config{
		"nothing":                   {},
		"no network":                {AllowIPs: []netip.Prefix{}},
		"none and more":             {None: true, Basic: &Basic{Username: "a", Password: "b"}},
		"an empty password":         {Basic: &Basic{Username: "a"}},
		"a blank password":          {Basic: &Basic{Username: "a", Password: "  "}},
		"an unexpanded password":    {Basic: &Basic{Username: "a", Password: "${CANARY-99}"}},
		"an unexpanded previous":    {Basic: &Basic{Username: "a", Password: "b", PreviousPassword: "${CANARY-99}"}},
		"an empty secret":           {Signature: &Signature{Header: "X"}},
		"a previous username alone": {Basic: &Basic{Username: "a", Password: "b", PreviousUsername: "c"}},
		"a colon in the username":   {Basic: &Basic{Username: "a:b", Password: "CANARY-99"}},
		"a header with a space":     {Signature: &Signature{Header: "X Sig", Secret: goodSecret}},
		"a header with a colon":     {Signature: &Signature{Header: "X-Sig:", Secret: goodSecret}},
		"a short secret":            {Signature: &Signature{Header: "X", Secret: "CANARY-99"}},
		"a short previous secret":   {Signature: &Signature{Header: "X", Secret: goodSecret, PreviousSecret: "CANARY-99"}},
	} {
		if _, err := build(conf, nil); err == nil || strings.Contains(err.Error(), "CANARY") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// The expected values are GitHub's documented example, go-github's tests, and HMACs made with openssl.
func TestKnownSignaturesVerifyAndTheirNeighboursDoNot(t *testing.T) {
	tests := []struct {
		conf        Signature
		body, value string
	}{
		{Signature{Secret: "It's a Secret to Everybody", Prefix: "sha256="}, "Hello, World!", "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"},
		{Signature{Secret: "0123456789abcdef", Prefix: "sha256="}, `{"yo":true}`, "sha256=b1f8020f5b4cd42042f807dd939015c4a418bc1ff7f604dd55b0a19b5d953d9b"},
		{Signature{Secret: "0123456789abcdef", Prefix: "sha1=", Algorithm: "hmac-sha1"}, `{"yo":true}`, "sha1=126f2c800419c60137ce748d7672e77b65cf16d6"},
		{Signature{Secret: "hush", Encoding: "base64"}, `{"id":"evt_1","object":"event"}`, "Y5yh1MBcvmylNdRGRmMjSnWMAU5vK6ZYOwIowkFMvRk="},
	}
	for _, test := range tests {
		test.conf.Header = "X-Signature"
		s := newSignature(&test.conf)
		verify := func(value, body string) string {
			reason, _ := s.verify(http.Header{"X-Signature": {value}}, []byte(body))
			return reason
		}
		if reason := verify(test.value, test.body); reason != "" {
			t.Errorf("%s: %s", test.value, reason)
		}
		if got := Sign(&test.conf, []byte(test.body)); got != test.value {
			t.Errorf("Sign = %s, want %s", got, test.value)
		}
		for i := range test.value {
			for _, c := range []byte{test.value[i] ^ 1, test.value[i] ^ 2, '\n', 0} {
				changed := test.value[:i] + string(rune(c)) + test.value[i+1:]
				if !strings.EqualFold(changed, test.value) && verify(changed, test.body) == "" {
					t.Errorf("accepted %q", changed)
				}
			}
			if verify(test.value[:i], test.body) == "" {
				t.Errorf("accepted the beginning %q", test.value[:i])
			}
		}
		for _, other := range []string{test.body + " ", test.body[1:], ""} {
			if verify(test.value, other) == "" {
				t.Errorf("accepted for the body %q", other)
			}
		}
	}
}

func TestASecretNeverShows(t *testing.T) {
	var log bytes.Buffer
	conf := Config{Basic: &Basic{Username: "canary-user", Password: "canary-new", PreviousPassword: "canary-old"}}
	decode := func(into any) error { *into.(*Config) = conf; return nil }
	s, err := Factory(Deps{Log: slog.New(slog.NewTextHandler(&log, nil)), Failed: func(string, string, string) {}}).New(decode, core.Place{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Process(t.Context(), &core.Event{Header: basicHeader("canary-user", "canary-old")}); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(log.String(), "previous credential is still in use") {
		t.Error("the rotation is not mentioned")
	}
	_, err = s.Process(t.Context(), &core.Event{Header: basicHeader("canary-user", "canary-guess")})
	if all := fmt.Sprintf("%v %+v %s", err, conf.Basic.Password, log.String()); strings.Contains(all, "canary") {
		t.Error(all)
	}
}

func BenchmarkBasic(b *testing.B) {
	s, err := build(Config{Basic: &Basic{Username: "hook", Password: "password"}}, nil)
	if err != nil {
		b.Fatal(err)
	}
	ev := &core.Event{Header: basicHeader("hook", "password")}
	for b.Loop() {
		if _, err := s.Process(b.Context(), ev); err != nil {
			b.Fatal(err)
		}
	}
}

// What pipehook makes itself has no credentials, and needs none: nothing that a request brings sets an origin.
func TestAnEventThatPipehookMadeItselfIsLetIn(t *testing.T) {
	refused := 0
	s, err := build(Config{
		Basic: &Basic{Username: "hook", Password: "secret"}, AllowIPs: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")},
		Signature: &Signature{Header: "X-Signature", Secret: goodSecret},
	}, func(string, string, string) { refused++ })
	if err != nil {
		t.Fatal(err)
	}
	ev := &core.Event{Origin: core.OriginReconcile}
	verdict, err := s.Process(t.Context(), ev)
	if remark := ev.TakeRemark(); verdict != core.Continue || err != nil || !strings.Contains(remark, core.OriginReconcile) || refused != 0 {
		t.Errorf("verdict %v (%v), remark %q, %d counted as refused", verdict, err, remark, refused)
	}
	if _, err := s.Process(t.Context(), &core.Event{Header: http.Header{"Origin": {core.OriginReconcile}}}); err == nil {
		t.Error("a header makes an origin")
	}
}
