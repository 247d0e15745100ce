package sdk_test

import (
	"encoding/json"
	"log/slog"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/pipehook/pipehook/plugins/sdk"
	"github.com/pipehook/pipehook/plugins/sdk/sdktest"
)

// settings is a configuration with values of every sort.
type settings struct {
	Name    string            `json:"name" validate:"required"`
	Tries   int               `json:"tries" validate:"gte=1,lte=9"`
	Small   uint8             `json:"small"`
	Ratio   float64           `json:"ratio" validate:"lte=1"`
	On      bool              `json:"on"`
	List    []string          `json:"list" validate:"max=2,dive,required"`
	Wait    time.Duration     `json:"wait" validate:"lte=48h"`
	Size    sdk.Size          `json:"size" validate:"lte=1048576"`
	Level   slog.Level        `json:"level"`
	From    []netip.Prefix    `json:"from"`
	At      time.Time         `json:"at"`
	Number  json.Number       `json:"number"`
	Raw     json.RawMessage   `json:"raw"`
	Any     any               `json:"any"`
	Pair    [2]int            `json:"pair"`
	Words   map[string]string `json:"words"`
	Mode    string            `json:"mode" validate:"omitempty,oneof=fast safe"`
	Link    string            `json:"link" validate:"omitempty,url"`
	Limit   *int              `json:"limit" validate:"omitempty,gt=0"`
	Hosts   []host            `json:"hosts" validate:"dive"`
	ByName  map[string]host   `json:"by_name" validate:"dive"`
	Untaged string
	common
	Ignored string `json:"-"`
	kept    string
}

type host struct {
	Name string `json:"name" validate:"required,hostname"`
	Port int    `json:"port"`
}

type common struct {
	Retry struct {
		Max int `json:"max" validate:"gte=0"`
	} `json:"retry"`
}

// configured starts a plugin whose configuration is the JSON, over defaults.
func configured(t *testing.T, text string) (*settings, error) {
	t.Helper()
	conf := &settings{Name: "default", Tries: 7, Words: map[string]string{"a": "old", "b": "old"}, kept: "kept"}
	_, err := sdktest.TryStart(t, sdk.Plugin{Name: "p", Version: "1", Config: conf, Listener: sdk.ListenerFunc(nil)}, sdktest.Options{Config: json.RawMessage(text)})
	return conf, err
}

func TestAConfigurationIsReadOverItsDefaults(t *testing.T) {
	got, err := configured(t, `{"name":"a","tries":2,"small":255,"ratio":1,"on":true,"list":["x","y"],"wait":"1d12h","size":"1KiB","level":"WARN",
		"from":["203.0.113.7","2001:db8::/32"],"at":"2026-01-05T09:00:00Z","number":12345678901234567890.5,"raw":{"b":[1]},"any":{"n":12345678901234567890},
		"pair":[1,2],"words":{"a":"new"},"mode":"fast","link":"https://a.example/","limit":3,"hosts":[{"name":"a"},{"name":"b","port":1}],
		"by_name":{"eu":{"name":"c"}},"untaged":"u","retry":{"max":4}}`)
	if err != nil {
		t.Fatal(err)
	}
	three := 3
	want := &settings{
		Name: "a", Tries: 2, Small: 255, Ratio: 1, On: true, List: []string{"x", "y"}, Wait: 36 * time.Hour, Size: 1024, Level: slog.LevelWarn,
		From: []netip.Prefix{netip.MustParsePrefix("203.0.113.7/32"), netip.MustParsePrefix("2001:db8::/32")}, At: time.Date(2026, 1, 5, 9, 0, 0, 0, time.UTC),
		Number: "12345678901234567890.5", Raw: json.RawMessage(`{"b":[1]}`), Any: map[string]any{"n": json.Number("12345678901234567890")},
		Pair: [2]int{1, 2}, Words: map[string]string{"a": "new", "b": "old"}, Mode: "fast", Link: "https://a.example/", Limit: &three,
		Hosts: []host{{Name: "a"}, {Name: "b", Port: 1}}, ByName: map[string]host{"eu": {Name: "c"}}, Untaged: "u", kept: "kept",
	}
	want.Retry.Max = 4
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v\nwant %+v", got, want)
	}
	if got, err = configured(t, "null"); err != nil || got.Name != "default" || got.Tries != 7 {
		t.Errorf("nothing: %+v, %v", got, err)
	}
}

