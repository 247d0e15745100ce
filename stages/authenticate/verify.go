package authenticate

import (
	"crypto/hmac"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"hash"
	"net/http"
	"strings"
	"sync"

	"github.com/pipehook/pipehook/core"
)

// basic compares digests of equal length, and always all of them, so that the time it takes tells
// nothing about which part was wrong or how much of it was right.
type basic struct {
	credentials []digest
	rotating    sync.Once
}

type digest struct{ username, password [sha256.Size]byte }

func newBasic(conf *Basic) *basic {
	b := &basic{credentials: []digest{digestOf(conf.Username, string(conf.Password))}}
	if conf.PreviousPassword != "" {
		username := conf.PreviousUsername
		if username == "" {
			username = conf.Username
		}
		b.credentials = append(b.credentials, digestOf(username, string(conf.PreviousPassword)))
	}
	return b
}

func digestOf(username, password string) digest {
	return digest{sha256.Sum256([]byte(username)), sha256.Sum256([]byte(password))}
}

// verify returns why the request is refused, or whether the previous credential let it in.
func (b *basic) verify(h http.Header, judge func(username, password string, configured bool) Judgement) (reason string, previous bool) {
	if len(h["Authorization"]) > 1 { // a proxy may have judged another one of them
		return "several", false
	}
	r := http.Request{Header: h}
	username, password, ok := r.BasicAuth()
	if !ok {
		return "missing", false
	}
	given := digestOf(username, password)
	matched := -1
	for i := len(b.credentials) - 1; i >= 0; i-- { // when both match it is the current one
		want := &b.credentials[i]
		same := subtle.ConstantTimeCompare(given.username[:], want.username[:]) & subtle.ConstantTimeCompare(given.password[:], want.password[:])
		matched = subtle.ConstantTimeSelect(same, i, matched)
	}
	switch judge(username, password, matched >= 0) {
	case Good:
		return "", matched > 0
	case Retired:
		return "retired", false
	}
	if matched < 0 {
		return "wrong", false
	}
	return "", matched > 0
}

type signature struct {
	header   string
	prefix   string
	secrets  []core.Secret
	hash     func() hash.Hash
	decode   func(string) ([]byte, error)
	rotating sync.Once
}

func newSignature(conf *Signature) *signature {
	s := &signature{header: http.CanonicalHeaderKey(conf.Header), prefix: conf.Prefix, secrets: []core.Secret{conf.Secret}}
	if conf.PreviousSecret != "" {
		s.secrets = append(s.secrets, conf.PreviousSecret)
	}
	switch conf.Algorithm {
	case "hmac-sha1":
		s.hash = sha1.New
	case "hmac-sha512":
		s.hash = sha512.New
	default:
		s.hash = sha256.New
	}
	switch conf.Encoding {
	case "base64":
		s.decode = strictBase64(base64.StdEncoding)
	case "base64url":
		s.decode = strictBase64URL
	default:
		s.decode = hex.DecodeString
	}
	return s
}

// strictBase64 takes one spelling of each signature: Go's decoder skips line breaks and ignores
// the last bits of padding.
func strictBase64(enc *base64.Encoding) func(string) ([]byte, error) {
	strict := enc.Strict()
	return func(text string) ([]byte, error) {
		if strings.ContainsAny(text, "\r\n") {
			return nil, base64.CorruptInputError(0)
		}
		return strict.DecodeString(text)
	}
}

// strictBase64URL takes it with its padding or without: senders do not agree.
func strictBase64URL(text string) ([]byte, error) {
	if strings.HasSuffix(text, "=") {
		return strictBase64(base64.URLEncoding)(text)
	}
	return strictBase64(base64.RawURLEncoding)(text)
}

// given is the one signature that a request must hold, or why it is refused.
func (s *signature) given(h http.Header) (value, reason string) {
	switch values := h[s.header]; len(values) {
	case 0:
		return "", "missing"
	case 1:
		return values[0], ""
	default:
		return "", "several"
	}
}

func (s *signature) verify(h http.Header, body []byte) (reason string, previous bool) {
	value, reason := s.given(h)
	if reason != "" {
		return reason, false
	}
	text, ok := strings.CutPrefix(value, s.prefix)
	if !ok {
		return "malformed", false
	}
	given, err := s.decode(text)
	if err != nil {
		return "malformed", false
	}
	matched := -1
	for i, secret := range s.secrets {
		mac := hmac.New(s.hash, []byte(secret))
		mac.Write(body)
		if hmac.Equal(mac.Sum(nil), given) && matched < 0 {
			matched = i
		}
	}
	if matched < 0 {
		return "wrong", false
	}
	return "", matched > 0
}

// Sign is the value of the header for a body, as a sender with the configuration would send it.
func Sign(conf *Signature, body []byte) string {
	s := newSignature(conf)
	mac := hmac.New(s.hash, []byte(conf.Secret))
	mac.Write(body)
	sum := mac.Sum(nil)
	switch conf.Encoding {
	case "base64":
		return conf.Prefix + base64.StdEncoding.EncodeToString(sum)
	case "base64url":
		return conf.Prefix + base64.RawURLEncoding.EncodeToString(sum)
	default:
		return conf.Prefix + hex.EncodeToString(sum)
	}
}
