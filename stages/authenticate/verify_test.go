package authenticate

import (
	"bytes"
	"encoding/base64"
	"errors"
	"log/slog"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/pipehook/pipehook/core"
)

func gate(t *testing.T, conf Config, failed func(pipeline, method, reason string)) core.Gate {
	t.Helper()
	s, err := build(conf, failed)
	if err != nil {
		t.Fatal(err)
	}
	g, ok := s.(core.Gate)
	if _, blind := s.(core.Blind); !ok || !blind {
		t.Fatal("the stage is asked too late")
	}
	return g
}

func TestWhatNeedsNoBodyIsJudgedWithoutIt(t *testing.T) {
	conf := Config{
		Basic:     &Basic{Username: "hook", Password: "password"},
		AllowIPs:  []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")},
		Signature: &Signature{Header: "x-signature", Secret: goodSecret},
	}
	right := basicHeader("hook", "password")
	with := func(values ...string) http.Header {
		h := right.Clone()
		h["X-Signature"] = values
		return h
	}
	twice := with("00")
	twice["Authorization"] = append(twice["Authorization"], twice["Authorization"][0])
	tests := []struct {
		name, remote string
		header       http.Header
		count        string // empty: admitted
	}{
		{"all there is, and the signature is judged later", "10.0.0.1", with("00"), ""},
		{"the address comes first", "192.0.2.1", http.Header{}, "crm ip not_allowed"},
		{"then the credentials", "10.0.0.1", http.Header{}, "crm basic missing"},
		{"credentials that are wrong", "10.0.0.1", basicHeader("hook", "Password"), "crm basic wrong"},
		{"credentials given twice", "10.0.0.1", twice, "crm basic several"},
		{"no signature", "10.0.0.1", right, "crm signature missing"},
		{"two signatures", "10.0.0.1", with("00", "00"), "crm signature several"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			var counted string
			g := gate(t, conf, func(p, m, r string) { counted += p + " " + m + " " + r })
			err := g.Admit(&core.Event{Remote: netip.MustParseAddr(test.remote), Header: test.header})
			if (err == nil) != (test.count == "") || counted != test.count {
				t.Errorf("counted %q, want %q; %v", counted, test.count, err)
			}
		})
	}
}

func TestTheChallengeNamesWhatIsAskedFor(t *testing.T) {
	basic, sign := &Basic{Username: "hook", Password: "password"}, &Signature{Header: "X-Signature", Secret: goodSecret}
	for _, test := range []struct {
		name, want string
		conf       Config
		header     http.Header
	}{
		{"basic", `Basic realm="pipehook", charset="UTF-8"`, Config{Basic: basic}, nil},
		{"both, the signature is missing", `Basic realm="pipehook", charset="UTF-8"`, Config{Basic: basic, Signature: sign}, basicHeader("hook", "password")},
		{"signature", `Signature header="X-Signature"`, Config{Signature: sign}, nil},
	} {
		err := gate(t, test.conf, nil).Admit(&core.Event{Header: test.header})
		if e, ok := errors.AsType[*core.Error](err); !ok || e.Challenge != test.want {
			t.Errorf("%s: %+v", test.name, err)
		}
	}
}

