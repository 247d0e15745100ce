package main

import (
	"log/slog"

	"github.com/pipehook/pipehook/core/config"
	"github.com/pipehook/pipehook/core/pipedrive"
)

// accountClient makes the client of the account that the configuration describes. states keep the tokens of an app;
// they may be nil where only an API token is used, which goes before an app.
func accountClient(conf *config.Config, states pipedrive.States, log *slog.Logger) (*pipedrive.Client, error) {
	p := &conf.Pipedrive
	auth := pipedrive.Token(p.APIToken)
	if app := appOf(conf, states); app != nil && p.APIToken == "" {
		auth = app
	}
	return pipedrive.New(pipedrive.Options{
		BaseURL: p.Address(), Auth: auth, UserAgent: "pipehook/" + currentVersion(), Log: log,
		Budget: pipedrive.BudgetOptions{Daily: p.Budget.Daily, Burst: p.Budget.Burst},
	})
}
