package main

import (
	"errors"
	"fmt"
	"log/slog"

	"github.com/spf13/cobra"

	"github.com/pipehook/pipehook/core/store"
)

func (c *cli) migrateCommand() *cobra.Command {
	return &cobra.Command{
		Use: "migrate", Short: "Bring the database's schema up to date",
		Long: "Bring the database's schema up to date. serve and dev do it too when they start;\nthis is for those who want to see it done first.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			url, err := c.urlOf(c.load(nil))
			if err != nil {
				return err
			}
			s, err := store.Open(cmd.Context(), store.Options{URL: url, Log: slog.New(slog.DiscardHandler)})
			if err != nil {
				return err
			}
			if err := s.Close(); err != nil {
				return err
			}
			if c.json {
				return c.printJSON(map[string]bool{"upToDate": true})
			}
			_, err = fmt.Fprintln(c.stdout, "the schema is up to date")
			return err
		},
	}
}

func joinClose(err error, closeIt func() error) error { return errors.Join(err, closeIt()) }
