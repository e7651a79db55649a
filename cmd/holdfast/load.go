package main

import (
	"context"
	"math/rand/v2"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/holdfast-dev/holdfast/pkg/auth"
	"github.com/holdfast-dev/holdfast/test/drill"
)

func loadCommand() *cobra.Command {
	var (
		target  drill.Target
		options = drill.DefaultOptions()
		retries int
		length  time.Duration
	)
	command := &cobra.Command{
		Use:   "load",
		Short: "Put the drills' load on a platform that runs elsewhere, and audit it afterwards",
		Long: `Puts open-loop load on orders (gRPC and HTTP, on reused and new connections, fresh
orders, replays and spent keys; clients that follow an order while it changes)
until it is stopped, checks the invariants if it
was told where the databases and the sandbox are, and prints the verdict as JSON.
Exit code 1 means that something failed.

It is what a drill runs as a Job in a cluster. While it runs:

  holdfast load phase NAME  names what comes, so that the verdict can tell it apart
  holdfast load report      prints what was seen so far
  holdfast load stop        ends it and prints the verdict`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if !cmd.Flags().Changed("seed") {
				options.Seed = uint64(rand.Uint32()) // any will do, it is printed
			}
			ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM)
			defer stop()
			if length > 0 {
				var cancel context.CancelFunc
				ctx, cancel = context.WithTimeout(ctx, length)
				defer cancel()
			}
			// The load outlives ctx by the requests that are under way.
			v, err := drill.StartVisit(context.WithoutCancel(ctx), target, options, retries)
			if err != nil {
				return err
			}
			verdict, err := beSteered(ctx, v)
			if err != nil {
				return err
			}
			return report(cmd.OutOrStdout(), verdict, true)
		},
	}
	flags := command.Flags()
	flags.StringVar(&target.GRPC, "grpc", "localhost:9090", "where orders answers gRPC")
	flags.StringVar(&target.HTTP, "http", "localhost:8080", "where orders answers HTTP")
	flags.StringVar(&target.Credential, "key", fromEnvironment("HOLDFAST_API_KEY", auth.DevelopmentKey), "API key (or HOLDFAST_API_KEY)")
	flags.StringVar(&target.OrdersURL, "orders-database", os.Getenv("HOLDFAST_ORDERS_DATABASE_URL"), "database of orders, for the audit (or HOLDFAST_ORDERS_DATABASE_URL)")
	flags.StringVar(&target.PaymentsURL, "payments-database", os.Getenv("HOLDFAST_PAYMENTS_DATABASE_URL"), "database of payments, for the audit (or HOLDFAST_PAYMENTS_DATABASE_URL)")
	flags.StringVar(&target.SandboxURL, "sandbox", "", "URL of the sandbox, for the audit")
	flags.Uint64Var(&options.Seed, "seed", options.Seed, "what requests are drawn from (default: a new one)")
	flags.Float64Var(&options.Rate, "rate", options.Rate, "requests a second")
	flags.Float64Var(&options.Watches, "watches", options.Watches, "clients a second that begin to follow an order")
	flags.IntVar(&retries, "retries", 0, "how often a client tries again; zero shows every failure")
	flags.DurationVar(&length, "for", 0, "end by itself after this time")
	// Defaults from the environment may be secrets; help must not print them.
	for _, name := range []string{"key", "orders-database", "payments-database"} {
		flags.Lookup(name).DefValue = ""
	}
	command.AddCommand(
		loadLLMCommand(),
		steer("phase NAME", "Name what comes, in the report of the running load", http.MethodPost, "/phase"),
		steer("report", "Print what the running load has seen so far", http.MethodGet, "/report"),
		steer("stop", "End the running load and print its verdict", http.MethodPost, "/stop"),
	)
	return command
}

func fromEnvironment(name, otherwise string) string {
	if value := os.Getenv(name); value != "" {
		return value
	}
	return otherwise
}
