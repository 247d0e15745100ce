package web

import (
	"crypto/hmac"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"hash"
	"io"
	"strings"

	"github.com/dop251/goja"
)

func (w *World) cryptoNatives() map[string]func(goja.FunctionCall) goja.Value {
	return map[string]func(goja.FunctionCall) goja.Value{
		"bytes": func(call goja.FunctionCall) goja.Value {
			return w.newBuffer([]byte(string(w.bytes(call.Argument(0), MaxData))))
		},
		"digest": func(call goja.FunctionCall) goja.Value {
			h := w.hash("digest", call.Argument(0))()
			h.Write(w.data(call.Argument(1), MaxData))
			return w.newBuffer(h.Sum(nil))
		},
		"hmac": func(call goja.FunctionCall) goja.Value {
			newHash, key := w.hash("hmac", call.Argument(0)), w.data(call.Argument(1), MaxData)
			if len(key) == 0 { // anybody can sign with it
				panic(w.vm.NewTypeError("hmac: the key is empty"))
			}
			h := hmac.New(newHash, key)
			h.Write(w.data(call.Argument(2), MaxData))
			return w.newBuffer(h.Sum(nil))
		},
		"encode": func(call goja.FunctionCall) goja.Value {
			return w.encoded(w.bytes(call.Argument(0), MaxData), call.Argument(1).String())
		},
		"equal": func(call goja.FunctionCall) goja.Value {
			a, aok := w.exact(call.Argument(0))
			b, bok := w.exact(call.Argument(1))
			return w.vm.ToValue(subtle.ConstantTimeCompare(a, b) == 1 && aok && bok)
		},
		"random": func(call goja.FunctionCall) goja.Value {
			w.random(w.bytes(call.Argument(0), 1<<16))
			return goja.Undefined()
		},
		"uuid": func(goja.FunctionCall) goja.Value {
			var id [16]byte
			w.random(id[:])
			id[6], id[8] = id[6]&0x0F|0x40, id[8]&0x3F|0x80
			return w.vm.ToValue(fmt.Sprintf("%x-%x-%x-%x-%x", id[:4], id[4:6], id[6:8], id[8:10], id[10:]))
		},
	}
}

// hash takes the names of web crypto and the short ones of other libraries: "SHA-256", "sha256".
func (w *World) hash(who string, v goja.Value) func() hash.Hash {
	if name, ok := v.(goja.String); ok && name.Length() <= 10 {
		switch strings.ReplaceAll(strings.ToLower(name.String()), "-", "") {
		case "sha1":
			return sha1.New
		case "sha256":
			return sha256.New
		case "sha384":
			return sha512.New384
		case "sha512":
			return sha512.New
		}
	}
	panic(w.vm.NewTypeError(who + ": the hash is not known; there are SHA-1, SHA-256, SHA-384 and SHA-512"))
}

func (w *World) encoded(data []byte, encoding string) goja.Value {
	switch encoding {
	case "hex":
		return w.vm.ToValue(hex.EncodeToString(data))
	case "base64":
		return w.vm.ToValue(base64.StdEncoding.EncodeToString(data))
	case "base64url":
		return w.vm.ToValue(base64.RawURLEncoding.EncodeToString(data))
	}
	panic(w.vm.NewTypeError(`the encoding is not known; there are "hex", "base64" and "base64url", and bytes without one`))
}

// exact is data for a comparison. Two texts that are no Unicode have the same bytes though they
// differ; they equal nothing.
func (w *World) exact(v goja.Value) (data []byte, ok bool) {
	data = w.data(v, MaxData)
	if _, text := v.(goja.String); text && !w.vm.ToValue(string(data)).StrictEquals(v) {
		return data, false
	}
	return data, true
}

func (w *World) random(into []byte) {
	if _, err := io.ReadFull(w.deps.Random, into); err != nil {
		panic(w.vm.NewGoError(fmt.Errorf("random bytes: %w", err)))
	}
}
