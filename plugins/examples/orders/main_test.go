package main

import (
	"encoding/json"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/pipehook/pipehook/plugins/sdk"
	"github.com/pipehook/pipehook/plugins/sdk/sdktest"
)

// start runs the source.
func start(t testing.TB, config map[string]any) (*sdktest.Plugin, error) {
	t.Helper()
	o := &orders{}
	return sdktest.TryStart(t, sdk.Plugin{Name: "orders", Version: "0", Config: o, Source: o}, sdktest.Options{Config: config})
}

func started(t testing.TB) *sdktest.Plugin {
	t.Helper()
	p, err := start(t, map[string]any{"shops": map[string]string{"berlin": "Europe/Berlin", "quito": "America/Guayaquil"}})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// paid is a body of the sender's documentation, with parts replaced.
func paid(t testing.TB, replace ...string) []byte {
	t.Helper()
	body, err := os.ReadFile("testdata/paid.xml")
	if err != nil {
		t.Fatal(err)
	}
	return []byte(strings.NewReplacer(replace...).Replace(string(body)))
}

func TestANotificationIsAnEvent(t *testing.T) {
	source := started(t)
	const order = `{"number":"A-1001","currency":"EUR","total":32.00,"customer":{"id":"77","name":"Ada \u0026 Söhne"},` +
		`"lines":[{"sku":"MUG-1","quantity":2,"price":9.95,"text":"Mug"},{"sku":"TEA-3","quantity":1,"price":12.10,"text":"Tea \u003cgreen\u003e"}]}`
	for name, test := range map[string]struct {
		body                       []byte
		typ, id, current, previous string
		occurredAt, key, shop      string
	}{
		"a word of the shops' own": {
			body: paid(t), typ: "paid.order", id: "berlin/A-1001", current: order,
			occurredAt: "2026-11-20T08:30:00Z", shop: "berlin",
		},
		"a word that pipehook has its own for": {
			body: paid(t, `kind="paid"`, `kind="placed"`), typ: "added.order", id: "berlin/A-1001", current: order,
			occurredAt: "2026-11-20T08:30:00Z", shop: "berlin",
		},
		"an order that is gone": {
			body: paid(t, `kind="paid"`, `kind="cancelled"`), typ: "deleted.order", id: "berlin/A-1001", previous: order,
			occurredAt: "2026-11-20T08:30:00Z", shop: "berlin",
		},
		"another shop, with other clocks": {
			body: paid(t, `shop="berlin"`, `shop="quito"`), typ: "paid.order", id: "quito/A-1001", current: order,
			occurredAt: "2026-11-20T14:30:00Z", shop: "quito",
		},
		"other prefixes": {
			body: paid(t, "<s:", "<n:", "</s:", "</n:", "xmlns:s=", "xmlns:n="), typ: "paid.order", id: "berlin/A-1001", current: order,
			occurredAt: "2026-11-20T08:30:00Z", shop: "berlin",
		},
		"another encoding": {
			body: paid(t, "UTF-8", "ISO-8859-1", "ö", "\xf6"), typ: "paid.order", id: "berlin/A-1001", current: order,
			occurredAt: "2026-11-20T08:30:00Z", shop: "berlin",
		},
	} {
		ev := sdk.Event{Body: test.body}
		if err := source.Name(t.Context(), &ev); err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		for _, part := range [][3]string{
			{"type", ev.Type(), test.typ}, {"object id", ev.ObjectID, test.id}, {"current", string(ev.Current), test.current},
			{"previous", string(ev.Previous), test.previous}, {"time", ev.OccurredAt.UTC().Format(time.RFC3339), test.occurredAt},
			{"company", ev.Facts.CompanyID, test.shop},
		} {
			if part[1] != part[2] {
				t.Errorf("%s: %s %s, want %s", name, part[0], part[1], part[2])
			}
		}
		if ev.Attempt != 2 {
			t.Errorf("%s: attempt %d", name, ev.Attempt)
		}
	}
}

func TestARepetitionIsKnownByItsShopAndID(t *testing.T) {
	source := started(t)
	key := func(body []byte) string {
		ev := sdk.Event{Body: body}
		if err := source.Name(t.Context(), &ev); err != nil || len(ev.Key) == 0 {
			t.Fatalf("key %q, %v", ev.Key, err)
		}
		return string(ev.Key)
	}
	first := key(paid(t))
	if key(paid(t, `attempt="2"`, `attempt="3"`)) != first {
		t.Error("another attempt has another key")
	}
	if key(paid(t, `shop="berlin"`, `shop="quito"`)) == first || key(paid(t, `id="8f0c-77"`, `id="8f0c-78"`)) == first {
		t.Error("another notification has the same key")
	}
}

func TestWhatIsNotAsDocumentedIsRejected(t *testing.T) {
	source := started(t)
	laughs := `<!DOCTYPE n [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;">]>`
	for name, test := range map[string]struct {
		body []byte
		want string
	}{
		"nothing":             {nil, "EOF"},
		"JSON":                {[]byte(`{"a":1}`), "EOF"},
		"half of it":          {paid(t)[:600], "unexpected EOF"},
		"another namespace":   {paid(t, "urn:example:shop:notify", "urn:other"), "Notification"},
		"no event":            {paid(t, `<s:Event kind="paid"/>`, ""), "kind must be as"},
		"a shop of nobody's":  {paid(t, `shop="berlin"`, `shop="paris"`), `the shop "paris" is not known here`},
		"a number to escape":  {paid(t, `number="A-1001"`, `number="A/../1"`), "number must be as"},
		"a kind with a dot":   {paid(t, `kind="paid"`, `kind="a.b"`), "kind must be as"},
		"no such day":         {paid(t, "2026-11-20T", "2026-11-31T"), "sent must be a time"},
		"an amount in words":  {paid(t, "32.00", "a lot"), `"a lot" is no amount`},
		"an amount of floats": {paid(t, "32.00", "1e400"), `"1e400" is no amount`},
		"no total":            {paid(t, "<Total>32.00</Total>", ""), "the order has no Total"},
		"a line for nothing":  {paid(t, ` price="9.95"`, ""), "line 1 has no price"},
		"something behind":    {append(paid(t), "<more/>"...), "something stands behind its end"},
		"text behind":         {append(paid(t), "more"...), "something stands behind its end"},
		"a document type":     {paid(t, "<!-- a comment may stand anywhere -->", laughs), "a document type is not taken"},
		"an unknown entity":   {paid(t, "Ada", "&ada;"), "invalid character entity"},
		"an odd encoding":     {paid(t, "UTF-8", "UTF-7"), `the encoding "UTF-7" is not taken`},
		"bytes of no text":    {paid(t, "Ada", "\xff\xfe"), "invalid UTF-8"},
		"a deep nest":         {paid(t, "Mug", strings.Repeat("<a>", 1000)), "nested too deep"},
		"a deep nest outside": {paid(t, "<s:Event", strings.Repeat("<a>", 1_000_000)+"<s:Event"), "nested too deep"},
		"a million lines":     {paid(t, "</Lines>", strings.Repeat("<Line/>", 1_000_000)+"</Lines>"), "too long"},
		"a few too many":      {paid(t, "</Lines>", strings.Repeat(`<Line price="1"/>`, mostLines)+"</Lines>"), "the order has 502 lines"},
		"a long name":         {paid(t, "Ada", strings.Repeat("a", mostJSON)), "the order is too long"},
	} {
		ev := sdk.Event{Body: test.body}
		began := time.Now()
		err := source.Name(t.Context(), &ev)
		if _, ok := sdktest.Status(err); !ok || !strings.Contains(err.Error(), test.want) || len(err.Error()) > 512 {
			t.Errorf("%s: %T %.600v, want %s", name, err, err, test.want)
		}
		if took := time.Since(began); took > 5*time.Second {
			t.Errorf("%s: it took %s", name, took)
		}
	}
}

func TestShopsMustHaveAZone(t *testing.T) {
	for want, config := range map[string]map[string]any{
		"shops: is required":                         nil,
		`shops.paris: "Europe/Pari" is no time zone`: {"shops": map[string]string{"berlin": "UTC", "paris": "Europe/Pari"}},
		`shops.rome: "" is no time zone`:             {"shops": map[string]string{"rome": ""}},
	} {
		if _, err := start(t, config); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("error %v, want %s", err, want)
		}
	}
}

