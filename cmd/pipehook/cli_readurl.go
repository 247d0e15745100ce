package main

import (
	"errors"
	"strings"

	"github.com/spf13/cobra"

	"github.com/pipehook/pipehook/core/config"
	"github.com/pipehook/pipehook/core/store"
)

// takesStore gives a group of commands the flag by which they need no configuration.
func (c *cli) takesStore(cmd *cobra.Command) {
	cmd.PersistentFlags().StringVar(&c.store, "store", "", "the database, instead of the configuration's store.url")
}

// readURL is the database for the commands that work beside a process. They are typed when
// something is wrong, by people whose shell has not the secrets of the service: so no more of the
// configuration has to be right than what says where the database is.
func (c *cli) readURL() (string, error) {
	conf, _, err := c.loadOrExample()
	return c.urlOf(conf, err)
}

// urlOf is readURL for a configuration that was read.
func (c *cli) urlOf(conf *config.Config, err error) (string, error) {
	if c.store != "" {
		if err := store.Check(c.store); err != nil {
			return "", usagef("", "--store: %w", err)
		}
		return c.store, nil
	}
	if conf == nil || concerns(err, "store") {
		return "", orStore(err)
	}
	return storeURL(conf), nil
}

// concerns reports whether what is wrong with a configuration may have to do with one of its
// tables. A mistake at no key, as in .env, and one at the top, as in the name of a table, may.
func concerns(err error, table string) bool {
	mistakes, ok := errors.AsType[config.Mistakes](err)
	if !ok {
		return err != nil
	}
	for _, m := range mistakes {
		end := strings.IndexAny(m.Key, ".[")
		if end < 0 || m.Key[:end] == table {
			return true
		}
	}
	return false
}

// orStore adds to mistakes what helps while they can't be mended.
func orStore(err error) error {
	if _, ok := errors.AsType[config.Mistakes](err); !ok {
		return err
	}
	return &usageError{err: several{err, usagef("mend the configuration, or name the database with --store URL", "with these mistakes it is not known which database is meant")}}
}
