package main

import "github.com/spf13/cobra"

func (c *cli) pluginCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "plugin", Short: "Write a new plugin, and look at those there are",
		Long: "Write a new compiled plugin, start one on the side to see what it is and does, and see which run.\ndocs/plugins.md takes you from an empty folder to a plugin that works.",
	}
	test := c.pluginTestCommand()
	c.takesStore(test)
	cmd.AddCommand(c.pluginNewCommand(), c.pluginCheckCommand(), c.pluginListCommand(), test, c.pluginDebugCommand())
	cmd.RunE = func(cmd *cobra.Command, _ []string) error { return cmd.Help() }
	return cmd
}
