package main

import "github.com/spf13/cobra"

func (c *cli) pipedriveCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "pipedrive", Short: "Work with an account of Pipedrive's, or with a stand-in for it"}
	cmd.AddCommand(c.pipedriveConnectCommand(), c.pipedriveStatusCommand(), c.pipedriveDisconnectCommand(),
		c.pipedriveFieldsCommand(), c.pipedriveSimulateCommand(), c.pipedriveTablesCommand())
	cmd.RunE = func(cmd *cobra.Command, _ []string) error { return cmd.Help() }
	return cmd
}
