package health

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
)

// gauges collects all gauges, by name and then by the value of their label.
func gauges(t *testing.T, reader *sdkmetric.ManualReader) map[string]map[string]int64 {
	t.Helper()
	var all metricdata.ResourceMetrics
	require.NoError(t, reader.Collect(context.WithoutCancel(t.Context()), &all))
	found := map[string]map[string]int64{}
	for _, scope := range all.ScopeMetrics {
		for _, m := range scope.Metrics {
			found[m.Name] = map[string]int64{}
			for _, point := range m.Data.(metricdata.Gauge[int64]).DataPoints {
				label, _ := point.Attributes.Value(attribute.Key("state"))
				found[m.Name][label.AsString()] = point.Value
			}
		}
	}
	return found
}

func TestMetricsSayWhatTheProbesSay(t *testing.T) {
	reader := sdkmetric.NewManualReader()
	before := otel.GetMeterProvider()
	otel.SetMeterProvider(sdkmetric.NewMeterProvider(sdkmetric.WithReader(reader)))
	t.Cleanup(func() { otel.SetMeterProvider(before) })
	h := New(slog.New(slog.DiscardHandler))
	t.Cleanup(h.Close)

	for _, step := range []struct {
		do    func()
		state string
		ready int64
	}{
		{func() {}, "starting", 0},
		{h.Started, "ready", 1},
		{h.Drain, "draining", 0},
		{h.Undrain, "ready", 1},
	} {
		step.do()
		told := gauges(t, reader)
		want := map[string]int64{"starting": 0, "ready": 0, "draining": 0}
		want[step.state] = 1
		require.Equal(t, want, told["holdfast_state"])
		require.Equal(t, step.ready, told["holdfast_ready"][""])
		require.Equal(t, int64(1), told["holdfast_alive"][""])
	}

	now := time.Now()
	h.now = func() time.Time { return now }
	h.Beat("claims")
	now = now.Add(stuckAfter + time.Second)
	require.Equal(t, int64(0), gauges(t, reader)["holdfast_alive"][""], "a heart is silent")
}
