package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/holdfast-dev/holdfast/test/drill"
)

// loadControl is where a running load is steered: on loopback, so that whoever
// may run a command in its container may, and nobody else.
const loadControl = "127.0.0.1:8083"

// steerable is a load that runs until it is stopped.
type steerable interface {
	// Stop ends it. It may be called more than once.
	Stop()
	// Wait waits for its end, or for that of ctx, and returns the verdict.
	Wait(ctx context.Context) (*drill.Verdict, error)
	// Control answers whoever steers it.
	Control(verdict func() (*drill.Verdict, error)) http.Handler
}

// beSteered waits until ctx ends or the control port is told to stop the load.
func beSteered(ctx context.Context, load steerable) (*drill.Verdict, error) {
	verdict := sync.OnceValues(func() (*drill.Verdict, error) { return load.Wait(ctx) })
	var lc net.ListenConfig
	listener, err := lc.Listen(ctx, "tcp", loadControl)
	if err != nil {
		load.Stop()
		_, _ = verdict()
		return nil, fmt.Errorf("listening on %s: another load runs here: %w", loadControl, err)
	}
	server := &http.Server{Handler: load.Control(verdict), ReadHeaderTimeout: time.Second}
	served := make(chan struct{})
	go func() {
		defer close(served)
		_ = server.Serve(listener) // ends when it is shut down
	}()
	result, err := verdict()
	// Whoever asked for the verdict gets it before the process ends.
	leaving, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	_ = server.Shutdown(leaving)
	<-served
	return result, err
}

// steer is a command that asks the control port of a running load.
func steer(use, short, method, path string) *cobra.Command {
	command := &cobra.Command{Use: use, Short: short, Args: cobra.NoArgs}
	if path == "/phase" {
		command.Args = exactlyOne("phase")
	}
	command.RunE = func(cmd *cobra.Command, args []string) error {
		address := "http://" + loadControl + path
		if len(args) > 0 {
			address += "?" + url.Values{"name": {args[0]}}.Encode()
		}
		request, err := http.NewRequestWithContext(cmd.Context(), method, address, http.NoBody)
		if err != nil {
			return err
		}
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			return errors.New("no load runs here: holdfast load starts one")
		}
		defer response.Body.Close()
		if response.StatusCode != http.StatusOK {
			text, _ := io.ReadAll(io.LimitReader(response.Body, 1<<12))
			return fmt.Errorf("the load answered %s: %s", response.Status, text)
		}
		_, err = io.Copy(cmd.OutOrStdout(), response.Body)
		return err
	}
	return command
}
