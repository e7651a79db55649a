package payments

import (
	"log/slog"
	"testing"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"
	"go.uber.org/fx"

	"github.com/holdfast-dev/holdfast/pkg/health"
	"github.com/holdfast-dev/holdfast/pkg/idempotency"
	"github.com/holdfast-dev/holdfast/pkg/resilience"
	"github.com/holdfast-dev/holdfast/pkg/service"
)

func TestTheModuleIsComplete(t *testing.T) {
	t.Parallel()
	var pool *pgxpool.Pool
	var keeper *health.Health
	var dependencies *resilience.Registry
	require.NoError(t, fx.ValidateApp(
		Module,
		fx.Supply(Config{}, idempotency.Config{}, idempotency.CompleterConfig{}, ReconcileConfig{}, slog.New(slog.DiscardHandler), pool, keeper, dependencies),
		fx.Invoke(fx.Annotate(func([]service.API, []service.Worker) {}, fx.ParamTags(`group:"apis"`, `group:"workers"`))),
	))
}
