package scripttest

import (
	"encoding/json"
	"net/url"
	"slices"
	"strings"
)

// Effect is one thing that a script did outside: a fetch, a change of kv, or an emit. Its JSON is what
// tests see.
type Effect struct {
	Fetch   string            `json:"fetch,omitempty"` // method and URL
	Headers map[string]string `json:"headers,omitempty"`
	Body    json.RawMessage   `json:"body,omitempty"` // as JSON where it is that, else as a string
	Status  int               `json:"status,omitempty"`
	Error   string            `json:"error,omitempty"` // what kept it from being done

	KV       string          `json:"kv,omitempty"` // "set" or "delete"
	Shared   bool            `json:"shared,omitempty"`
	Emit     string          `json:"emit,omitempty"` // the event's type
	ObjectID string          `json:"objectId,omitempty"`
	Key      string          `json:"key,omitempty"`
	Value    json.RawMessage `json:"value,omitempty"`
	TTL      float64         `json:"ttl,omitempty"` // seconds
	Conflict bool            `json:"conflict,omitempty"`

	Current   json.RawMessage `json:"current,omitempty"`
	Previous  json.RawMessage `json:"previous,omitempty"`
	Meta      json.RawMessage `json:"meta,omitempty"`
	Duplicate bool            `json:"duplicate,omitempty"`

	number int // in the order of the script
}

// jsonOrText is a body as JSON: itself where it is JSON.
func jsonOrText(body []byte) json.RawMessage {
	switch {
	case len(body) == 0:
		return nil
	case json.Valid(body):
		return slices.Clone(body)
	}
	return quoted(strings.ToValidUTF8(string(body), "\uFFFD"))
}

func quoted(s string) json.RawMessage {
	var b strings.Builder
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	_ = e.Encode(s) // text always encodes
	return json.RawMessage(strings.TrimSuffix(b.String(), "\n"))
}

// shortSecret is below what is looked for: it would be found in words that have nothing to do with it.
const shortSecret = 4

// Redactor shows secrets as [secret NAME], also as they stand in JSON and in URLs.
func Redactor(secrets map[string]string) *strings.Replacer {
	names := make([]string, 0, len(secrets))
	for name, value := range secrets {
		if len(value) >= shortSecret {
			names = append(names, name)
		}
	}
	slices.SortFunc(names, func(a, b string) int { // one may be part of another
		if d := len(secrets[b]) - len(secrets[a]); d != 0 {
			return d
		}
		return strings.Compare(a, b)
	})
	var pairs []string
	for _, name := range names {
		value, shown := secrets[name], "[secret "+name+"]"
		inJSON := string(quoted(value))
		inJSON = inJSON[1 : len(inJSON)-1]
		for _, form := range slices.Compact([]string{value, inJSON, url.QueryEscape(value), url.PathEscape(value)}) {
			pairs = append(pairs, form, shown)
		}
	}
	return strings.NewReplacer(pairs...)
}

// Redacted is the effect with its secrets hidden.
func (e Effect) Redacted(r *strings.Replacer) Effect {
	for _, text := range []*string{&e.Fetch, &e.Error, &e.ObjectID, &e.Key} {
		*text = r.Replace(*text)
	}
	for _, raw := range []*json.RawMessage{&e.Body, &e.Value, &e.Current, &e.Previous, &e.Meta} {
		if *raw != nil {
			*raw = json.RawMessage(r.Replace(string(*raw)))
		}
	}
	headers := make(map[string]string, len(e.Headers))
	for name, value := range e.Headers {
		headers[name] = r.Replace(value)
	}
	if e.Headers != nil {
		e.Headers = headers
	}
	return e
}

// String is the effect as one line for people.
func (e Effect) String() string {
	var b strings.Builder
	switch {
	case e.Fetch != "":
		b.WriteString("fetch " + e.Fetch)
		writePart(&b, "", e.Body)
		if e.Status != 0 {
			b.WriteString(" → " + statusText(e.Status))
		}
	case e.KV != "":
		b.WriteString("kv " + e.KV + " ")
		if e.Shared {
			b.WriteString("shared ")
		}
		b.WriteString(e.Key)
		writePart(&b, "", e.Value)
		if e.Conflict {
			b.WriteString(" → ifVersion was not met")
		}
	case e.Emit != "":
		b.WriteString(strings.TrimRight("emit "+e.Emit+" "+e.ObjectID, " "))
		writePart(&b, "current", e.Current)
		writePart(&b, "previous", e.Previous)
		writePart(&b, "meta", e.Meta)
		if e.Duplicate {
			b.WriteString(" → a duplicate")
		}
	}
	if e.Error != "" {
		b.WriteString(" → " + e.Error)
	}
	return strings.TrimRight(b.String(), " ")
}

func writePart(b *strings.Builder, name string, raw json.RawMessage) {
	if raw == nil {
		return
	}
	b.WriteByte(' ')
	if name != "" {
		b.WriteString(name + "=")
	}
	b.Write(raw)
}
