package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"
	"go.yaml.in/yaml/v3"

	"github.com/holdfast-dev/holdfast/pkg/auth"
)

func keyCommand() *cobra.Command {
	command := &cobra.Command{
		Use:   "key",
		Short: "Make API keys",
		Args:  cobra.ArbitraryArgs,
		RunE:  helpOrUnknown,
	}
	command.AddCommand(newKeyCommand())
	return command
}

func newKeyCommand() *cobra.Command {
	var tenant string
	var scopes []string
	var ofService bool
	command := &cobra.Command{
		Use:   "new",
		Short: "Make an API key, and the entry for the file of HOLDFAST_API_KEYS_FILE",
		Long: `Makes an API key. It is shown once, on stderr, and stored nowhere: what services
know of it is its hash, in the entry that is printed for their key file.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if (tenant == "") != ofService {
				return errors.New("a key belongs either to a tenant or to a service: name one with --tenant or --service")
			}
			if ofService {
				scopes = append(scopes, auth.ScopeActAs)
			}
			token, stored := auth.NewKey(tenant, scopes, ofService)
			fmt.Fprintln(cmd.ErrOrStderr(), "the key, shown this once: "+token)
			entry, err := yaml.Marshal(map[string][]auth.StoredKey{"keys": {stored}})
			if err != nil {
				return fmt.Errorf("print the entry: %w", err)
			}
			_, err = cmd.OutOrStdout().Write(entry)
			return err
		},
	}
	flags := command.Flags()
	flags.StringVar(&tenant, "tenant", "", "the tenant that the key belongs to")
	flags.BoolVar(&ofService, "service", false, "it belongs to a service, which may act for any tenant")
	flags.StringSliceVar(&scopes, "scopes", []string{"orders.read", "orders.write"}, "what it allows")
	return command
}
