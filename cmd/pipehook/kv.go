package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/pipehook/pipehook/core"
	"github.com/pipehook/pipehook/core/store"
)

const kvHelp = `Look at what scripts and plugins remember with ctx.kv and host.KV, and change it. Each has entries of its
own: a listener's are under its name, a stage's under stage:NAME and a source's under source:NAME. Those of
ctx.kv.shared and host.SharedKV all share. Values are JSON.`

func (c *cli) kvCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "kv", Short: "Look at what scripts and plugins remember, and change it", Long: kvHelp}
	cmd.AddCommand(c.kvListCommand(), c.kvGetCommand(), c.kvSetCommand(), c.kvDeleteCommand())
	cmd.RunE = func(cmd *cobra.Command, _ []string) error { return cmd.Help() }
	return cmd
}

// kvSpace are the flags that say whose entries are meant.
type kvSpace struct {
	script string
	shared bool
}

func (s *kvSpace) add(cmd *cobra.Command) {
	cmd.Flags().StringVar(&s.script, "script", "", "the entries of this script or plugin: its listener's name, stage:NAME or source:NAME")
	cmd.Flags().BoolVar(&s.shared, "shared", false, "the entries that all scripts and plugins share")
}

// check refuses flags that do not say whose entries are meant; all are meant when none need be.
func (s *kvSpace) check(cmd *cobra.Command, all bool) error {
	switch {
	case s.shared && s.script != "":
		return usagef("leave one out", "--script and --shared are two different places")
	case cmd.Flags().Changed("script") && s.script == "":
		return usagef("name it, or use --shared", "--script is empty")
	case !all && !s.shared && s.script == "":
		return usagef(cmd.CommandPath()+" --script NAME, or --shared", "it is not said whose entries are meant")
	}
	return nil
}

// flags are what to type to mean the same.
func (s *kvSpace) flags() string {
	if s.shared {
		return "--shared"
	}
	return "--script " + s.script
}

// kvJSON is an entry as --json prints it.
type kvJSON struct {
	Script    string          `json:"script"` // "" for what all share
	Key       string          `json:"key"`
	Value     json.RawMessage `json:"value,omitempty"`
	Version   string          `json:"version"`
	ExpiresAt string          `json:"expiresAt,omitempty"`
}

func kvView(script string, e store.KVEntry) kvJSON {
	v := kvJSON{Script: script, Key: e.Key, Value: e.Value, Version: e.Version}
	if !e.Expires.IsZero() {
		v.ExpiresAt = e.Expires.UTC().Format(time.RFC3339Nano)
	}
	return v
}

func (c *cli) kvListCommand() *cobra.Command {
	var space kvSpace
	var prefix string
	var most limit
	var asCSV bool
	cmd := &cobra.Command{
		Use: "list", Short: "List entries in the order of their keys", Args: cobra.ArbitraryArgs, // refused below, with what was meant
		Long: `List entries in the order of their keys: of one script or plugin, of those that all share, or of everybody.

With --csv an entry is a row. The fields of values that are objects become columns, so that what a
script collects under keys of one beginning is a report.`,
		Example: "  pipehook kv list --script won-deals\n  pipehook kv list --shared --prefix won/ --csv > won.csv",
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return usagef("pipehook kv list --script "+shellWord(args[0]), "--script says of which script or plugin, and --prefix which keys: %q stands alone", args[0])
			}
			if err := space.check(cmd, true); err != nil {
				return err
			}
			if asCSV && c.json {
				return usagef("leave one out", "--json and --csv are two different forms")
			}
			return c.withReader(cmd.Context(), func(r *store.Reader) error {
				found, err := kvEntries(cmd.Context(), r, space, prefix, int(most))
				switch {
				case err != nil:
					return err
				case asCSV:
					return c.printKVTable(found, !space.shared && space.script == "")
				default:
					return c.printKV(found)
				}
			})
		},
	}
	space.add(cmd)
	cmd.Flags().StringVar(&prefix, "prefix", "", "only keys that begin so")
	cmd.Flags().Var(&most, "limit", "how many at most")
	cmd.Flags().BoolVar(&asCSV, "csv", false, "print CSV, with a column for each field")
	return cmd
}

// kvEntries reads all pages; most is 0 for everything.
func kvEntries(ctx context.Context, r *store.Reader, space kvSpace, prefix string, most int) ([]kvJSON, error) {
	scripts := []string{space.script}
	if !space.shared && space.script == "" {
		var err error
		if scripts, err = r.KVScripts(ctx); err != nil {
			return nil, err
		}
	}
	found := []kvJSON{}
	for _, script := range scripts {
		for after, more := "", true; more; {
			page, further, err := r.KVList(ctx, script, store.KVRange{Prefix: prefix, After: after})
			if err != nil {
				return nil, err
			}
			for _, e := range page {
				if most > 0 && len(found) == most {
					return found, nil
				}
				found, after = append(found, kvView(script, e)), e.Key
			}
			more = further
		}
	}
	return found, nil
}

