package pipedrive

import (
	"cmp"
	"encoding/json"
	"errors"
	"strings"

	"github.com/tidwall/gjson"

	"github.com/pipehook/pipehook/core/jsonscan"
)

// envelope is the top level and meta of either version.
type envelope struct {
	data, current, previous, meta gjson.Result
	event, v, retry               gjson.Result
	m                             meta
	ambiguous                     string // what the keys leave open: parsers choose differently
}

type meta struct {
	action, entity, object, id, entityID, companyID, userID, webhookID gjson.Result
	version, changeSource, bulkEdit, bulkUpdate, attempt               gjson.Result
	timestamp, timestampMicro, timestampMilli, mergedFrom, service     gjson.Result
}

func (env *envelope) version2() bool {
	if present(env.m.version) {
		return !strings.HasPrefix(text(env.m.version), "1")
	}
	return env.m.entity.Exists() && !env.v.Exists() && !env.event.Exists()
}

// eventV1 is the action and the object of version 1, which names them twice: in meta and as
// "updated.deal".
func (env *envelope) eventV1() (action, object string) {
	action, object, _ = strings.Cut(word(env.event), ".")
	return cmp.Or(word(env.m.action), action), cmp.Or(word(env.m.object), object)
}

// read refuses what no parser should be given, then takes the envelope apart in one pass.
func read(body []byte) (envelope, error) {
	var env envelope
	if jsonscan.Depth(body, jsonscan.MaxDepth) > jsonscan.MaxDepth {
		return env, malformed("the body is nested deeper than %d", jsonscan.MaxDepth)
	}
	if !gjson.ValidBytes(body) {
		return env, notJSON(body)
	}
	root := gjson.ParseBytes(body)
	if !root.IsObject() {
		return env, malformed("the body is not a JSON object")
	}
	env.walk(root, "")
	if env.meta.IsObject() {
		env.walk(env.meta, "meta.")
	}
	return env, nil
}

// notJSON says where the body goes wrong, never what stands there.
func notJSON(body []byte) error {
	var all json.RawMessage
	if e, ok := errors.AsType[*json.SyntaxError](json.Unmarshal(body, &all)); ok {
		return malformed("the body is not valid JSON at byte %d of %d", e.Offset, len(body))
	}
	return malformed("the body is not valid JSON")
}

// walk puts the values of an object where slot says. Of two equal keys it keeps the last, as most
// parsers do, and remembers that there were two.
func (env *envelope) walk(object gjson.Result, prefix string) {
	var others keys
	object.ForEach(func(k, value gjson.Result) bool {
		key := k.Str
		into := env.slot(prefix, key)
		switch {
		case into != nil:
			if into.Exists() {
				env.doubt(prefix, key, " stands twice")
			}
			*into = value
		case others.add(key):
			env.doubt(prefix, "", "a key stands twice")
		case !plain(key):
			if folded := fold(key); env.slot(prefix, folded) != nil {
				env.doubt(prefix, folded, " is also written in other letters")
			}
		}
		return true
	})
}

// doubt keeps the first doubt. Only keys that are known are named: others are the sender's text.
func (env *envelope) doubt(prefix, key, what string) {
	switch {
	case env.ambiguous != "":
	case key == "" && prefix != "":
		env.ambiguous = what + " in meta"
	default:
		env.ambiguous = prefix + key + what
	}
}

// keys are the first of an object's keys that nobody reads. They are few unless the body is
// hostile, and a double among those that come later misleads nobody.
type keys struct {
	list [32]string
	n    int
}

// add reports whether the key was there before.
func (k *keys) add(key string) bool {
	for _, known := range k.list[:k.n] {
		if known == key {
			return true
		}
	}
	if k.n < len(k.list) {
		k.list[k.n] = key
		k.n++
	}
	return false
}

// plain reports whether a key is written in the letters that Pipedrive's keys are written in.
func plain(key string) bool {
	for i := range len(key) {
		if c := key[i]; (c < 'a' || c > 'z') && c != '_' {
			return false
		}
	}
	return true
}

// fold makes equal what decoders that do not heed case take for equal, long s and the Kelvin sign
// among it.
func fold(key string) string { return strings.ToLower(strings.ToUpper(key)) }

// slot is where the value of a key goes; nil for one that nobody reads.
func (env *envelope) slot(prefix, key string) *gjson.Result {
	if prefix != "" {
		return env.m.slot(key)
	}
	switch key {
	case "data":
		return &env.data
	case "current":
		return &env.current
	case "previous":
		return &env.previous
	case "meta":
		return &env.meta
	case "event":
		return &env.event
	case "v":
		return &env.v
	case "retry":
		return &env.retry
	default:
		return nil
	}
}

func (m *meta) slot(key string) *gjson.Result {
	switch key {
	case "action":
		return &m.action
	case "entity":
		return &m.entity
	case "object":
		return &m.object
	case "id":
		return &m.id
	case "entity_id":
		return &m.entityID
	case "company_id":
		return &m.companyID
	case "user_id":
		return &m.userID
	case "webhook_id":
		return &m.webhookID
	case "version":
		return &m.version
	case "change_source":
		return &m.changeSource
	case "is_bulk_edit":
		return &m.bulkEdit
	case "is_bulk_update":
		return &m.bulkUpdate
	case "attempt":
		return &m.attempt
	case "timestamp":
		return &m.timestamp
	case "timestamp_micro":
		return &m.timestampMicro
	case "timestamp_milli":
		return &m.timestampMilli
	case "merged_from_id":
		return &m.mergedFrom
	case "pipedrive_service_name":
		return &m.service
	default:
		return nil
	}
}
