package main

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"
)

// rootCommand is the table of contents.
func rootCommand(stdout, stderr io.Writer) *cobra.Command {
	root := &cobra.Command{
		Use:   "holdfast",
		Short: "A platform that stays correct while everything around it fails or is being deployed",
		Args:  cobra.ArbitraryArgs,
		RunE:  helpOrUnknown,
		// Errors are printed once, by run.
		SilenceErrors: true,
		SilenceUsage:  true,
		CompletionOptions: cobra.CompletionOptions{
			HiddenDefaultCmd: true,
		},
	}
	root.SetOut(stdout)
	root.SetErr(stderr)
	root.AddCommand(
		upCommand(),
		drillCommand(), loadCommand(), smokeCommand(), reconcileCommand(),
		serveCommand(), frontCommand(),
		migrateCommand(),
		configCommand(),
		keyCommand(),
		uuidCommand(),
		versionCommand(),
	)
	return root
}

// helpOrUnknown is what a command does that only has others below it.
func helpOrUnknown(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return cmd.Help()
	}
	return fmt.Errorf("there is no command %q: see %s --help", args[0], cmd.CommandPath())
}
