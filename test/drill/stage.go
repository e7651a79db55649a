package drill

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc/metadata"

	"github.com/holdfast-dev/holdfast/cmd/holdfast/local"
	"github.com/holdfast-dev/holdfast/pkg/auth"
	ordersv1 "github.com/holdfast-dev/holdfast/proto/holdfast/orders/v1"
	"github.com/holdfast-dev/holdfast/test/invariants"
	"github.com/holdfast-dev/holdfast/test/load"
)

// What the stage imitates of a cluster: how often kubelet would probe, how long
// a change takes to reach what follows the endpoints, and how long a replica
// that was told to go still accepts, which must be longer than both together.
const (
	pollEvery   = 100 * time.Millisecond
	propagation = 500 * time.Millisecond
	lameDuck    = 1500 * time.Millisecond
)

// stage is a platform of replicas, and the load on it.
type stage struct {
	data             *local.Data
	postgres         *local.Postgres
	sandbox          *local.Process
	sandboxURL       string
	payments, orders *fleet
	closers          []func(context.Context) // called last to first
}

// set starts everything: Postgres, migrations, the sandbox, payments, orders.
// What was started is stopped by close, also after an error.
func (s *stage) set(ctx context.Context, o Options) (err error) {
	if s.data, err = local.TemporaryData(); err != nil {
		return err
	}
	s.onClose(func(context.Context) { s.data.Close() })
	o.Progress("starting Postgres")
	s.postgres, err = local.StartPostgres(ctx, local.PostgresOptions{
		Dir: s.data.PostgresDir(), Ephemeral: true, Log: slog.New(slog.DiscardHandler),
		Progress: func(message string) { o.Progress("Postgres: %s", message) },
	})
	if err != nil {
		return err
	}
	s.onClose(func(ctx context.Context) { _ = s.postgres.Stop(ctx) }) // its data goes with the directory
	secrets, err := s.data.DerivationSecrets()
	if err != nil {
		return err
	}
	environment := local.Environment{
		DatabaseURL:       s.postgres.Database,
		DerivationSecrets: secrets,
		SandboxDir:        s.data.SandboxDir(),
		Extra: map[string]string{
			"HOLDFAST_LAME_DUCK": lameDuck.String(),
			// Eight processes share one server with its default of 100.
			"HOLDFAST_DATABASE_MAX_CONNS": "8",
		},
	}
	o.Progress("migrating the databases")
	if err := s.postgres.CreateDatabases(ctx, local.Databases...); err != nil {
		return err
	}
	var migrations errgroup.Group
	for _, service := range local.Databases {
		migrations.Go(func() error { return local.Migrate(service, environment.For(service, local.Addresses{})) })
	}
	if err := migrations.Wait(); err != nil {
		return err
	}
	o.Progress("starting the sandbox, %d replicas of payments and %d of orders", o.Replicas, o.Replicas)
	if err := s.startSandbox(ctx, &environment); err != nil {
		return err
	}
	if s.payments, err = s.startFleet(ctx, local.Payments, environment, o); err != nil {
		return err
	}
	if environment.PaymentsTarget, err = s.serveEndpoints(ctx, s.payments.endpoints); err != nil {
		return err
	}
	s.orders, err = s.startFleet(ctx, local.Orders, environment, o)
	return err
}

func (s *stage) startSandbox(ctx context.Context, environment *local.Environment) error {
	at, err := local.FreeAddresses(ctx)
	if err != nil {
		return err
	}
	log, err := openLog(s.data.LogFile(local.Sandbox))
	if err != nil {
		return err
	}
	defer func() { _ = log.Close() }() // the process has its own handle
	s.sandboxURL = "http://" + at.HTTP
	environment.SandboxURL = s.sandboxURL
	s.sandbox, err = local.Start(local.Command{
		Name: local.Sandbox, Args: []string{"serve", local.Sandbox}, Env: environment.For(local.Sandbox, at), Output: log,
	})
	if err != nil {
		return err
	}
	s.onClose(func(context.Context) { s.sandbox.Kill() }) // every change is on disk, and goes with the directory
	ctx, cancel := context.WithTimeout(ctx, startBound)
	defer cancel()
	if err := local.AwaitReady(ctx, at.ReadyURL(), s.sandbox); err != nil {
		return fmt.Errorf("start the sandbox: %w; its log ends with: %s", err, local.WhyItEndedIn(log.Name(), 0))
	}
	return nil
}

