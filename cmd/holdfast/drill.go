package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/holdfast-dev/holdfast/test/drill"
)

// errRed says that a drill found something.
var errRed = errors.New("the drill failed")

func drillCommand() *cobra.Command {
	command := &cobra.Command{
		Use:   "drill",
		Short: "Do to a running platform what deploys and accidents do, and judge what clients saw",
		Args:  cobra.ArbitraryArgs,
		RunE:  helpOrUnknown,
	}
	command.AddCommand(rollingCommand())
	return command
}

func rollingCommand() *cobra.Command {
	options := drill.DefaultOptions()
	var sabotage string
	var asJSON bool
	command := &cobra.Command{
		Use:   "rolling",
		Short: "Replace every replica under load: no request may fail",
		Long: `Starts a Postgres of its own, the sandbox, and three replicas each of orders and
payments as processes; puts open-loop load on (gRPC and HTTP, reused and new
connections, retries off); replaces every replica; checks the invariants; and
prints a verdict. Exit code 1 means that something failed.

With --sabotage something is broken on purpose, and the verdict must be red:
  no-drain           replicas stop at once when told to
  no-readiness-flip  replicas go on saying that they are ready while they leave`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var err error
			if options.Sabotage, err = drill.ParseSabotage(drill.RollingName, sabotage); err != nil {
				return err
			}
			if !cmd.Flags().Changed("seed") {
				options.Seed = uint64(rand.Uint32()) // any will do, it is printed
			}
			options.Progress = progressOn(cmd.ErrOrStderr())
			ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM)
			defer stop()
			verdict, err := drill.Rolling(ctx, options)
			if errors.Is(err, context.Canceled) {
				return errors.New("the drill was interrupted")
			}
			if err != nil {
				return fmt.Errorf("the drill could not be held: %w", err)
			}
			return report(cmd.OutOrStdout(), verdict, asJSON)
		},
	}
	flags := command.Flags()
	flags.StringVar(&sabotage, "sabotage", "", "what to break on purpose: no-drain or no-readiness-flip")
	flags.Uint64Var(&options.Seed, "seed", options.Seed, "what requests and connections are drawn from (default: a new one)")
	flags.DurationVar(&options.Duration, "duration", options.Duration, "how long replicas are replaced; each is at least once")
	flags.Float64Var(&options.Rate, "rate", options.Rate, "requests a second")
	flags.BoolVar(&asJSON, "json", false, "print the verdict as JSON")
	return command
}

// report prints the verdict and turns a red one into the exit code.
func report(w io.Writer, verdict *drill.Verdict, asJSON bool) error {
	if asJSON {
		encoder := json.NewEncoder(w)
		encoder.SetIndent("", "  ")
		if err := encoder.Encode(verdict); err != nil {
			return fmt.Errorf("print the verdict: %w", err)
		}
	} else if err := verdict.Render(w); err != nil {
		return fmt.Errorf("print the verdict: %w", err)
	}
	if !verdict.Passed {
		return errRed
	}
	return nil
}

// progressOn prints each step with the time since the first.
func progressOn(w io.Writer) drill.Progress {
	start := time.Now()
	return func(format string, args ...any) {
		fmt.Fprintf(w, "%5.1fs  %s\n", time.Since(start).Seconds(), fmt.Sprintf(format, args...))
	}
}