func (c *cli) printKV(found []kvJSON) error {
	if c.json {
		return c.printJSON(found)
	}
	if len(found) == 0 {
		fmt.Fprintln(c.stderr, "no entries")
		return nil
	}
	w := tabwriter.NewWriter(c.stdout, 0, 4, 2, ' ', 0)
	fmt.Fprintln(w, "OWNER\tKEY\tVALUE\tVERSION\tEXPIRES")
	for _, e := range found {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", plain(orWord(e.Script, "(shared)")), plain(e.Key), shortened(plain(string(e.Value)), 80), e.Version, orWord(e.ExpiresAt, "never"))
	}
	return w.Flush()
}

func (c *cli) kvGetCommand() *cobra.Command {
	var space kvSpace
	cmd := &cobra.Command{
		Use: "get KEY", Short: "Print the value of an entry", Args: cobra.ExactArgs(1),
		Example: "  pipehook kv get --script won-deals last-seen",
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := space.check(cmd, false); err != nil {
				return err
			}
			return c.withReader(cmd.Context(), func(r *store.Reader) error {
				e, found, err := r.KVGet(cmd.Context(), space.script, args[0])
				switch {
				case err != nil:
					return kvRefusal(err)
				case !found:
					return noEntry(args[0], space)
				case c.json:
					return c.printJSON(kvView(space.script, e))
				case isTerminal(c.stdout):
					e.Value = []byte(plain(string(e.Value)))
				}
				_, err = fmt.Fprintf(c.stdout, "%s\n", e.Value)
				return err
			})
		},
	}
	space.add(cmd)
	return cmd
}

func noEntry(key string, space kvSpace) error {
	return &hinted{fmt.Errorf("there is no entry %q", key), "pipehook kv list " + space.flags()}
}

// kvRefusal makes what the user can mend a usage error.
func kvRefusal(err error) error {
	if kind := core.KindOf(err); kind == core.Invalid || kind == core.TooLarge {
		return usagef("", "%w", err)
	}
	return err
}

func (c *cli) kvSetCommand() *cobra.Command {
	var space kvSpace
	var ttl ago
	cmd := &cobra.Command{
		Use: "set KEY JSON", Short: "Set the value of an entry; - reads it from the standard input", Args: cobra.ExactArgs(2),
		Example: "  pipehook kv set --shared rates '{\"EUR\": 1.08}' --ttl 1d\n  pipehook kv set --script greet text '\"hello\"'",
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := space.check(cmd, false); err != nil {
				return err
			}
			value := []byte(args[1])
			if args[1] == "-" {
				var err error
				if value, err = io.ReadAll(io.LimitReader(c.stdin, store.KVMaxValue+2)); err != nil {
					return err
				}
			}
			if !json.Valid(value) && len(value) <= store.KVMaxValue {
				return usagef(`text stands in quotes that the shell leaves alone: '"hello"'`, "the value is not JSON")
			}
			return c.withManager(cmd.Context(), func(m *store.Manager) error {
				e, _, err := m.KVSet(cmd.Context(), space.script, args[0], value, store.KVSetting{TTL: time.Duration(ttl)})
				switch {
				case err != nil:
					return kvRefusal(err)
				case c.json:
					return c.printJSON(kvView(space.script, e))
				}
				_, err = fmt.Fprintf(c.stdout, "%s is set\n", plain(args[0]))
				return err
			})
		},
	}
	space.add(cmd)
	cmd.Flags().Var(&ttl, "ttl", "the entry is gone after so long, such as 24h or 7d")
	return cmd
}

func (c *cli) kvDeleteCommand() *cobra.Command {
	var space kvSpace
	cmd := &cobra.Command{
		Use: "delete KEY…", Short: "Delete entries", Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := space.check(cmd, false); err != nil {
				return err
			}
			return c.withManager(cmd.Context(), func(m *store.Manager) error {
				var missing several
				n := 0
				for _, key := range args {
					found, err := m.KVDelete(cmd.Context(), space.script, key, nil)
					switch {
					case err != nil:
						return kvRefusal(err)
					case found:
						n++
					default:
						missing = append(missing, noEntry(key, space))
					}
				}
				if err := c.tellDeleted(n); err != nil || len(missing) == 0 {
					return err
				}
				return missing
			})
		},
	}
	space.add(cmd)
	return cmd
}

func (c *cli) tellDeleted(n int) error {
	if c.json {
		return c.printJSON(map[string]int{"deleted": n})
	}
	word := "entries"
	if n == 1 {
		word = "entry"
	}
	_, err := fmt.Fprintf(c.stdout, "%d %s deleted\n", n, word)
	return err
}
