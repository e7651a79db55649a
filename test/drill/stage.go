package drill

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"os"
	"strconv"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"golang.org/x/sync/errgroup"

	"github.com/holdfast-dev/holdfast/cmd/holdfast/local"
	"github.com/holdfast-dev/holdfast/test/invariants"
)

// What the stage imitates of a cluster: how often kubelet would probe, how long
// a change takes to reach what follows the endpoints, and how long a replica
// that was told to go still accepts, which must be longer than both together.
const (
	pollEvery   = 100 * time.Millisecond
	propagation = 500 * time.Millisecond
	lameDuck    = 1500 * time.Millisecond
)

// stage is a platform of replicas, and the way to it.
type stage struct {
	// networked has a [Link] stand between any two parts that talk to each other.
	networked bool
	// fickle clients do not only place orders: they send some twice at once, cancel
	// and edit them.
	fickle bool
	// variant is what each new replica has that others have not; nil for nothing.
	variant func(service string, command *local.Command, environment *local.Environment)
	// judge, if there is one, judges what only the drill knows.
	judge func(*Verdict)
	// schema is what is done to both databases after they were migrated.
	schema string
	// patience is for how long clients try again; patienceInAll if zero.
	patience time.Duration
	// settings are environment variables of the services beside the usual ones.
	settings map[string]string
	// inFront, if there is one, stands in front of the processor and is given its
	// address.
	inFront func(processor string) http.Handler

	progress         Progress
	data             *local.Data
	postgres         *local.Postgres
	sandbox          *local.Process
	sandboxURL       string
	payments, orders *fleet
	rpc, web         string // where clients reach orders

	mu      sync.Mutex // of what replicas that start at once add to
	pairs   []*pair
	closers []func(context.Context) // called last to first
}

// set starts everything: Postgres, migrations, the sandbox, payments, orders,
// and a balancer in front of these. What was started is stopped by close, also
// after an error.
func (s *stage) set(ctx context.Context, o *Options) (err error) {
	if err := s.prepare(o); err != nil {
		return err
	}
	if err := s.startPostgres(ctx); err != nil {
		return err
	}
	environment, err := s.environment()
	if err != nil {
		return err
	}
	s.progress("migrating the databases")
	if err := s.migrate(ctx, environment); err != nil {
		return err
	}
	if environment.DatabaseURL, err = s.connectDatabases(ctx); err != nil {
		return err
	}
	s.progress("starting the sandbox, %d of payments and %d of orders", o.Replicas, o.Replicas)
	if err := s.startSandbox(ctx, &environment); err != nil {
		return err
	}
	if s.payments, err = s.startFleet(ctx, local.Payments, environment, *o); err != nil {
		return err
	}
	if environment.PaymentsTarget, err = s.connectPayments(ctx); err != nil {
		return err
	}
	if s.orders, err = s.startFleet(ctx, local.Orders, environment, *o); err != nil {
		return err
	}
	return s.openFront(ctx, o.Seed)
}

// prepare checks what was asked for, and makes a place for data and logs.
func (s *stage) prepare(o *Options) (err error) {
	if err := o.Validate(); err != nil {
		return err
	}
	if o.Progress == nil {
		o.Progress = func(string, ...any) {}
	}
	s.progress = o.Progress
	if s.data, err = local.TemporaryData(); err != nil {
		return err
	}
	s.onClose(func(context.Context) { s.data.Close() })
	return nil
}

// environment is what all processes are told, once Postgres runs.
func (s *stage) environment() (local.Environment, error) {
	secrets, err := s.data.DerivationSecrets()
	if err != nil {
		return local.Environment{}, err
	}
	environment := local.Environment{
		DatabaseURL:       s.postgres.Database,
		DerivationSecrets: secrets,
		SandboxDir:        s.data.SandboxDir(),
		Extra: map[string]string{
			"HOLDFAST_LAME_DUCK": lameDuck.String(),
			// Eight processes share one server with its default of 100.
			"HOLDFAST_DATABASE_MAX_CONNS": strconv.Itoa(poolSize),
		},
	}
	maps.Copy(environment.Extra, s.settings)
	return environment, nil
}

// poolSize is how many connections each replica has to its database.
const poolSize = 8

func (s *stage) startPostgres(ctx context.Context) (err error) {
	s.progress("starting Postgres")
	s.postgres, err = local.StartPostgres(ctx, local.PostgresOptions{
		Dir: s.data.PostgresDir(), Ephemeral: true, Log: slog.New(slog.DiscardHandler),
		Progress: func(message string) { s.progress("Postgres: %s", message) },
	})
	if err == nil {
		s.onClose(func(ctx context.Context) { _ = s.postgres.Stop(ctx) }) // its data goes with the directory
	}
	return err
}

func (s *stage) migrate(ctx context.Context, environment local.Environment) error {
	if err := s.postgres.CreateDatabases(ctx, local.Shop...); err != nil {
		return err
	}
	var migrations errgroup.Group
	for _, service := range local.Shop {
		migrations.Go(func() error { return local.Migrate(service, environment.For(service, local.Addresses{})) })
	}
	if err := migrations.Wait(); err != nil || s.schema == "" {
		return err
	}
	for _, service := range local.Shop {
		if err := s.exec(ctx, service, s.schema); err != nil {
			return fmt.Errorf("break the schema of %s: %w", service, err)
		}
	}
	return nil
}

// exec runs a statement in one of the databases, on a connection of its own.
func (s *stage) exec(ctx context.Context, database, sql string) error {
	conn, err := pgx.Connect(ctx, s.postgres.Database(database))
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }() // nothing is pending on it
	_, err = conn.Exec(ctx, sql)
	return err
}

