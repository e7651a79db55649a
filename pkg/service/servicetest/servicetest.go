// Package servicetest runs a service inside a test as [service.Run] runs it in a
// process: gateway, interceptors, workers, drain and all, on free ports, with a
// database of its own. What tests of several services need to start one is here
// once.
package servicetest

import (
	"context"
	"io"
	"maps"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/holdfast-dev/holdfast/pkg/auth"
	"github.com/holdfast-dev/holdfast/pkg/postgres/pgtest"
	"github.com/holdfast-dev/holdfast/pkg/service"
)

// DerivationSecrets are those that the service runs with, unless the test gives
// others: for tests that derive what the service did.
var DerivationSecrets = "v1:" + strings.Repeat("0f", 32)

// Running is a service that runs.
type Running struct {
	// GRPC is a connection to the gRPC API that shows no credential; see [Running.As].
	GRPC *grpc.ClientConn
	// Target is the address of the gRPC API.
	Target string
	// HTTPURL, ProbeURL and AdminURL are the other ports, such as
	// `http://127.0.0.1:8080`.
	HTTPURL, ProbeURL, AdminURL string
	// Database is the service's; nil if it has none, or if the test named one.
	Database *pgtest.Database

	t       testing.TB
	stop    func() error
	stopped atomic.Bool // by the test, which was told how it went
}

// Start runs the service and returns when it is ready. It ends with the test, if
// [Running.Stop] did not end it before, and must then drain without force.
//
// The environment is for development, with free ports and no lame duck, and over it
// what the test says, as names and values by turns. The database is a fresh one at
// the schema of the service's migrations, unless HOLDFAST_DATABASE_URL names one:
// that is how a second replica shares the first one's (r.Database.URL).
func Start(t testing.TB, def service.Definition, env ...string) *Running {
	t.Helper()
	return StartWith(t, def, nil, env...)
}

// StartWith is [Start] with options of [service.Run], such as
// [service.WithGraph].
func StartWith(t testing.TB, def service.Definition, options []service.Option, env ...string) *Running {
	t.Helper()
	r := &Running{t: t}
	environment := r.environment(def, env)
	ready, ended := make(chan service.Addresses, 1), make(chan error, 1)
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context())) // it drains after the test's context has ended
	go func() {                                                           // r.stop waits for it
		ended <- service.Run(ctx, def, nil, io.Discard, append(options,
			service.WithReady(func(at service.Addresses) { ready <- at }),
			service.WithLogs(t.Output()),
			service.WithEnvironment(environment))...)
	}()
	r.stop = sync.OnceValue(func() error {
		cancel()
		return <-ended
	})
	t.Cleanup(func() {
		if err := r.stop(); err != nil && !r.stopped.Load() {
			t.Errorf("servicetest: %s did not end well: %v", def.Name, err)
		}
	})
	select {
	case at := <-ready:
		r.Target = at.GRPC
		r.HTTPURL, r.ProbeURL, r.AdminURL = "http://"+at.HTTP, "http://"+at.Probe, "http://"+at.Admin
	case err := <-ended:
		ended <- nil // for the cleanup: it is told here
		t.Fatalf("servicetest: %s did not start: %v", def.Name, err)
	}
	r.GRPC = r.dial()
	return r
}

// Stop drains the service and returns how that went. It may be called again, and
// returns the same.
func (r *Running) Stop() error {
	r.stopped.Store(true)
	return r.stop()
}

// As returns a connection to the gRPC API that shows the credential with every
// call, such as [auth.DevelopmentKey]. It closes with the test.
func (r *Running) As(token string) *grpc.ClientConn {
	r.t.Helper()
	return r.dial(grpc.WithPerRPCCredentials(auth.PerRPC(token)))
}

func (r *Running) dial(options ...grpc.DialOption) *grpc.ClientConn {
	r.t.Helper()
	conn, err := grpc.NewClient(r.Target, append(options, grpc.WithTransportCredentials(insecure.NewCredentials()))...)
	if err != nil {
		r.t.Fatalf("servicetest: connecting to %s: %v", r.Target, err)
	}
	r.t.Cleanup(func() { _ = conn.Close() }) // nothing is pending on it
	return conn
}

// environment is what the service is told, its database made.
func (r *Running) environment(def service.Definition, env []string) map[string]string {
	r.t.Helper()
	if len(env)%2 != 0 {
		r.t.Fatalf("servicetest: the environment has a name without a value: %q", env[len(env)-1])
	}
	variables := map[string]string{
		"HOLDFAST_ENV":                "development",
		"HOLDFAST_GRPC_ADDR":          "127.0.0.1:0",
		"HOLDFAST_HTTP_ADDR":          "127.0.0.1:0",
		"HOLDFAST_PROBE_ADDR":         "127.0.0.1:0",
		"HOLDFAST_ADMIN_ADDR":         "127.0.0.1:0",
		"HOLDFAST_LAME_DUCK":          "0s",
		"HOLDFAST_DERIVATION_SECRETS": DerivationSecrets,
	}
	for i := 0; i < len(env); i += 2 {
		variables[env[i]] = env[i+1]
	}
	if _, named := variables["HOLDFAST_DATABASE_URL"]; named || def.Migrations == nil {
		return variables
	}
	r.Database = pgtest.New(r.t, func(ctx context.Context, url string) error {
		migrating := maps.Clone(variables)
		migrating["HOLDFAST_DATABASE_URL"] = url
		return service.Run(ctx, def, []string{"migrate"}, io.Discard, service.WithEnvironment(migrating), service.WithLogs(io.Discard))
	}, strings.ReplaceAll(def.Name, "-", "_"))
	variables["HOLDFAST_DATABASE_URL"] = r.Database.URL
	return variables
}
