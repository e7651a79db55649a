package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"slices"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/holdfast-dev/holdfast/cmd/holdfast/local"
)

// upOptions are the flags of up.
type upOptions struct {
	port      int
	dataDir   string
	ephemeral bool
}

func upCommand() *cobra.Command {
	var o upOptions
	command := &cobra.Command{
		Use:   "up",
		Short: "Start everything: Postgres, the sandbox, every service, one port",
		Long: `Starts the platform on this machine: a Postgres (HOLDFAST_DATABASE_URL names
another one), the sandbox, and every service as a process of its own, which is
started again when it dies. Ctrl-C drains everything; a second one does not wait.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			drain, force, stop := interrupts(cmd.Context())
			defer stop()
			return up(drain, force, o, newConsole(cmd.OutOrStdout()))
		},
	}
	flags := command.Flags()
	flags.IntVar(&o.port, "port", 8080, "the front port; the next free one if it is taken")
	flags.StringVar(&o.dataDir, "data", "", "where data is kept (default: the user's data directory)")
	flags.BoolVar(&o.ephemeral, "ephemeral", false, "keep nothing")
	return command
}

// Bounds of what up waits for.
const (
	startBound = time.Minute
	stopBound  = 30 * time.Second
	// drainCap is what services have of it to finish requests: some would take
	// minutes by default.
	drainCap = "20s"
)

// platform is everything up has started.
type platform struct {
	console   *console
	data      *local.Data
	postgres  *local.Postgres
	addresses map[string]local.Addresses
	running   []*local.Supervisor // in the order in which they were started
	front     *http.Server
	frontURL  string
	serving   chan error
}

// up starts the platform, waits until ctx ends, and drains it until force ends.
// An interrupt while it starts drains what there is.
func up(ctx, force context.Context, o upOptions, c *console) (err error) {
	p := &platform{console: c, addresses: map[string]local.Addresses{}, serving: make(chan error, 1)}
	defer func() { err = errors.Join(err, p.stop(force)) }()
	if err := p.start(ctx, o); err != nil {
		if ctx.Err() != nil {
			return nil // interrupted: not a failure
		}
		return err
	}
	p.greet(o)
	select {
	case <-ctx.Done():
		return nil
	case err := <-p.serving:
		return fmt.Errorf("serve the front port: %w", err)
	}
}

// start starts everything, each after what it needs.
func (p *platform) start(ctx context.Context, o upOptions) (err error) {
	began := time.Now()
	if p.data, err = openData(o); err != nil {
		return err
	}
	environment, err := p.startDatabase(ctx, o)
	if err != nil {
		return err
	}
	if p.addresses, err = local.PreferredAddresses(ctx, local.StartOrder...); err != nil {
		return err
	}
	environment.SandboxURL = "http://" + p.addresses[local.Sandbox].HTTP
	environment.SandboxDir = p.data.SandboxDir()
	environment.PaymentsTarget = "dns:///" + p.addresses[local.Payments].GRPC
	environment.LLMTarget = "dns:///" + p.addresses[local.LLMGateway].GRPC
	// The front port is closed before the services drain: nobody is left whom a
	// lame duck could still serve.
	environment.Extra = map[string]string{"HOLDFAST_LAME_DUCK": "0s", "HOLDFAST_DRAIN_CAP": drainCap}

	p.console.step("migrating the databases")
	var migrations errgroup.Group
	for _, name := range local.Databases {
		migrations.Go(func() error { return local.Migrate(name, environment.For(name, p.addresses[name])) })
	}
	if err := migrations.Wait(); err != nil {
		return err
	}
	p.console.step("starting the services")
	for _, name := range local.StartOrder {
		if err := p.startService(ctx, name, environment); err != nil {
			return err
		}
	}
	if err := p.startFront(ctx, o.port); err != nil {
		return err
	}
	p.console.step("ready after %s", time.Since(began).Round(100*time.Millisecond))
	return nil
}

func openData(o upOptions) (*local.Data, error) {
	if o.ephemeral {
		return local.TemporaryData()
	}
	dir := o.dataDir
	if dir == "" {
		var err error
		if dir, err = local.DefaultDataDir(); err != nil {
			return nil, err
		}
	}
	return local.OpenData(dir)
}

// startDatabase starts Postgres and makes the databases.
func (p *platform) startDatabase(ctx context.Context, o upOptions) (local.Environment, error) {
	log, err := os.OpenFile(p.data.LogFile("postgres"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return local.Environment{}, fmt.Errorf("open a log file: %w", err)
	}
	p.console.step("starting Postgres")
	p.postgres, err = local.StartPostgres(ctx, local.PostgresOptions{
		URL:       os.Getenv("HOLDFAST_DATABASE_URL"),
		Dir:       p.data.PostgresDir(),
		Ephemeral: o.ephemeral,
		Log:       slog.New(slog.NewJSONHandler(log, nil)),
		Progress:  func(message string) { p.console.step("Postgres: %s", message) },
	})
	if err != nil {
		return local.Environment{}, err
	}
	if err := p.postgres.CreateDatabases(ctx, local.Databases...); err != nil {
		return local.Environment{}, err
	}
	secrets, err := p.data.DerivationSecrets()
	return local.Environment{DatabaseURL: p.postgres.Database, DerivationSecrets: secrets}, err
}

// startService starts one service and keeps it running.
func (p *platform) startService(ctx context.Context, name string, environment local.Environment) error {
	path := p.data.LogFile(name)
	log, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return fmt.Errorf("open a log file: %w", err)
	}
	info, err := log.Stat()
	if err != nil {
		return fmt.Errorf("open a log file: %w", err)
	}
	at := p.addresses[name]
	supervisor := &local.Supervisor{
		Command: local.Command{
			Name: name, Args: []string{"serve", name}, Env: environment.For(name, at), Output: log,
		},
		ReadyURL: at.ReadyURL(),
		PIDFile:  p.data.PIDFile(name),
		Notify:   func(message string) { p.console.step("%s", message) },
	}
	ctx, cancel := context.WithTimeout(ctx, startBound)
	defer cancel()
	if err := supervisor.Start(ctx); err != nil {
		return fmt.Errorf("%w; its log (%s) ends with: %s", err, path, local.WhyItEndedIn(path, info.Size()))
	}
	p.running = append(p.running, supervisor)
	return nil
}

// startFront opens the front port.
func (p *platform) startFront(ctx context.Context, port int) error {
	listener, err := local.Listen(ctx, port)
	if err != nil {
		return err
	}
	at := listener.Addr().(*net.TCPAddr) // a TCP listener has no other
	if at.Port != port && port != 0 {
		p.console.step("port %d is taken: using %d", port, at.Port)
	}
	p.frontURL = fmt.Sprintf("http://localhost:%d", at.Port)
	p.front = newFrontServer(p.addresses)
	go func() { // ends when stop shuts the server down
		if err := p.front.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			p.serving <- err
		}
	}()
	return nil
}

// stop drains what was started, in the opposite order: first nobody comes in
// any more, then each service goes before what it calls, Postgres last.
func (p *platform) stop(ctx context.Context) error {
	var errs []error
	if p.front != nil || len(p.running) > 0 {
		p.console.step("draining; Ctrl-C again does not wait")
	}
	if p.front != nil {
		bounded, cancel := context.WithTimeout(ctx, stopBound)
		if p.front.Shutdown(bounded) != nil {
			errs = append(errs, fmt.Errorf("drain the front port: requests were still under way; %w", context.Cause(bounded)))
			_ = p.front.Close()
		}
		cancel()
	}
	for _, supervisor := range slices.Backward(p.running) {
		bounded, cancel := context.WithTimeout(ctx, stopBound)
		errs = append(errs, supervisor.Stop(bounded))
		cancel()
	}
	if p.postgres != nil {
		bounded, cancel := context.WithTimeout(ctx, stopBound)
		errs = append(errs, p.postgres.Stop(bounded))
		cancel()
	}
	if p.data != nil {
		p.data.Close()
	}
	err := errors.Join(errs...)
	if err == nil && p.front != nil {
		p.console.step("everything has drained")
	}
	return err
}
