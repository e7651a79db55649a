package orders

import (
	"testing"

	"google.golang.org/grpc"

	"github.com/holdfast-dev/holdfast/pkg/auth"
	"github.com/holdfast-dev/holdfast/pkg/postgres/pgtest"
	"github.com/holdfast-dev/holdfast/pkg/service/servicetest"
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
	running := servicetest.Start(t, Definition, append([]string{
		"HOLDFAST_DATABASE_URL", w.db.URL,
		"HOLDFAST_DERIVATION_SECRETS", keyConfig().Secrets,
		"HOLDFAST_PAYMENTS_TARGET", w.target,
		"HOLDFAST_COMPLETER_INTERVAL", "100ms",
		"HOLDFAST_COMPLETER_MAX_PAUSE", "1s",
	}, changes...)...)
	r := &whole{
		harness: harness{pool: w.db.Pool, payments: w.payments},
		conn:    running.GRPC, http: running.HTTPURL, admin: running.AdminURL, stop: running.Stop,
	}
	r.address = running.Target
	r.client, r.other = r.dial(t, auth.DevelopmentKey), r.dial(t, auth.DevelopmentKeyOther)
	return r
}
