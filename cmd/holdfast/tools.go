package main

import (
	"fmt"
	"runtime"

	"github.com/google/uuid"
	"github.com/spf13/cobra"

	"github.com/holdfast-dev/holdfast/pkg/service"
)

func versionCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the version",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, err := fmt.Fprintf(cmd.OutOrStdout(), "holdfast %s (%s, %s)\n", service.Version, service.Commit, runtime.Version())
			return err
		},
	}
}

// uuidCommand makes idempotency keys for pastes: not every system has a
// uuidgen, and few make version 7.
func uuidCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "uuid",
		Short: "Print a new UUIDv7, which makes a good Idempotency-Key",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			id, err := uuid.NewV7()
			if err != nil {
				return fmt.Errorf("make a UUID: %w", err)
			}
			_, err = fmt.Fprintln(cmd.OutOrStdout(), id)
			return err
		},
	}
}
