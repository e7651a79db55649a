package main

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/holdfast-dev/holdfast/cmd/holdfast/local"
	"github.com/holdfast-dev/holdfast/pkg/config"
)

func configCommand() *cobra.Command {
	return &cobra.Command{
		Use:       "config [SERVICE...]",
		Short:     "Print every environment variable with its default and meaning",
		ValidArgs: local.StartOrder,
		RunE: func(cmd *cobra.Command, args []string) error {
			services := slices.Sorted(slices.Values(local.StartOrder))
			if len(args) > 0 {
				services = args
			}
			settings, err := settingsOf(services)
			if err != nil {
				return err
			}
			return printSettings(cmd.OutOrStdout(), settings)
		},
	}
}

// setting is a variable and the services that read it.
type setting struct {
	config.Variable
	services []string
}

// settingsOf collects what the services read, by name. A variable that several
// read with the same default is listed once.
func settingsOf(services []string) ([]setting, error) {
	var settings []setting
	for _, name := range services {
		p, err := findPart(name)
		if err != nil {
			return nil, err
		}
		for _, variable := range p.variables {
			known := slices.IndexFunc(settings, func(s setting) bool {
				return s.Name == variable.Name && s.Default == variable.Default
			})
			if known < 0 {
				settings = append(settings, setting{Variable: variable})
				known = len(settings) - 1
			}
			settings[known].services = append(settings[known].services, name)
		}
	}
	slices.SortStableFunc(settings, func(a, b setting) int { return strings.Compare(a.Name, b.Name) })
	return settings, nil
}

func printSettings(w io.Writer, settings []setting) error {
	columns := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(columns, "VARIABLE\tDEFAULT\tREAD BY\tMEANING")
	for _, s := range settings {
		doc := s.Doc
		if s.Secret {
			doc += " (secret)"
		}
		fmt.Fprintf(columns, "%s\t%s\t%s\t%s\n", s.Name, s.Default, strings.Join(s.services, " "), doc)
	}
	if err := columns.Flush(); err != nil {
		return fmt.Errorf("print the variables: %w", err)
	}
	return nil
}