func TestEveryMistakeOfAConfigurationHasItsKey(t *testing.T) {
	for text, want := range map[string]string{
		`{"nmae":"a"}`:                   `nmae: unknown key; did you mean "name"?`,
		`{"tries":"2"}`:                  "tries: must be a whole number, is text",
		`{"tries":1.5}`:                  "tries: must be a whole number, is a fraction",
		`{"tries":0}`:                    "tries: must be at least 1",
		`{"small":256}`:                  "small: is out of range",
		`{"small":-1}`:                   "small: is out of range",
		`{"name":1}`:                     "name: must be text, is a number",
		`{"name":""}`:                    "name: must not be empty",
		`{"retry":[1]}`:                  "retry: must be a table, is a list",
		`{"retry":{"max":true}}`:         "retry.max: must be a whole number, is true or false",
		`{"retry":{"max":-1}}`:           "retry.max: must be at least 0",
		`{"retry":{"mix":1}}`:            `retry.mix: unknown key; did you mean "max"?`,
		`{"list":"x"}`:                   "list: must be a list, is text",
		`{"list":["a","b","c"]}`:         "list: must have at most 2 entries",
		`{"list":["a",""]}`:              "list[1]: must not be empty",
		`{"wait":5}`:                     `wait: must be text with a unit; did you mean "5s"?`,
		`{"wait":"soon"}`:                `wait: must be a duration such as "5s"`,
		`{"wait":"3d"}`:                  "wait: must be at most 2d",
		`{"size":"2MiB"}`:                "size: must be at most 1MiB",
		`{"size":"much"}`:                `size: must be a size such as "1MiB"`,
		`{"level":"hunter2"}`:            `level: slog: level string it: unknown name`,
		`{"from":["10.0.0.0/33"]}`:       `from[0]: must be an address or network such as "203.0.113.0/24"`,
		`{"number":"5"}`:                 "number: must be a number, is text",
		`{"pair":"x"}`:                   "pair: must be a list, is text",
		`{"mode":"slow"}`:                "mode: must be one of fast, safe",
		`{"link":"nowhere"}`:             "link: must be a URL",
		`{"limit":0}`:                    "limit: must be above 0",
		`{"hosts":[{"name":"a"},{}]}`:    "hosts[1].name: is required",
		`{"hosts":[{"name":"a b"}]}`:     "hosts[0].name: must be a host's name",
		`{"hosts":[{"nme":"a"}]}`:        "hosts[0].nme: unknown key; did you mean \"name\"?\nhosts[0].name: is required",
		`{"by_name":{"eu":{}}}`:          "by_name.eu.name: is required",
		`{"kept":"x","Ignored":"x"}`:     "Ignored: unknown key; known here: LIST\nkept: unknown key; known here: LIST",
		`{"tries":"x","on":1,"b.c":"x"}`: "\"b.c\": unknown key; known here: LIST\non: must be true or false, is a number\ntries: must be a whole number, is text",
		`[1]`:                            "the configuration is no table",
	} {
		_, err := configured(t, text)
		got := "nothing"
		if err != nil {
			got = strings.ReplaceAll(err.Error(), "Untaged, any, at, by_name, from, hosts, level, limit, link, list, mode, name, number, on, pair, ratio, raw, retry, size, small, tries, wait, words", "LIST")
		}
		if got != want {
			t.Errorf("%s: %s\nwant %s", text, got, want)
		}
	}
}

func TestAConfigOfAnotherKindIsTheAuthorsMistake(t *testing.T) {
	for _, conf := range []any{settings{}, new(int), (*settings)(nil), map[string]any{}} {
		_, err := sdktest.TryStart(t, sdk.Plugin{Name: "p", Version: "1", Config: conf, Listener: sdk.ListenerFunc(nil)}, sdktest.Options{})
		if err == nil || !strings.Contains(err.Error(), "must be a pointer to a struct") {
			t.Errorf("%T: %v", conf, err)
		}
	}
	_, err := sdktest.TryStart(t, sdk.Plugin{Name: "p", Version: "1", Listener: sdk.ListenerFunc(nil)}, sdktest.Options{Config: map[string]any{"a": 1}})
	if err == nil || err.Error() != "a: unknown key; this table has no keys" {
		t.Errorf("a plugin without a configuration: %v", err)
	}
}

// pipehook has read the table as TOML, but a host may send anything, and a value that is wrong may be a
// secret.
func FuzzAConfigurationIsReadOrItsMistakesHaveNoValues(f *testing.F) {
	const secret = "hunter2hunter2"
	for _, seed := range []string{`{"tries":2,"retry":{"max":1}}`, `{"level":"S","from":["S"],"at":"S"}`, `{"hosts":[{"name":"S"}],"by_name":{"a":{"port":1e400}}}`, `{"any":[null,{}],"pair":[1],"raw":null}`} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if strings.Contains(text, "hunter") {
			return
		}
		err := sdk.Decode([]byte(strings.ReplaceAll(text, `"S"`, `"`+secret+`"`)), &settings{})
		if err != nil && !strings.Contains(text, `"S":`) && strings.Contains(err.Error(), secret) {
			t.Error(err)
		}
	})
}