// A byte that is replaced, whatever by, makes another signature; only the letters of hex have two cases.
func TestNoOtherTextIsTheSameSignature(t *testing.T) {
	body := []byte(`{"id":"evt_1"}`)
	for _, conf := range []Signature{
		{Encoding: "hex", Prefix: "sha256="}, {Encoding: "base64"}, {Encoding: "base64url"},
		{Encoding: "base64", Algorithm: "hmac-sha512"}, {Encoding: "hex", Algorithm: "hmac-sha1"},
	} {
		conf.Header, conf.Secret = "X-Signature", goodSecret
		s, good := newSignature(&conf), Sign(&conf, body)
		accepted := func(value string) bool {
			reason, _ := s.verify(http.Header{"X-Signature": {value}}, body)
			return reason == ""
		}
		if !accepted(good) {
			t.Fatalf("%s is refused", good)
		}
		for i := range good {
			for c := range 256 {
				changed := good[:i] + string([]byte{byte(c)}) + good[i+1:]
				same := changed == good || conf.Encoding == "hex" && i >= len(conf.Prefix) && strings.EqualFold(changed, good)
				if accepted(changed) != same {
					t.Errorf("%s: %q accepted: %v", good, changed, !same)
				}
				if inserted := good[:i] + string([]byte{byte(c)}) + good[i:]; accepted(inserted) {
					t.Errorf("%s: %q is accepted", good, inserted)
				}
			}
		}
		for _, other := range []string{"", good + good, good + ",", good + "," + good, " " + good, good + "===", good + "\n", good + "00", conf.Prefix, strings.TrimPrefix(good, "sha256") + "sha256"} {
			if accepted(other) {
				t.Errorf("%s: %q is accepted", good, other)
			}
		}
	}
}

func TestBase64URLIsTakenWithAndWithoutPadding(t *testing.T) {
	conf := Signature{Header: "X-Signature", Secret: goodSecret, Encoding: "base64url"}
	s, good := newSignature(&conf), Sign(&conf, nil)
	for value, want := range map[string]bool{good: true, good + "=": true, good + "==": false, good + "=\n": false} {
		if reason, _ := s.verify(http.Header{"X-Signature": {value}}, nil); (reason == "") != want {
			t.Errorf("%q: %s", value, reason)
		}
	}
}

// The MAC under an empty key is known to everybody.
func TestAnEmptyKeyIsNoKey(t *testing.T) {
	if _, err := build(Config{Signature: &Signature{Header: "X-Signature"}}, nil); err == nil {
		t.Error("an empty secret is configured")
	}
	s := newSignature(&Signature{Header: "X-Signature", Secret: goodSecret})
	const known = "e44aebbebd2b0a05f0acfa5fbb1e451f97b54e388d794b3947f8911ceb0f97d3"
	if reason, _ := s.verify(http.Header{"X-Signature": {known}}, []byte(`{"id":"evt_1","object":"event"}`)); reason != "wrong" {
		t.Error(reason)
	}
}

func TestTheCurrentCredentialIsNotTakenForThePrevious(t *testing.T) {
	b := newBasic(&Basic{Username: "hook", Password: "same", PreviousPassword: "same"})
	if reason, previous := b.verify(basicHeader("hook", "same"), asConfigured); reason != "" || previous {
		t.Errorf("%q, previous %v", reason, previous)
	}
}

func TestARotationIsToldOnceForEachMethod(t *testing.T) {
	var log bytes.Buffer
	sign := &Signature{Header: "X-Signature", Secret: "another secret of length", PreviousSecret: goodSecret}
	conf := Config{Basic: &Basic{Username: "hook", Password: "new", PreviousPassword: "old"}, Signature: sign}
	decode := func(into any) error { *into.(*Config) = conf; return nil }
	s, err := Factory(Deps{Log: slog.New(slog.NewTextHandler(&log, nil))}).New(decode, core.Place{})
	if err != nil {
		t.Fatal(err)
	}
	body := []byte("{}")
	header := basicHeader("hook", "old")
	header.Set("X-Signature", Sign(&Signature{Header: "X-Signature", Secret: goodSecret}, body))
	for range 3 {
		if _, err := s.Process(t.Context(), &core.Event{Header: header, Body: body}); err != nil {
			t.Fatal(err)
		}
	}
	if text := log.String(); strings.Count(text, "\n") != 2 || !strings.Contains(text, "method=basic") || !strings.Contains(text, "method=signature") {
		t.Errorf("log %s", text)
	}
}

