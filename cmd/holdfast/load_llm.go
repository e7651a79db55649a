package main

import (
	"context"
	"math/rand/v2"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/holdfast-dev/holdfast/pkg/auth"
	"github.com/holdfast-dev/holdfast/test/drill"
)

func loadLLMCommand() *cobra.Command {
	var (
		target  drill.PromptTarget
		options = drill.DefaultPromptOptions()
	)
	command := &cobra.Command{
		Use:   "llm",
		Short: "Keep generations of an llm-gateway open that runs elsewhere",
		Long: `Has models write, in the protocols of OpenAI and Anthropic and over gRPC, and reads
each generation to its end: one that does not end as its protocol ends has failed.
New ones are opened all the time, whatever becomes of those before, and none is
tried again. It is steered as load is, prints a verdict of the same form when it is
stopped, and then waits for the generations that are under way.

It costs real money where the models are real: it is for the sandbox.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if !cmd.Flags().Changed("seed") {
				options.Seed = uint64(rand.Uint32()) // any will do, it is printed
			}
			ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM)
			defer stop()
			// The load outlives ctx by the generations that are under way.
			p, err := drill.StartPrompting(context.WithoutCancel(ctx), target, options)
			if err != nil {
				return err
			}
			verdict, err := beSteered(ctx, p)
			if err != nil {
				return err
			}
			return report(cmd.OutOrStdout(), verdict, true)
		},
	}
	flags := command.Flags()
	flags.StringVar(&target.GRPC, "grpc", "localhost:9090", "where llm-gateway answers gRPC")
	flags.StringVar(&target.HTTP, "http", "localhost:8080", "where llm-gateway answers HTTP")
	flags.StringVar(&target.Credential, "key", fromEnvironment("HOLDFAST_API_KEY", auth.DevelopmentKey), "API key (or HOLDFAST_API_KEY)")
	flags.IntVar(&options.Streams, "streams", options.Streams, "how many are open at a time, on average")
	flags.DurationVar(&options.Shortest, "shortest", options.Shortest, "how long a generation takes at least")
	flags.DurationVar(&options.Longest, "longest", options.Longest, "how long a generation takes at most")
	flags.Uint64Var(&options.Seed, "seed", options.Seed, "what generations are drawn from (default: a new one)")
	flags.Lookup("key").DefValue = "" // it may be a secret
	return command
}
