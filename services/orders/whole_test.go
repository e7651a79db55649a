package orders

import (
	"context"
	"io"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/holdfast-dev/holdfast/pkg/auth"
	"github.com/holdfast-dev/holdfast/pkg/postgres/pgtest"
	"github.com/holdfast-dev/holdfast/pkg/service"
)

// world is what the replicas of the service share: a database, and payments.
type world struct {
	db       *pgtest.Database
	payments *fakePayments
	target   string // where payments answers
}

func newWorld(t *testing.T) *world {
	t.Helper()
	return newWorldOn(t, pgtest.New(t, migrate, "orders"))
}

func newWorldOn(t *testing.T, db *pgtest.Database) *world {
	t.Helper()
	fake, target := startPayments(t)
	return &world{db: db, payments: fake, target: target}
}

// whole is a replica of the service as pkg/service runs it, gateway and all.
type whole struct {
	harness
	conn  *grpc.ClientConn // without credentials
	http  string
	admin string
	// stop tells the replica to drain and end, and returns how that went.
	stop func() error
}

// startWhole runs the only replica there is.
func startWhole(t *testing.T) *whole {
	t.Helper()
	return newWorld(t).replica(t)
}

// replica runs one more replica, with the changes of its environment that are
// given as name and value. It ends with the test, if it was not stopped, and must
// have drained without force.
func (w *world) replica(t *testing.T, changes ...string) *whole {
	t.Helper()
	environment := map[string]string{
		"HOLDFAST_ENV":                 "development",
		"HOLDFAST_DATABASE_URL":        w.db.URL,
		"HOLDFAST_GRPC_ADDR":           "127.0.0.1:0",
		"HOLDFAST_HTTP_ADDR":           "127.0.0.1:0",
		"HOLDFAST_PROBE_ADDR":          "127.0.0.1:0",
		"HOLDFAST_ADMIN_ADDR":          "127.0.0.1:0",
		"HOLDFAST_LAME_DUCK":           "0s",
		"HOLDFAST_DERIVATION_SECRETS":  keyConfig().Secrets,
		"HOLDFAST_PAYMENTS_TARGET":     w.target,
		"HOLDFAST_COMPLETER_INTERVAL":  "100ms",
		"HOLDFAST_COMPLETER_MAX_PAUSE": "1s",
	}
	for i := 0; i+1 < len(changes); i += 2 {
		environment[changes[i]] = changes[i+1]
	}
	ready, ended := make(chan service.Addresses, 1), make(chan error, 1)
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	go func() {
		ended <- service.Run(ctx, Definition, nil, io.Discard,
			service.WithReady(func(at service.Addresses) { ready <- at }),
			service.WithLogs(t.Output()),
			service.WithEnvironment(environment))
	}()
	r := &whole{harness: harness{pool: w.db.Pool, payments: w.payments}}
	r.stop = sync.OnceValue(func() error {
		cancel()
		return <-ended
	})
	t.Cleanup(func() { require.NoError(t, r.stop()) })
	var at service.Addresses
	select {
	case at = <-ready:
	case err := <-ended:
		ended <- err
		t.Fatalf("the service did not start: %v", err)
	}
	r.address, r.http, r.admin = at.GRPC, "http://"+at.HTTP, "http://"+at.Admin
	r.client, r.other = r.dial(t, auth.DevelopmentKey), r.dial(t, auth.DevelopmentKeyOther)
	var err error
	r.conn, err = grpc.NewClient(at.GRPC, grpc.WithTransportCredentials(insecure.NewCredentials()))
	require.NoError(t, err)
	t.Cleanup(func() { r.conn.Close() })
	return r
}
