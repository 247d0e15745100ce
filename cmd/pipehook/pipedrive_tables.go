package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/pipehook/pipehook/core"
	"github.com/pipehook/pipehook/core/mirror"
)

// tableJSON is where a local table stands, as --json prints it.
type tableJSON struct {
	Object       string     `json:"object"`
	Table        string     `json:"table"`
	Rows         int64      `json:"rows"`
	Deleted      int64      `json:"deleted"`
	NewestUpdate *time.Time `json:"newestUpdate,omitempty"`
	Bytes        int64      `json:"bytes"`
}

func (c *cli) pipedriveTablesCommand() *cobra.Command {
	var schema bool
	cmd := &cobra.Command{
		Use: "tables", Short: "Show where the local tables of Pipedrive's records stand", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return c.pipedriveTables(cmd.Context(), schema) },
	}
	cmd.Flags().BoolVar(&schema, "schema", false, "print the SQL that makes the tables")
	return cmd
}

func (c *cli) pipedriveTables(ctx context.Context, schema bool) error {
	conf, err := c.load(nil)
	if err != nil {
		return err
	}
	if err := checkTables(conf).Err(); err != nil {
		return &usageError{err: err}
	}
	url := tablesURL(conf)
	path, sqlite := strings.CutPrefix(url, "sqlite:")
	if schema {
		_, err := fmt.Fprint(c.stdout, mirror.Schema(!sqlite))
		return err
	}
	if _, err := os.Stat(path); sqlite && err != nil { // looking makes no file
		next := `write a [[listener]] with use = "pipedrive_sync", then pipehook serve`
		if syncListener(conf) != nil {
			next = "pipehook sync, or pipehook serve, which fills them at its start"
			if r := conf.Pipedrive.Reconcile; !r.AtStart || r.Every == 0 {
				next = "pipehook sync"
			}
		}
		return &hinted{fmt.Errorf("there are no local tables at %s", path), next}
	}
	m, err := mirror.Open(ctx, mirror.Options{URL: url, Objects: conf.Pipedrive.Sync.Objects})
	if err != nil {
		return err
	}
	all, err := m.Standings(ctx)
	if err = errors.Join(err, m.Close()); err != nil {
		return err
	}
	return c.printTables(all)
}

func (c *cli) printTables(all []mirror.Standing) error {
	if c.json {
		list := make([]tableJSON, len(all))
		for i, s := range all {
			list[i] = tableJSON{Object: s.Object, Table: s.Table, Rows: s.Rows, Deleted: s.Deleted, Bytes: s.Bytes}
			if !s.Newest.IsZero() {
				list[i].NewestUpdate = &s.Newest
			}
		}
		return c.printJSON(list)
	}
	w := tabwriter.NewWriter(c.stdout, 0, 4, 2, ' ', 0)
	fmt.Fprintln(w, "TABLE\tROWS\tDELETED\tNEWEST UPDATE\tSIZE")
	for _, s := range all {
		newest := "-"
		if !s.Newest.IsZero() {
			newest = s.Newest.Format(time.RFC3339)
		}
		fmt.Fprintf(w, "%s\t%d\t%d\t%s\t%s\n", s.Table, s.Rows, s.Deleted, newest, core.Size(s.Bytes))
	}
	return w.Flush()
}
