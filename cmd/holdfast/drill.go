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
	"strings"
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
	for _, d := range drill.All() {
		command.AddCommand(holdCommand(d))
	}
	return command
}

// holdCommand holds one drill.
func holdCommand(d drill.Drill) *cobra.Command {
	options := d.Defaults
	var sabotage string
	var asJSON bool
	command := &cobra.Command{
		Use:   d.Name,
		Short: d.Short,
		Long:  d.Long + " Exit code 1 means that something did not hold.\n\n" + sabotagesOf(d),
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var err error
			if options.Sabotage, err = drill.ParseSabotage(d.Name, sabotage); err != nil {
				return err
			}
			if !cmd.Flags().Changed("seed") {
				options.Seed = uint64(rand.Uint32()) // any will do, it is printed
			}
			options.Progress = progressOn(cmd.ErrOrStderr())
			ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM)
			defer stop()
			verdict, err := d.Hold(ctx, options)
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
	flags.StringVar(&sabotage, "sabotage", "", "what to break on purpose")
	flags.Uint64Var(&options.Seed, "seed", options.Seed, "what requests, connections and faults are drawn from (default: a new one)")
	flags.DurationVar(&options.Duration, "duration", options.Duration, "how long it does what it is about")
	flags.Float64Var(&options.Rate, "rate", options.Rate, d.Rate)
	if d.TakesPrevious {
		flags.StringVar(&options.Previous, "previous", "", "the command of the release before, for every second replica")
	}
	flags.BoolVar(&asJSON, "json", false, "print the verdict as JSON")
	return command
}

// sabotagesOf is what can be broken for a drill.
func sabotagesOf(d drill.Drill) string {
	var text strings.Builder
	text.WriteString("With --sabotage something is broken on purpose, and the verdict must be red:")
	for _, s := range d.Sabotages {
		fmt.Fprintf(&text, "\n  %-20s %s", s.Sabotage, s.Means)
	}
	return text.String()
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
