package integration

import (
	"context"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"

	"github.com/holdfast-dev/holdfast/pkg/idempotency"
	"github.com/holdfast-dev/holdfast/pkg/postgres"
	"github.com/holdfast-dev/holdfast/pkg/postgres/pgtest"
	ordersv1 "github.com/holdfast-dev/holdfast/proto/holdfast/orders/v1"
)

// TestTroubleOfTheDatabaseIsTypedAndPasses breaks the database of both services
// in every way it knows. While it lasts, errors say to come back with the same
// key; afterwards the same key is served, by the same processes, and nothing is
// lost or done twice.
func TestTroubleOfTheDatabaseIsTypedAndPasses(t *testing.T) {
	t.Parallel()
	for _, trouble := range []struct {
		name   string
		server []pgtest.Option
		begin  func(*testing.T, *pgtest.Server) (end func())
	}{
		{name: "it is stopped", begin: func(_ *testing.T, s *pgtest.Server) func() {
			s.Stop()
			return s.Start
		}},
		{name: "it is killed", begin: func(_ *testing.T, s *pgtest.Server) func() {
			s.Kill()
			return s.Start
		}},
		{name: "its disk is full", server: []pgtest.Option{pgtest.WithSmallDisk()}, begin: func(_ *testing.T, s *pgtest.Server) func() {
			s.FillDisk()
			return s.FreeDisk
		}},
		{name: "it is out of connections", server: []pgtest.Option{pgtest.WithMaxConnections(60)}, begin: takeAllConnections},
	} {
		t.Run(trouble.name, func(t *testing.T) {
			t.Parallel()
			server := pgtest.Dedicated(t, trouble.server...)
			p := startOn(t, server.Database(nil, "orders"), server.Database(nil, "payments"))
			_, err := p.orders.CreateOrder(p.as(t.Context(), p.tenant), fine())
			require.NoError(t, err)

			end := trouble.begin(t, server)
			key := requireComeBack(t, p)
			ready, err := http.Get("http://" + p.ordersProcess.probe + "/readyz")
			require.NoError(t, err)
			require.NoError(t, ready.Body.Close())
			require.Equal(t, http.StatusOK, ready.StatusCode, "all replicas would leave at once")

			end()
			p.await(t, p.retry(t, key, fine()), paid)
			p.requireSound(t)
		})
	}
}

// takeAllConnections ends every connection to the server and takes all there
// are, as a leak elsewhere would.
func takeAllConnections(t *testing.T, s *pgtest.Server) func() {
	t.Helper()
	var taken []*pgx.Conn
	url := postgres.WithDatabase(s.URL, "postgres")
	first, err := pgx.Connect(t.Context(), url)
	require.NoError(t, err)
	taken = append(taken, first)
	full := func() bool {
		conn, err := pgx.Connect(t.Context(), url)
		if err != nil {
			return strings.Contains(err.Error(), "53300") // too_many_connections
		}
		taken = append(taken, conn)
		return false
	}
	others := func() (n int) {
		err := first.QueryRow(t.Context(), `
			SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
			WHERE backend_type = 'client backend' AND NOT pid = ANY ($1)`, pids(taken)).Scan(&n)
		require.NoError(t, err)
		return n
	}
	require.Eventually(t, func() bool {
		for !full() {
			continue
		}
		return others() == 0
	}, 30*time.Second, time.Millisecond, "the services keep connections")
	return func() {
		for _, conn := range taken {
			require.NoError(t, conn.Close(context.WithoutCancel(t.Context())))
		}
	}
}

func pids(conns []*pgx.Conn) []int32 {
	var pids []int32
	for _, conn := range conns {
		pids = append(pids, int32(conn.PgConn().PID()))
	}
	return pids
}

// requireComeBack places orders until one is refused, as it must be soon, and
// returns its key. A disk that is full still has room on pages that are not.
func requireComeBack(t *testing.T, p *platform) (key string) {
	t.Helper()
	var err error
	for range 2000 {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		key = idempotency.NewKey().String()
		_, err = p.orders.CreateOrder(p.asWith(ctx, p.tenant, key), fine())
		cancel()
		if err != nil {
			break
		}
	}
	require.Error(t, err)
	refused := detailsOf(err)
	require.Contains(t, []codes.Code{codes.Unavailable, codes.DeadlineExceeded}, refused.code, refused.text)
	require.Contains(t, []string{"DEPENDENCY_UNAVAILABLE", "OUTCOME_UNKNOWN", "DEADLINE"}, refused.reason, refused.text)
	require.Equal(t, "same_key", refused.retry)
	requireNoLeak(t, refused.text)
	return key
}

// retry sends a request until it is answered, as a client would, and returns
// its order.
func (p *platform) retry(t *testing.T, key string, r *ordersv1.CreateOrderRequest) (id string) {
	t.Helper()
	await(t, "a retry with the same key is answered in the end", func() bool {
		answer, err := p.orders.CreateOrder(p.asWith(t.Context(), p.tenant, key), r, grpc.WaitForReady(true))
		id = answer.GetOrder().GetId()
		return err == nil
	})
	return id
}

// TestARestartOfTheDatabaseUnderOrdersInFlight has the database come and go
// while orders are being placed.
func TestARestartOfTheDatabaseUnderOrdersInFlight(t *testing.T) {
	t.Parallel()
	server := pgtest.Dedicated(t)
	p := startOn(t, server.Database(nil, "orders"), server.Database(nil, "payments"))
	ctx, stop := context.WithCancel(t.Context())
	var (
		group sync.WaitGroup
		mu    sync.Mutex
		keys  []string
	)
	for range 4 {
		group.Go(func() {
			for ctx.Err() == nil {
				key := idempotency.NewKey().String()
				_, err := p.orders.CreateOrder(p.asWith(t.Context(), p.tenant, key), fine())
				if refused := detailsOf(err); err != nil && refused.retry != "same_key" {
					t.Errorf("not to be sent again: %s", refused.text)
				}
				mu.Lock()
				keys = append(keys, key)
				mu.Unlock()
			}
		})
	}
	placed := func() int {
		mu.Lock()
		defer mu.Unlock()
		return len(keys)
	}
	for _, interrupt := range []func(){server.Restart, func() { server.Kill(); server.Start() }} {
		before := placed()
		require.Eventually(t, func() bool { return placed() >= before+8 }, 30*time.Second, time.Millisecond)
		interrupt()
	}
	stop()
	group.Wait()
	for _, key := range keys {
		p.await(t, p.retry(t, key, fine()), paid)
	}
	p.requireSound(t)
	var orders int
	require.NoError(t, p.ordersDB.QueryRow(t.Context(), `SELECT count(*) FROM orders`).Scan(&orders))
	require.Equal(t, len(keys), orders)
}
