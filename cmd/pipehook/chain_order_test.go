package main

import (
	"slices"
	"strings"
	"testing"
)

func TestAWeakeningOrderIsPutIntoWords(t *testing.T) {
	tests := []struct {
		name  string
		chain string
		want  []string // the beginnings of the sentences
	}{
		{name: "the usual order costs nothing", chain: "authenticate validate dedupe persist dispatch"},
		{name: "user stages in between cost nothing", chain: "authenticate validate script dedupe plugin persist dispatch"},
		{name: "an empty chain", chain: "", want: []string{"no authenticate", "no dedupe", "no persist", "no dispatch"}},
		{name: "dispatch before persist", chain: "authenticate validate dedupe dispatch persist", want: []string{"dispatch before persist: a listener may run for an event that is then lost"}},
		{name: "dedupe before authenticate", chain: "dedupe authenticate persist dispatch", want: []string{"dedupe before authenticate"}},
		{name: "everything before authenticate", chain: "validate dedupe persist dispatch authenticate", want: []string{
			"validate before authenticate", "dedupe before authenticate", "dedupe and persist before authenticate: a stranger can suppress events",
			"persist before authenticate", "dispatch before authenticate"}},
		{name: "dedupe after persist", chain: "authenticate persist dedupe dispatch", want: []string{"dedupe after persist"}},
		{name: "dedupe after dispatch", chain: "authenticate persist dispatch dedupe", want: []string{"dedupe after dispatch"}},
		{name: "validate last", chain: "authenticate dedupe persist dispatch validate", want: []string{"validate after persist", "validate after dispatch"}},
		{name: "dedupe without persist", chain: "authenticate dedupe dispatch", want: []string{"dedupe without persist", "no persist"}},
		{name: "a script first", chain: "script authenticate validate dedupe persist dispatch", want: []string{"script before authenticate: a stranger's body runs", "script before validate"}},
		{name: "a script after persist", chain: "authenticate validate dedupe persist script dispatch", want: []string{"script after persist: an event that the script drops"}},
		{name: "a script last", chain: "authenticate validate dedupe persist dispatch script", want: []string{"script after dispatch: listeners are chosen before"}},
		{name: "a plugin first", chain: "plugin authenticate validate dedupe persist dispatch", want: []string{"plugin before authenticate: a stranger's body runs through your plugin", "plugin before validate"}},
		{name: "a plugin after persist", chain: "authenticate validate dedupe persist plugin dispatch", want: []string{"plugin after persist: an event that the plugin drops"}},
		{name: "a plugin last", chain: "authenticate validate dedupe persist dispatch plugin", want: []string{"plugin after dispatch: listeners are chosen before the plugin"}},
		{name: "repeated stages", chain: "authenticate dedupe dedupe persist persist persist dispatch", want: []string{"dedupe stands more than once", "persist stands more than once"}},
		{name: "two authenticate stages are both required and cost nothing", chain: "authenticate authenticate dedupe persist dispatch"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got := orderCosts(strings.Fields(test.chain))
			ok := slices.EqualFunc(got, test.want, strings.HasPrefix)
			if !ok {
				t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(test.want, "\n"))
			}
		})
	}
}