// Whatever comes is an event that pipehook can keep, or is rejected; nothing is the source's own failure.
func FuzzName(f *testing.F) {
	f.Add(paid(f))
	f.Add(paid(f, "UTF-8", "ISO-8859-1", "ö", "\xf6"))
	f.Add(paid(f, `kind="paid"`, `kind="cancelled"`))
	f.Add([]byte(`<a xmlns="b"><![CDATA[]]></a>`))
	o := &orders{Shops: map[string]string{"berlin": "Europe/Berlin"}}
	if err := o.Start(f.Context(), nil); err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		ev := sdk.Event{Body: body}
		err := o.Name(t.Context(), &ev) // without a connection, for the sake of speed
		if _, ok := sdktest.Status(err); err != nil && !ok {
			t.Fatalf("it is to blame itself: %v", err)
		}
		if err != nil {
			return
		}
		record := append(ev.Current, ev.Previous...)
		if !json.Valid(record) || record[0] != '{' || len(record) > mostJSON {
			t.Errorf("the record is %d bytes: %.200q", len(record), record)
		}
		if ev.Object != "order" || ev.Action == "" || strings.ContainsAny(ev.Action, ".* ") || len(ev.ObjectID) > 130 || len(ev.Key) > 130 || ev.OccurredAt.IsZero() {
			t.Errorf("%q %q %q", ev.Type(), ev.ObjectID, ev.Key)
		}
	})
}
