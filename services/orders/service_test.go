package orders

import (
	"log/slog"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"
	"go.uber.org/fx"
	"google.golang.org/protobuf/proto"

	"github.com/holdfast-dev/holdfast/pkg/auth"
	"github.com/holdfast-dev/holdfast/pkg/config"
	"github.com/holdfast-dev/holdfast/pkg/flags"
	"github.com/holdfast-dev/holdfast/pkg/health"
	"github.com/holdfast-dev/holdfast/pkg/idempotency"
	"github.com/holdfast-dev/holdfast/pkg/resilience"
	"github.com/holdfast-dev/holdfast/pkg/service"
	ordersv1 "github.com/holdfast-dev/holdfast/proto/holdfast/orders/v1"
)

// TestTheModuleFindsAllItNeeds checks the graph against what pkg/service says a
// module finds, without starting anything.
func TestTheModuleFindsAllItNeeds(t *testing.T) {
	type parts struct {
		fx.In
		APIs    []service.API    `group:"apis"`
		Workers []service.Worker `group:"workers"`
	}
	require.NoError(t, fx.ValidateApp(
		Module,
		fx.Provide(
			func() *slog.Logger { return nil },
			func() *resilience.Registry { return nil },
			func() *pgxpool.Pool { return nil },
			func() config.Environment { return config.Development },
			func() auth.Config { return auth.Config{} },
			func() *health.Health { return nil },
			func() Config { return Config{} },
			func() WatchConfig { return WatchConfig{} },
			func() LLMConfig { return LLMConfig{} },
			func() idempotency.Config { return idempotency.Config{} },
			func() idempotency.CompleterConfig { return idempotency.CompleterConfig{} },
			func() flags.Config { return flags.Config{} },
		),
		fx.Invoke(func(parts) {}),
	))
}

func TestWrongConfigurationIsRefused(t *testing.T) {
	_, err := config.Load[Config](map[string]string{})
	require.NoError(t, err, "the defaults are fine")
	for _, name := range []string{"HOLDFAST_PAYMENTS_BACKOFF", "HOLDFAST_PAYMENTS_MAX_CONCURRENT"} {
		_, err := config.Load[Config](map[string]string{name: "-1"})
		require.ErrorContains(t, err, name)
	}
	_, err = config.Load[LLMConfig](map[string]string{"HOLDFAST_LLM_TARGET": "dns:///llm-gateway:9090"})
	require.NoError(t, err, "the defaults are fine")
	_, err = config.Load[LLMConfig](map[string]string{"HOLDFAST_LLM_TARGET": "dns:///llm-gateway:9090", "HOLDFAST_LLM_MODEL": strings.Repeat("m", 129)})
	require.ErrorContains(t, err, "HOLDFAST_LLM_MODEL")
	_, err = config.Load[WatchConfig](map[string]string{})
	require.NoError(t, err, "the defaults are fine")
	for name, value := range map[string]string{
		"HOLDFAST_WATCH_INTERVAL": "1ms", "HOLDFAST_WATCH_MAX": "0", "HOLDFAST_WATCH_MAX_PER_TENANT": "-1",
	} {
		_, err := config.Load[WatchConfig](map[string]string{name: value})
		require.ErrorContains(t, err, name)
	}
}

// TestWhatIsStillUnderWayIsAccepted: HTTP says 202 and not 200.
func TestWhatIsStillUnderWayIsAccepted(t *testing.T) {
	created := func(state ordersv1.OrderState) proto.Message {
		return &ordersv1.CreateOrderResponse{Order: &ordersv1.Order{State: state}}
	}
	cancelled := func(state ordersv1.OrderState) proto.Message {
		return &ordersv1.CancelOrderResponse{Order: &ordersv1.Order{State: state}}
	}
	for _, test := range []struct {
		answer proto.Message
		want   bool
	}{
		{created(statePending), true},
		{created(statePaid), false},
		{created(stateFailed), false},
		{cancelled(stateCancelling), true},
		{cancelled(stateCancelled), false},
		{&ordersv1.GetOrderResponse{Order: &ordersv1.Order{State: statePending}}, false},
	} {
		require.Equal(t, test.want, accepted(test.answer), test.answer)
	}
}
