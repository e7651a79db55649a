package main

import (
	"context"
	"fmt"
	"io"
	"maps"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/holdfast-dev/holdfast/cmd/holdfast/local"
	"github.com/holdfast-dev/holdfast/pkg/config"
	"github.com/holdfast-dev/holdfast/pkg/resources"
	"github.com/holdfast-dev/holdfast/pkg/service"
	llmgateway "github.com/holdfast-dev/holdfast/services/llm-gateway"
	"github.com/holdfast-dev/holdfast/services/orders"
	"github.com/holdfast-dev/holdfast/services/payments"
	"github.com/holdfast-dev/holdfast/services/sandbox"
	"github.com/holdfast-dev/holdfast/test/drill"
)

// part is a service as this command can run it.
type part struct {
	// run does what the service's own binary does.
	run func(ctx context.Context, args []string, stdout io.Writer, opts ...service.Option) error
	// variables are what it reads from the environment.
	variables []config.Variable
}

// parts are the services by name.
func parts() map[string]part {
	of := func(definition service.Definition) part {
		return part{
			run: func(ctx context.Context, args []string, stdout io.Writer, opts ...service.Option) error {
				return service.Run(ctx, definition, args, stdout, opts...)
			},
			variables: definition.Variables(),
		}
	}
	return map[string]part{
		local.LLMGateway: of(llmgateway.Definition),
		local.Orders:     of(orders.Definition),
		local.Payments:   of(payments.Definition),
		local.Sandbox: {
			run: func(ctx context.Context, args []string, stdout io.Writer, _ ...service.Option) error {
				ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
				defer stop()
				return sandbox.Run(ctx, args, stdout, os.Stderr)
			},
			variables: config.Describe(sandbox.Config{}, resources.Config{}),
		},
	}
}

// findPart returns the named service.
func findPart(name string) (part, error) {
	known := parts()
	if p, ok := known[name]; ok {
		return p, nil
	}
	return part{}, fmt.Errorf("there is no service %q: the services are %s", name, strings.Join(slices.Sorted(maps.Keys(known)), ", "))
}

func serveCommand() *cobra.Command {
	var sabotage string
	var more development
	command := &cobra.Command{
		Use:       "serve SERVICE",
		Short:     "Run one service, configured by its environment (see config)",
		Args:      exactlyOne("service"),
		ValidArgs: slices.Sorted(maps.Keys(parts())),
		RunE: func(cmd *cobra.Command, args []string) error {
			p, err := findPart(args[0])
			if err != nil {
				return err
			}
			options, err := sabotageOptions(sabotage)
			if err != nil {
				return err
			}
			inside, err := more.options(args[0])
			if err != nil {
				return err
			}
			options = append(options, inside...)
			local.Lifeline()
			drill.RegisterResolver()
			return p.run(cmd.Context(), nil, cmd.OutOrStdout(), options...)
		},
	}
	command.Flags().StringVar(&sabotage, "sabotage", "", "break the service on purpose, for a drill")
	more.flags(command.Flags())
	command.Flags().VisitAll(func(flag *pflag.Flag) { flag.Hidden = true }) // a person has no use for them
	return command
}

// sabotageOptions translates a drill's sabotage into what a service does.
func sabotageOptions(name string) ([]service.Option, error) {
	switch drill.Sabotage(name) {
	case "":
		return nil, nil
	case drill.NoDrain:
		return []service.Option{service.WithSabotage(service.NoDrain)}, nil
	case drill.NoReadinessFlip:
		return []service.Option{service.WithSabotage(service.NoReadinessFlip)}, nil
	default:
		return nil, fmt.Errorf("no service knows the sabotage %q", name)
	}
}

func migrateCommand() *cobra.Command {
	return &cobra.Command{
		Use:       "migrate SERVICE",
		Short:     "Bring the database of one service to the schema this version needs",
		Args:      exactlyOne("service"),
		ValidArgs: local.Databases,
		RunE: func(cmd *cobra.Command, args []string) error {
			p, err := findPart(args[0])
			if err != nil {
				return err
			}
			if !slices.Contains(local.Databases, args[0]) {
				return fmt.Errorf("%s has no database", args[0])
			}
			return p.run(cmd.Context(), []string{"migrate"}, cmd.OutOrStdout())
		},
	}
}

// exactlyOne wants one argument and says which.
func exactlyOne(what string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) != 1 {
			return fmt.Errorf("name one %s: holdfast %s", what, cmd.Use)
		}
		return nil
	}
}
