package hooks

import (
	"strings"
	"testing"
)

func TestAnEventIsReadInEitherVocabulary(t *testing.T) {
	for _, test := range []struct{ text, want, version1, version2 string }{
		{"updated.deal", "updated.deal", "updated.deal", "change.deal"},
		{"change.deal", "updated.deal", "updated.deal", "change.deal"},
		{"added.*", "added.*", "added.*", "create.*"},
		{"create.person", "added.person", "added.person", "create.person"},
		{"delete.lead", "deleted.lead", "deleted.lead", "delete.lead"},
		{"*.*", "*.*", "*.*", "*.*"},
		{" Change.Deal ", "updated.deal", "updated.deal", "change.deal"},
		{"merged.deal", "merged.deal", "merged.deal", "merged.deal"},
		{"added.activity_type", "added.activityType", "added.activityType", "create.activityType"},
	} {
		e, err := Parse(test.text)
		if err != nil || e.String() != test.want || e.Named(Version1) != test.version1 || e.Named(Version2) != test.version2 {
			t.Errorf("%q: got %s, %s, %s and error %v", test.text, e, e.Named(Version1), e.Named(Version2), err)
		}
	}
	for _, text := range []string{"", "deal", ".deal", "updated.", "moved.deal", "updated.deal.stage", "updated.de al"} {
		if e, err := Parse(text); err == nil {
			t.Errorf("%q is taken for %s", text, e)
		}
	}
}

func TestAnEventIsRefusedOnlyWhereItIsKnownToBeWrong(t *testing.T) {
	for _, test := range []struct {
		event, version string
		refused, warns string // what is said
	}{
		{"updated.deal", Version2, "", ""},
		{"*.*", Version1, "", ""},
		{"merged.deal", Version1, "", ""},
		{"merged.deal", Version2, "subscribe to *.deal", ""},
		{"merged.*", Version2, "subscribe to *.*", ""},
		{"added.activityType", Version1, "", ""},
		{"added.activityType", Version2, "version 1.0 only", ""},
		{"added.lead", Version1, "version 2.0 only", ""},
		{"change.deal_product", Version1, "version 2.0 only", ""},
		{"change.deal_product", Version2, "", ""},
		{"merged.activity", Version1, "", "not known to merge"},
		{"added.file", Version2, "", "not known to send"},
		{"added.deals", Version2, "", "did you mean deal?"},
		{"added.dealfield", Version2, "", "knows no object"},
		{"added.dealfield", Version1, "", "knows no object"},
	} {
		e, err := Parse(test.event)
		if err != nil {
			t.Fatal(err)
		}
		warning, err := e.Check(test.version)
		if (err != nil) != (test.refused != "") || err != nil && !strings.Contains(err.Error(), test.refused) {
			t.Errorf("%s in %s: error %v, want one with %q", test.event, test.version, err, test.refused)
		}
		if (warning != "") != (test.warns != "") || !strings.Contains(warning, test.warns) {
			t.Errorf("%s in %s: warning %q, want one with %q", test.event, test.version, warning, test.warns)
		}
	}
}
