package bench

import (
	"context"
	"io"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"
	"go.uber.org/fx"
	"google.golang.org/grpc"

	"github.com/holdfast-dev/holdfast/pkg/idempotency"
	"github.com/holdfast-dev/holdfast/pkg/service"
	ordersv1 "github.com/holdfast-dev/holdfast/proto/holdfast/orders/v1"
)

// serveOurs runs a service of the platform, as its binary would.
func serveOurs(tb testing.TB) (address string) {
	tb.Helper()
	def := service.Definition{Name: "trivial", Module: fx.Module("trivial",
		fx.Provide(newUnusedStore),
		service.ProvideAPI(func() service.API {
			return service.API{Register: func(r grpc.ServiceRegistrar) { ordersv1.RegisterOrdersServiceServer(r, trivial{}) }}
		}),
	)}
	ctx, stop := context.WithCancel(context.Background()) // ends in the cleanup, which waits for the drain
	ready, done := make(chan service.Addresses, 1), make(chan error, 1)
	go func() {
		done <- service.Run(ctx, def, nil, io.Discard, service.WithEnvironment(environment), service.WithLogs(io.Discard),
			service.WithReady(func(a service.Addresses) { ready <- a }))
	}()
	tb.Cleanup(func() {
		stop()
		require.NoError(tb, <-done)
	})
	select {
	case a := <-ready:
		return a.GRPC
	case err := <-done:
		done <- err
		require.NoError(tb, err, "the service did not start")
		return ""
	}
}

// environment has no limit that could be reached: what limits cost is measured,
// and not what they refuse.
var environment = map[string]string{
	"HOLDFAST_ENV":                     "development",
	"HOLDFAST_GRPC_ADDR":               "127.0.0.1:0",
	"HOLDFAST_HTTP_ADDR":               "127.0.0.1:0",
	"HOLDFAST_PROBE_ADDR":              "127.0.0.1:0",
	"HOLDFAST_ADMIN_ADDR":              "127.0.0.1:0",
	"HOLDFAST_LAME_DUCK":               "10ms",
	"HOLDFAST_RATE_ADDRESS":            "1e9",
	"HOLDFAST_RATE_ADDRESS_BURST":      "1000000000",
	"HOLDFAST_RATE_TENANT_READS":       "1e9",
	"HOLDFAST_RATE_TENANT_READS_BURST": "1000000000",
}

// newUnusedStore is a store whose database nobody can reach: the call that is
// measured needs no key, and other methods of its service do.
func newUnusedStore(lifecycle fx.Lifecycle) (*idempotency.Store, error) {
	cfg := idempotency.DefaultConfig()
	cfg.Secrets = "v1:" + strings.Repeat("0f", 32)
	// No context: a pool connects when it is used, and this one never is.
	pool, err := pgxpool.New(context.Background(), "postgres://nobody@127.0.0.1:1/none")
	if err != nil {
		return nil, err
	}
	lifecycle.Append(fx.StopHook(pool.Close))
	deriver, err := idempotency.NewDeriver(cfg)
	if err != nil {
		return nil, err
	}
	return idempotency.New(pool, deriver, cfg, nil)
}