func (s *stage) startFleet(ctx context.Context, service string, environment local.Environment, o Options) (*fleet, error) {
	f := &fleet{
		service: service, environment: environment, sabotage: o.Sabotage, data: s.data,
		endpoints: NewEndpoints(pollEvery, propagation),
	}
	s.onClose(func(context.Context) { f.endpoints.Close() })
	s.onClose(f.stop)
	return f, f.start(ctx, o.Replicas)
}

// serveEndpoints lets a service find another one's replicas.
func (s *stage) serveEndpoints(ctx context.Context, endpoints *Endpoints) (target string, err error) {
	listener, err := local.Listen(ctx, 0)
	if err != nil {
		return "", err
	}
	server := &http.Server{Handler: endpoints, ReadHeaderTimeout: time.Second}
	go func() { _ = server.Serve(listener) }() // ends when it is closed
	s.onClose(func(context.Context) { _ = server.Close() })
	return Scheme + ":///" + listener.Addr().String(), nil
}

// shopper puts a balancer in front of the orders' gRPC and HTTP ports and
// returns clients of it: gRPC and HTTP, on reused and on new connections.
func (s *stage) shopper(ctx context.Context, seed uint64) (*shopper, error) {
	rpc, err := NewBalancer(ctx, s.orders.endpoints, func(r Replica) string { return r.GRPC }, seed)
	if err != nil {
		return nil, err
	}
	s.onClose(func(context.Context) { rpc.Close() })
	web, err := NewBalancer(ctx, s.orders.endpoints, func(r Replica) string { return r.HTTP }, seed+1)
	if err != nil {
		return nil, err
	}
	s.onClose(func(context.Context) { web.Close() })

	const connections = 6 // two for each replica
	credential := "Bearer " + auth.DevelopmentKey
	var senders []sender
	for _, kind := range []load.Connections{load.Reused, load.New} {
		overGRPC, err := load.NewGRPC(rpc.Addr(), ordersv1.OrdersService_CreateOrder_FullMethodName,
			metadata.Pairs("authorization", credential), kind, connections)
		if err != nil {
			return nil, err
		}
		overHTTP := load.NewHTTP("http://"+web.Addr()+"/v1/orders", http.Header{"Authorization": {credential}}, kind, connections)
		senders = append(senders, sender{overGRPC, "proto"}, sender{overHTTP, "json"})
	}
	shopper := newShopper(seed, senders...)
	s.onClose(func(context.Context) { shopper.close() })
	return shopper, nil
}

// audit waits until everything is decided and checks the invariants.
func (s *stage) audit(ctx context.Context, history []invariants.Attempt) (invariants.Result, error) {
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
		Orders: orders, Payments: payments, SandboxURL: s.sandboxURL, History: history, Bound: quiescenceBound,
	}
	return auditAfter(ctx, sources)
}

// auditAfter waits until everything is decided and checks the invariants.
func auditAfter(ctx context.Context, sources invariants.Sources) (invariants.Result, error) {
	bounded, cancel := context.WithTimeout(ctx, quiescenceBound+time.Second)
	defer cancel()
	if err := invariants.AwaitQuiescence(bounded, sources); err != nil {
		return invariants.Result{}, err
	}
	return invariants.Check(ctx, sources)
}

// quiescenceBound is for how long something may stay undecided after the load.
const quiescenceBound = 20 * time.Second

func (s *stage) onClose(do func(context.Context)) { s.closers = append(s.closers, do) }

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
