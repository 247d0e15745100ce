package config

import (
	"time"

	"github.com/pipehook/pipehook/core"
)

// Pipedrive is an account of Pipedrive's: how its API is reached, which webhooks it should have, and
// what is kept of its data.
type Pipedrive struct {
	Company   string      `koanf:"company"` // the name before .pipedrive.com
	APIToken  core.Secret `koanf:"api_token"`
	BaseURL   string      `koanf:"base_url" validate:"omitempty,http_url"`   // in place of https://COMPANY.pipedrive.com
	PublicURL string      `koanf:"public_url" validate:"omitempty,http_url"` // how Pipedrive reaches this server; a webhook's path is added
	Pipeline  string      `koanf:"pipeline"`                                 // that gets its webhooks; may be empty when there is one
	Fields    string      `koanf:"fields" validate:"required"`               // the file of the definitions of its fields

	Timeout time.Duration `koanf:"timeout" validate:"gt=0"`         // of one try, to the end of its answer
	Retries int           `koanf:"retries" validate:"gte=0,lte=10"` // after the first try

	OAuth     PipedriveOAuth     `koanf:"oauth"`
	Budget    PipedriveBudget    `koanf:"budget"`
	Sync      PipedriveSync      `koanf:"sync"`
	Reconcile PipedriveReconcile `koanf:"reconcile"`
	Watch     PipedriveWatch     `koanf:"watch"`
	Webhooks  []PipedriveWebhook `koanf:"webhook" validate:"dive"`
}

// PipedriveOAuth is an app of Pipedrive's marketplace, in place of an API token.
type PipedriveOAuth struct {
	ClientID     string      `koanf:"client_id" validate:"required_with=ClientSecret"`
	ClientSecret core.Secret `koanf:"client_secret" validate:"required_with=ClientID"`
	RedirectURL  string      `koanf:"redirect_url" validate:"omitempty,http_url"` // as the app is registered with
	Server       string      `koanf:"server" validate:"required,http_url"`        // that gives out tokens
}

// PipedriveBudget bounds what is asked of the API, which all of an account's tools share.
type PipedriveBudget struct {
	Daily int64 `koanf:"daily" validate:"gte=0"` // tokens in a day; 0 leaves it to Pipedrive
	Burst int   `koanf:"burst" validate:"gte=1"` // requests in two seconds, until Pipedrive says another number
}

// PipedriveSync says what is kept in local tables.
type PipedriveSync struct {
	Objects  []string    `koanf:"objects"`  // such as deal; empty for all there are
	Database core.Secret `koanf:"database"` // a URL as that of the store; empty for the store's PostgreSQL, or a file beside its SQLite
}

// PipedriveReconcile says when what webhooks missed is looked for.
type PipedriveReconcile struct {
	Every   time.Duration `koanf:"every" validate:"gte=0"`  // 0 for never
	AtStart bool          `koanf:"at_start"`                // and after an outage
	Settle  time.Duration `koanf:"settle" validate:"gte=0"` // a change younger than this may still arrive
	Overlap time.Duration `koanf:"overlap" validate:"gte=0"`
	Deletes time.Duration `koanf:"deletes" validate:"gte=0"` // how often all ids are compared, to find what was deleted
}

// PipedriveWatch says how often the account's webhooks are looked at, and when silence is odd.
type PipedriveWatch struct {
	Every time.Duration `koanf:"every" validate:"gte=0"` // 0 for never
	Quiet float64       `koanf:"quiet" validate:"gte=0"` // so many times the usual gap between two events; 0 for never
}

// PipedriveWebhook is a webhook that the account should have.
type PipedriveWebhook struct {
	Event   string `koanf:"event" validate:"required"` // action.object in either vocabulary
	Name    string `koanf:"name" validate:"max=255"`
	URL     string `koanf:"url" validate:"omitempty,http_url"`          // public_url and the pipeline's path when empty
	Version string `koanf:"version" validate:"omitempty,oneof=1.0 2.0"` // 2.0 when empty
	User    int64  `koanf:"user" validate:"gte=0"`                      // whose permissions it has; 0 for the token's
}

func pipedriveDefaults() Pipedrive {
	return Pipedrive{
		Fields: "pipedrive.fields.json", Timeout: 30 * time.Second, Retries: 3,
		OAuth:  PipedriveOAuth{Server: "https://oauth.pipedrive.com"},
		Budget: PipedriveBudget{Burst: 20},
		Reconcile: PipedriveReconcile{
			Every: time.Hour, AtStart: true, Settle: 5 * time.Minute, Overlap: 10 * time.Minute, Deletes: 24 * time.Hour,
		},
		Watch: PipedriveWatch{Every: 10 * time.Minute, Quiet: 10},
	}
}

// Connected reports whether the account's API can be asked. Where an app's company is, its tokens say.
func (p *Pipedrive) Connected() bool {
	if p.APIToken != "" {
		return p.Address() != ""
	}
	return p.OAuth.ClientID != ""
}

// Address is where the account's API is.
func (p *Pipedrive) Address() string {
	if p.BaseURL != "" || p.Company == "" {
		return p.BaseURL
	}
	return "https://" + p.Company + ".pipedrive.com"
}