func TestLettingEverybodyInIsTold(t *testing.T) {
	var log bytes.Buffer
	decode := func(into any) error { *into.(*Config) = Config{None: true}; return nil }
	if _, err := Factory(Deps{Log: slog.New(slog.NewTextHandler(&log, nil))}).New(decode, core.Place{Pipeline: "crm"}); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(log.String(), "level=WARN") || !strings.Contains(log.String(), "pipeline=crm") {
		t.Errorf("log %q", log.String())
	}
}

// FuzzBasic holds the stage against a second reading of RFC 7617.
func FuzzBasic(f *testing.F) {
	right := base64.StdEncoding.EncodeToString([]byte("hook:pass:word"))
	for _, seed := range []string{"Basic " + right, "bAsIc " + right, "Basic " + right + "=", "Basic  " + right, "Basic", "", "Bearer " + right} {
		f.Add(seed)
	}
	b := newBasic(&Basic{Username: "hook", Password: "pass:word"})
	f.Fuzz(func(t *testing.T, authorization string) {
		scheme, token, _ := strings.Cut(authorization, " ")
		text, err := base64.StdEncoding.DecodeString(token)
		want := len(scheme) == 5 && strings.EqualFold(scheme, "basic") && err == nil && string(text) == "hook:pass:word"
		if reason, _ := b.verify(http.Header{"Authorization": {authorization}}, asConfigured); (reason == "") != want {
			t.Errorf("%q: %q, want it let in: %v", authorization, reason, want)
		}
	})
}

func FuzzSignature(f *testing.F) {
	body := []byte(`{"id":1}`)
	confs := []*Signature{
		{Prefix: "sha256=", PreviousSecret: "the secret before this one"}, {Encoding: "base64"}, {Encoding: "base64url", Algorithm: "hmac-sha512"}, {Algorithm: "hmac-sha1"},
	}
	for _, conf := range confs {
		conf.Header, conf.Secret = "X-Signature", goodSecret
		good := Sign(conf, body)
		f.Add(good, body)
		f.Add(good[:len(good)-1], body)
		f.Add(strings.ToUpper(good), body)
	}
	f.Fuzz(func(t *testing.T, value string, body []byte) {
		for _, conf := range confs {
			all := []string{Sign(conf, body)}
			if conf.PreviousSecret != "" {
				previous := *conf
				previous.Secret = conf.PreviousSecret
				all = append(all, Sign(&previous, body))
			}
			want := false
			for _, good := range all {
				rest, ok := strings.CutPrefix(value, conf.Prefix)
				hex := conf.Encoding == "" && ok && conf.Prefix+strings.ToLower(rest) == good
				want = want || value == good || hex || conf.Encoding == "base64url" && value == good+strings.Repeat("=", -len(good)&3)
			}
			if reason, _ := newSignature(conf).verify(http.Header{"X-Signature": {value}}, body); (reason == "") != want {
				t.Errorf("%q with %+v: %q", value, conf, reason)
			}
		}
	})
}

func asConfigured(string, string, bool) Judgement { return AsConfigured }

func TestACredentialThatIsChangedIsJudgedBesideTheConfiguredOnes(t *testing.T) {
	b := newBasic(&Basic{Username: "hook", Password: "old"})
	var asked []bool
	for _, test := range []struct {
		password string
		says     Judgement
		want     string
	}{
		{"old", AsConfigured, ""}, {"old", Good, ""}, {"old", Retired, "retired"},
		{"new", AsConfigured, "wrong"}, {"new", Good, ""}, {"new", Retired, "retired"},
	} {
		got, _ := b.verify(basicHeader("hook", test.password), func(username, password string, configured bool) Judgement {
			asked = append(asked, configured == (password == "old") && username == "hook")
			return test.says
		})
		if got != test.want {
			t.Errorf("%s, judged %d: got %q, want %q", test.password, test.says, got, test.want)
		}
	}
	if len(asked) != 6 || slices.Contains(asked, false) {
		t.Errorf("asked %v", asked)
	}
}
