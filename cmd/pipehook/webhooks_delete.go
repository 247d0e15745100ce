package main

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/pipehook/pipehook/core/pipedrive/hooks"
)

func (c *cli) webhooksDeleteCommand() *cobra.Command {
	var ids webhookIDs
	var yes bool
	cmd := &cobra.Command{
		Use: "delete [ID…]", Short: "Delete webhooks of the account", Args: cobra.ArbitraryArgs,
		Long:    "Delete the webhooks of the ids. On a terminal they can be chosen from a list, and are asked for once more\nunless --yes is given.",
		Example: "  pipehook webhooks delete 12345\n  pipehook webhooks delete --id 12,13 --yes",
		RunE: func(cmd *cobra.Command, args []string) error {
			for _, one := range args {
				if err := ids.Set(one); err != nil {
					return usagef("pipehook webhooks list shows the ids", "%w", err)
				}
			}
			if len(ids) == 0 && c.asker() == nil {
				return usagef("pipehook webhooks delete ID; pipehook webhooks list shows them", "nothing is chosen")
			}
			r, err := c.registrar(true)
			if err != nil {
				return err
			}
			has, err := r.webhooks(cmd.Context())
			if err != nil {
				return err
			}
			if len(ids) == 0 {
				if len(has) == 0 {
					fmt.Fprintln(c.stderr, "no webhooks")
					return nil
				}
				if ids, err = c.chooseWebhooks(cmd, r, has); err != nil {
					return err
				}
			}
			chosen, err := webhooksByID(has, ids)
			if err != nil {
				return err
			}
			return c.deleteWebhooks(cmd, r, chosen, yes)
		},
	}
	cmd.Flags().Var(&ids, "id", "the id of a webhook, or several with commas; may be given several times")
	cmd.Flags().BoolVar(&yes, "yes", false, "do not ask")
	return cmd
}

// webhookIDs are ids as flags and arguments give them, one or several with commas.
type webhookIDs []int64

func (ids *webhookIDs) String() string { return "" }

// Type is what help shows.
func (ids *webhookIDs) Type() string { return "ID" }

// Set adds to those that were given.
func (ids *webhookIDs) Set(text string) error {
	for word := range strings.FieldsFuncSeq(text, func(c rune) bool { return c == ' ' || c == ',' }) {
		id, err := strconv.ParseInt(word, 10, 64)
		if err != nil || id <= 0 {
			return fmt.Errorf("%q is no id of a webhook, which is a number", word)
		}
		*ids = append(*ids, id)
	}
	return nil
}

func (c *cli) chooseWebhooks(cmd *cobra.Command, r *registrar, has []hooks.Webhook) ([]int64, error) {
	if err := c.printWebhooks(r.views(nil, has), false); err != nil {
		return nil, err
	}
	text, err := c.asker().text(cmd.Context(), "ids to delete, separated by spaces", "")
	if err != nil {
		return nil, err
	}
	var ids webhookIDs
	if err := ids.Set(text); err != nil {
		return nil, usagef("pipehook webhooks list", "%w", err)
	}
	if ids == nil {
		return nil, usagef("", "nothing is chosen")
	}
	return ids, nil
}

func webhooksByID(has []hooks.Webhook, ids []int64) ([]hooks.Webhook, error) {
	byID := map[int64]hooks.Webhook{}
	for _, h := range has {
		byID[h.ID] = h
	}
	var chosen []hooks.Webhook
	var missing several
	slices.Sort(ids)
	for _, id := range slices.Compact(ids) {
		h, ok := byID[id]
		if !ok {
			missing = append(missing, &hinted{fmt.Errorf("there is no webhook %d", id), "pipehook webhooks list shows which there are"})
			continue
		}
		chosen = append(chosen, h)
	}
	if missing != nil {
		return nil, missing
	}
	return chosen, nil
}

func (c *cli) deleteWebhooks(cmd *cobra.Command, r *registrar, chosen []hooks.Webhook, yes bool) error {
	if !c.json {
		for _, h := range chosen {
			fmt.Fprintf(c.stderr, "webhook %d: %s to %s\n", h.ID, h.Event.Named(h.Version), plain(h.URL))
		}
	}
	sure, err := c.confirm(cmd.Context(), yes, "delete "+count(len(chosen), "webhook"))
	if err != nil {
		return err
	}
	deleted := []int64{}
	if sure {
		for _, h := range chosen {
			if err := r.remove(cmd.Context(), h.ID); err != nil {
				return fmt.Errorf("webhook %d, after %d deleted: %w", h.ID, len(deleted), err)
			}
			deleted = append(deleted, h.ID)
		}
	}
	if c.json {
		return c.printJSON(map[string]any{"deleted": deleted})
	}
	_, err = fmt.Fprintf(c.stdout, "%s deleted\n", count(len(deleted), "webhook"))
	return err
}
