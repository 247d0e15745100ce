package main

import "github.com/spf13/cobra"

func (c *cli) scriptCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "script", Short: "Write a new script, run one, test them"}
	test := c.testCommand()
	cmd.AddCommand(c.scriptNewCommand(), c.scriptRunCommand(), test)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error { return cmd.Help() }
	return cmd
}
