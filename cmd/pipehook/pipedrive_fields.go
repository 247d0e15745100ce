package main

import (
	"fmt"
	"slices"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/pipehook/pipehook/core/pipedrive/shape"
	"github.com/pipehook/pipehook/core/strict"
)

// fieldsJSON is what fields list prints with --json.
type fieldsJSON struct {
	File   string      `json:"file"`
	Pulled *time.Time  `json:"pulled,omitempty"`
	Fields []fieldJSON `json:"fields"`
}

type fieldJSON struct {
	Object string `json:"object"`
	shape.Field
}

func (c *cli) pipedriveFieldsCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "fields", Short: "The definitions of the account's fields, by which custom fields have names"}
	cmd.AddCommand(c.pipedriveFieldsPullCommand(), c.pipedriveFieldsListCommand())
	cmd.RunE = func(cmd *cobra.Command, _ []string) error { return cmd.Help() }
	return cmd
}

func (c *cli) pipedriveFieldsPullCommand() *cobra.Command {
	return &cobra.Command{
		Use: "pull", Short: "Ask Pipedrive for the definitions and write them into the file", Args: cobra.NoArgs,
		Long: "Ask Pipedrive for the definitions of all fields, and write them into the file that pipedrive.fields\nnames. A field keeps its name there as long as its label is the same. A pipehook that serves takes the\nfile within a second.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			conf, err := c.load(nil)
			if err != nil {
				return err
			}
			api, err := commandClient(conf)
			if err != nil {
				return err
			}
			f, err := pullFields(cmd.Context(), api, conf, time.Now(), true)
			if err != nil {
				return typeAgain(err, "pipehook pipedrive fields pull")
			}
			path := beside(conf, conf.Pipedrive.Fields)
			if c.json {
				return c.printFields(path, f, f.Objects(), false)
			}
			n := 0
			for _, object := range f.Objects() {
				n += len(f.Of(object))
			}
			fmt.Fprintf(c.stdout, "%s: %d fields of %d objects\n", path, n, len(f.Objects()))
			return nil
		},
	}
}

func (c *cli) pipedriveFieldsListCommand() *cobra.Command {
	var all bool
	cmd := &cobra.Command{
		Use: "list [OBJECT]", Short: "List custom fields by name", Args: cobra.MaximumNArgs(1),
		Long:    "List the custom fields that pipedrive.fields.json defines, with the names that event.fields,\nchanged and where know them by. Nobody is asked for anything.",
		Example: "  pipehook pipedrive fields list deal",
		RunE: func(cmd *cobra.Command, args []string) error {
			conf, err := c.load(nil)
			if err != nil {
				return err
			}
			path := beside(conf, conf.Pipedrive.Fields)
			if err := definitions.look(); err != nil {
				return &hinted{fmt.Errorf("%s: %w", path, err), "pipehook pipedrive fields pull"}
			}
			f := definitions.fields()
			if f == nil {
				return &hinted{fmt.Errorf("there is no %s", path), "pipehook pipedrive fields pull"}
			}
			objects := f.Objects()
			if len(args) == 1 {
				if err := checkObjects(args); err != nil {
					return err
				}
				if o, _ := shape.Find(args[0]); !o.Custom && !all {
					return usagef("pipehook pipedrive fields list", "%ss have no custom fields", o.Name)
				}
				objects = args
			}
			return c.printFields(path, f, objects, all)
		},
	}
	cmd.Flags().BoolVar(&all, "all", false, "built-in fields too")
	return cmd
}

// checkObjects refuses names of objects that there are not.
func checkObjects(names []string) error {
	var known []string
	for _, o := range shape.Objects() {
		known = append(known, o.Name)
	}
	for _, name := range names {
		if !slices.Contains(known, name) {
			return usagef(strict.Suggest(name, known), "%q is no object of Pipedrive's", name)
		}
	}
	return nil
}

func (c *cli) printFields(path string, f *shape.Fields, objects []string, all bool) error {
	out := fieldsJSON{File: path, Fields: []fieldJSON{}}
	if at := f.Pulled(); !at.IsZero() {
		out.Pulled = &at
	}
	for _, object := range objects {
		for _, field := range f.Of(object) {
			if field.Custom || all {
				out.Fields = append(out.Fields, fieldJSON{object, field})
			}
		}
	}
	if c.json {
		return c.printJSON(out)
	}
	w := tabwriter.NewWriter(c.stdout, 0, 4, 2, ' ', 0)
	fmt.Fprintln(w, "OBJECT\tNAME\tTYPE\tLABEL\tKEY")
	for _, field := range out.Fields {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", plain(field.Object), plain(field.Name), plain(field.Type), plain(field.Label), plain(field.Key))
	}
	return w.Flush()
}
