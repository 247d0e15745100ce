package main

import (
	"os"
	"strings"
	"testing"
)

const dealFields = `{"company":"acme","objects":{"deal":[{"key":"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa","label":"Contract end","type":"date","custom":true},
{"key":"title","label":"Title","type":"varchar"}]}}`

const fieldsPipeline = `
[[pipeline]]
name = "crm"
path = "/hook"
source = "pipedrive"

  [[pipeline.stage]]
  use = "persist"

[[listener]]
name = "deals"
script = "deals.js"
match = ["updated.deal"]
changed = ["fields.contract_end"]
`

func TestCheckKnowsCustomFieldsByName(t *testing.T) {
	t.Chdir(t.TempDir())
	put := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	put("deals.js", "export default () => {}")
	put("pipeline.toml", fieldsPipeline)
	says(t, exitDone, []string{"check"}, "whether there are fields.contract_end is not known: run pipehook pipedrive fields pull")
	says(t, exitFailed, []string{"pipedrive", "fields", "list"}, "there is no pipedrive.fields.json")
	put("pipedrive.fields.json", dealFields)
	says(t, exitDone, []string{"check"})
	says(t, exitDone, []string{"pipedrive", "fields", "list"}, "deal    contract_end  date  Contract end", "lead    contract_end")
	says(t, exitDone, []string{"pipedrive", "fields", "list", "deal", "--json"}, `"name": "contract_end"`)
	put("pipeline.toml", strings.Replace(fieldsPipeline, "contract_end", "contract_ends", 1))
	says(t, exitUsage, []string{"check"}, "there is no custom field fields.contract_ends of deal", `did you mean "contract_end"?`)
	put("pipedrive.fields.json", strings.Replace(dealFields, "}]}}", "}]}", 1))
	says(t, exitUsage, []string{"check"}, "pipedrive.fields: definitions of fields: not valid JSON at byte")
}