func (s *stage) startSandbox(ctx context.Context, environment *local.Environment) error {
	at, err := local.FreeAddresses(ctx)
	if err != nil {
		return err
	}
	output, err := openLog(s.data.LogFile(local.Sandbox))
	if err != nil {
		return err
	}
	defer func() { _ = output.Close() }() // the process has its own handle
	s.sandboxURL = "http://" + at.HTTP
	s.sandbox, err = local.Start(local.Command{
		Name: local.Sandbox, Args: []string{"serve", local.Sandbox}, Env: environment.For(local.Sandbox, at), Output: output,
	})
	if err != nil {
		return err
	}
	s.onClose(func(context.Context) { s.sandbox.Kill() }) // every change is on disk, and goes with the directory
	bounded, cancel := context.WithTimeout(ctx, startBound)
	defer cancel()
	if err := local.AwaitReady(bounded, at.ReadyURL(), s.sandbox); err != nil {
		return fmt.Errorf("start the sandbox: %w; its log ends with: %s", err, local.WhyItEndedIn(output.Name(), 0))
	}
	reached := at.HTTP
	if s.inFront != nil {
		if reached, err = s.serve(ctx, s.inFront(s.sandboxURL)); err != nil {
			return err
		}
	}
	address, err := s.connect(ctx, paymentsProcessor, reached)
	environment.SandboxURL = "http://" + address
	return err
}

func (s *stage) startFleet(ctx context.Context, service string, environment local.Environment, o Options) (*fleet, error) {
	f := &fleet{
		service: service, environment: environment, sabotage: o.Sabotage, data: s.data,
		endpoints: NewEndpoints(pollEvery, propagation),
	}
	if s.variant != nil {
		f.variant = func(c *local.Command, e *local.Environment) { s.variant(service, c, e) }
	}
	if service == local.Payments && s.networked {
		f.behind = func(ctx context.Context, address string) (string, error) {
			return s.connect(ctx, ordersPayments, address)
		}
	}
	s.onClose(func(context.Context) { f.endpoints.Close() })
	s.onClose(f.stop)
	return f, f.start(ctx, o.Replicas)
}

// serve serves HTTP on a port of its own.
func (s *stage) serve(ctx context.Context, handler http.Handler) (address string, err error) {
	listener, err := local.Listen(ctx, 0)
	if err != nil {
		return "", err
	}
	server := &http.Server{Handler: handler, ReadHeaderTimeout: time.Second, ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)}
	go func() { _ = server.Serve(listener) }() // ends when it is closed
	s.onClose(func(context.Context) { _ = server.Close() })
	return listener.Addr().String(), nil
}

// openFront puts a balancer in front of the orders' gRPC and HTTP ports.
func (s *stage) openFront(ctx context.Context, seed uint64) error {
	for n, front := range []struct {
		address func(Replica) string
		reached *string
	}{
		{func(r Replica) string { return r.GRPC }, &s.rpc},
		{func(r Replica) string { return r.HTTP }, &s.web},
	} {
		balancer, err := NewBalancer(ctx, s.orders.endpoints, front.address, seed+uint64(n))
		if err != nil {
			return err
		}
		s.onClose(func(context.Context) { balancer.Close() })
		if *front.reached, err = s.connect(ctx, clientsOrders, balancer.Addr()); err != nil {
			return err
		}
	}
	return nil
}

// audit waits until everything is decided, asks what clients remember, and checks
// the invariants.
func (s *stage) audit(ctx context.Context, history func() []invariants.Attempt) (invariants.Result, error) {
	orders, err := pgxpool.New(ctx, s.postgres.Database(local.Orders))
	if err != nil {
		return invariants.Result{}, fmt.Errorf("audit: %w", err)
	}
	defer orders.Close()
	payments, err := pgxpool.New(ctx, s.postgres.Database(local.Payments))
	if err != nil {
		return invariants.Result{}, fmt.Errorf("audit: %w", err)
	}
	defer payments.Close()
	// The drill is over when the bound is: what is still open then is late.
	sources := invariants.Sources{
		Orders: orders, Payments: payments, SandboxURL: s.sandboxURL, Bound: quiescenceBound,
	}
	return auditAfter(ctx, sources, history)
}

// auditAfter waits until everything is decided, asks what clients remember, and
// checks the invariants.
func auditAfter(ctx context.Context, sources invariants.Sources, history func() []invariants.Attempt) (invariants.Result, error) {
	bounded, cancel := context.WithTimeout(ctx, quiescenceBound+time.Second)
	defer cancel()
	if err := invariants.AwaitQuiescence(bounded, sources); err != nil {
		return invariants.Result{}, err
	}
	sources.History = history()
	return invariants.Check(ctx, sources)
}

// quiescenceBound is for how long something may stay undecided after the load.
const quiescenceBound = 20 * time.Second

func (s *stage) onClose(do func(context.Context)) {
	s.mu.Lock()
	s.closers = append(s.closers, do)
	s.mu.Unlock()
}

// close ends everything, last to first, also when ctx has ended.
func (s *stage) close(ctx context.Context) {
	ctx = context.WithoutCancel(ctx)
	for i := len(s.closers) - 1; i >= 0; i-- {
		s.closers[i](ctx)
	}
}

// openLog opens a log file to append to.
func openLog(path string) (*os.File, error) {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return nil, errors.Join(errors.New("open a log file"), err)
	}
	return file, nil
}
