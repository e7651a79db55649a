package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/spf13/cobra"

	"github.com/holdfast-dev/holdfast/cmd/holdfast/local"
	"github.com/holdfast-dev/holdfast/pkg/localport"
)

// frontOptions are the flags of front.
type frontOptions struct {
	addr, orders, payments, llmGateway string
}

func frontCommand() *cobra.Command {
	var o frontOptions
	command := &cobra.Command{
		Use:   "front",
		Short: "Put the whole HTTP API of services that run elsewhere behind one port",
		Long: `Passes each request on to the service whose path it is, as up does, for services
that something else runs: Compose, for one. A request for a service that is being
started again waits for it. SIGTERM drains; a second signal does not wait.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			drain, force, stop := interrupts(cmd.Context())
			defer stop()
			return serveFront(drain, force, o, newConsole(cmd.OutOrStdout()))
		},
	}
	flags := command.PersistentFlags()
	flags.StringVar(&o.addr, "addr", ":8080", "where to listen")
	flags = command.Flags()
	flags.StringVar(&o.orders, "orders", "orders:8080", "where orders answers HTTP")
	flags.StringVar(&o.payments, "payments", "payments:8080", "where payments answers HTTP")
	flags.StringVar(&o.llmGateway, "llm-gateway", "llm-gateway:8080", "where the LLM gateway answers HTTP")
	command.AddCommand(&cobra.Command{
		Use:   "health",
		Short: "Succeed if the front that runs on this machine answers",
		Args:  cobra.NoArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return frontHealth(cmd.Context(), o.addr) },
	})
	return command
}

// serveFront serves until drain ends, and then lets the requests in flight
// finish until force ends, or stopBound has passed.
func serveFront(drain, force context.Context, o frontOptions, c *console) error {
	listener, err := (&net.ListenConfig{}).Listen(drain, "tcp", o.addr)
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	server := newFrontServer(map[string]local.Addresses{
		local.Orders: {HTTP: o.orders}, local.Payments: {HTTP: o.payments}, local.LLMGateway: {HTTP: o.llmGateway},
	})
	serving := make(chan error, 1)
	go func() { serving <- server.Serve(listener) }() // ends when the server is shut down or closed
	c.step("everything is at http://%s", listener.Addr())
	select {
	case err := <-serving:
		return fmt.Errorf("serve the front port: %w", err)
	case <-drain.Done():
	}
	c.step("draining")
	bounded, cancel := context.WithTimeout(force, stopBound)
	defer cancel()
	if server.Shutdown(bounded) != nil {
		return errors.Join(fmt.Errorf("drain the front port: requests were still under way; %w", context.Cause(bounded)), server.Close())
	}
	return nil
}

// frontHealth asks for the index page. It says nothing of the services: each
// answers for itself, and a front that was taken away with one of them could no
// longer pass requests on to the others.
func frontHealth(ctx context.Context, addr string) error {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	code, _, err := localport.Ask(ctx, http.MethodGet, addr, "/")
	if err != nil {
		return fmt.Errorf("asking the front port: %w", err)
	}
	if code != http.StatusOK {
		return fmt.Errorf("the front port answers %d", code)
	}
	return nil
}
