package integration

import (
	"net/http"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/encoding/protojson"

	"github.com/holdfast-dev/holdfast/pkg/idempotency"
	"github.com/holdfast-dev/holdfast/pkg/postgres/pgtest"
	"github.com/holdfast-dev/holdfast/pkg/postgres/pgtest/pgproxy"
	ordersv1 "github.com/holdfast-dev/holdfast/proto/holdfast/orders/v1"
)

// wired is the platform with a proxy between each service and its database.
type wired struct {
	*platform

	wires map[string]*pgproxy.Proxy
}

func startWired(t *testing.T) *wired {
	t.Helper()
	w := &wired{wires: map[string]*pgproxy.Proxy{}}
	databases := map[string]*pgtest.Database{}
	for _, name := range []string{"orders", "payments"} {
		databases[name] = pgtest.New(t, nil, "integration")
		direct := databases[name].URL
		w.wires[name], databases[name].URL = pgproxy.New(t, direct)
	}
	w.platform = startOn(t, databases["orders"], databases["payments"])
	return w
}

// ofAnOrder reports whether a round trip belongs to an order on its way. What
// workers do by themselves is not part of it: sweeps, measurements, reconciliation,
// housekeeping.
func ofAnOrder(trip pgproxy.Trip) bool {
	for _, statement := range trip.Statements {
		for _, aside := range []string{"epoch = k.epoch + 1", "count(*)", "reconciliation_", "AND resource IS NOT NULL", "river", "pg_catalog", "goose"} {
			if strings.Contains(statement, aside) {
				return false
			}
		}
		for _, table := range []string{"idempotency_", "products", "orders", "payments", "ledger_entries"} {
			if strings.Contains(statement, table) {
				return true
			}
		}
	}
	return false
}

// commits reports whether a round trip is a transaction that writes.
func commits(trip pgproxy.Trip) bool {
	for _, statement := range trip.Statements {
		for _, verb := range []string{"INSERT INTO", "UPDATE "} {
			if strings.Contains(statement, verb) && !strings.Contains(statement, "FOR "+verb) {
				return !trip.Failed
			}
		}
	}
	return false
}

// TestAnOrderIsFourCommits over both services, the processor's own not counted: two
// each, which is the least that a call to somebody else's system takes. Counted on
// the wire.
func TestAnOrderIsFourCommits(t *testing.T) {
	t.Parallel()
	w := startWired(t)
	place := func() {
		response, body := w.do(t, post("/v1/orders", order("")).with(func(r *request) { r.key = idempotency.NewKey().String() }))
		require.Equal(t, http.StatusOK, response.StatusCode, "%s", body)
	}
	for range 10 { // so that statements are prepared, on whatever connection
		place()
	}
	for _, wire := range w.wires {
		wire.Trips()
	}
	const placed = 5
	for range placed {
		place()
	}
	for service, want := range map[string]struct{ trips, commits int }{
		"orders":   {3, 2}, // the prices are read first
		"payments": {2, 2},
	} {
		trips, committed := 0, 0
		for _, trip := range w.wires[service].Trips() {
			if !ofAnOrder(trip) {
				continue
			}
			trips++
			if commits(trip) {
				committed++
			}
		}
		require.Equal(t, want.trips*placed, trips, "round trips of %s", service)
		require.Equal(t, want.commits*placed, committed, "commits of %s", service)
	}
}

// TestAnOrderCutAtAnyMessageOfItsDatabasesIsPlacedOnce: one order for each message
// of its way, in front of which the connection is cut, which is also right after the
// one before it. The services find out by themselves what became of a commit; when
// the prices could not be read, the client is told to send the same again.
func TestAnOrderCutAtAnyMessageOfItsDatabasesIsPlacedOnce(t *testing.T) {
	t.Parallel()
	w := startWired(t)
	cuts := 0
	for service, wire := range w.wires {
		for _, fromServer := range []bool{false, true} {
			for n := 0; ; n++ {
				place := post("/v1/orders", order("")).with(func(r *request) { r.key = idempotency.NewKey().String() })
				wire.CutBefore(n, fromServer, ofAnOrder)
				response, body := w.do(t, place)
				if response.StatusCode == http.StatusServiceUnavailable {
					require.Contains(t, string(body), `"retry":"same_key"`)
					response, body = w.do(t, place)
				}
				if !wire.Disarm() {
					require.Greater(t, n, 10, "the proxy saw the messages")
					break
				}
				cuts++
				require.Less(t, response.StatusCode, 300, "%s, message %d from the server: %v: %s", service, n, fromServer, body)
				var placed ordersv1.CreateOrderResponse
				require.NoError(t, protojson.Unmarshal(body, &placed))

				response, again := w.do(t, place)
				require.Less(t, response.StatusCode, 300, "%s", again)
				require.Equal(t, string(body), string(again), "%s, message %d from the server: %v", service, n, fromServer)
				w.await(t, placed.GetOrder().GetId(), ordersv1.OrderState_ORDER_STATE_PAID)
			}
		}
	}
	t.Logf("cut at %d messages", cuts)
	require.Equal(t, cuts+4, countOf(t, w.ordersDB, "orders"), "one order for each, and the four that were not cut")
	w.requireSound(t)
}

func countOf(t *testing.T, pool *pgxpool.Pool, table string) (n int) {
	t.Helper()
	require.NoError(t, pool.QueryRow(t.Context(), "SELECT count(*) FROM "+table).Scan(&n))
	return n
}
