package idempotency

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
)

// collect returns the values of all metrics without labels, by name.
func collect(t *testing.T, reader *sdkmetric.ManualReader) map[string]string {
	t.Helper()
	var all metricdata.ResourceMetrics
	require.NoError(t, reader.Collect(t.Context(), &all))
	values := map[string]string{}
	for _, scope := range all.ScopeMetrics {
		for _, m := range scope.Metrics {
			switch data := m.Data.(type) {
			case metricdata.Gauge[int64]:
				values[m.Name] = fmt.Sprint(data.DataPoints[0].Value)
			case metricdata.Gauge[float64]:
				values[m.Name] = fmt.Sprint(data.DataPoints[0].Value)
			case metricdata.Sum[int64]:
				values[m.Name] = fmt.Sprint(data.DataPoints[0].Value)
			}
		}
	}
	return values
}

func TestABacklogIsToldOnlyWhileSomebodyMeasuresIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		reader := sdkmetric.NewManualReader()
		i := newInstruments(sdkmetric.NewMeterProvider(sdkmetric.WithReader(reader)).Meter("test"))
		require.NotContains(t, collect(t, reader), "holdfast_idempotency_undecided", "nothing was measured yet")

		i.left.Store(&backlog{keys: 3, oldest: 7.5, at: time.Now()})
		told := collect(t, reader)
		require.Equal(t, "3", told["holdfast_idempotency_undecided"])
		require.Equal(t, "7.5", told["holdfast_idempotency_undecided_age_seconds"])

		time.Sleep(backlogHolds) // of the bubble's clock
		require.NotContains(t, collect(t, reader), "holdfast_idempotency_undecided", "a completer that stopped knows nothing")
	})
}

func TestRefusalsForWantOfAPartitionAreCountedFromZero(t *testing.T) {
	reader := sdkmetric.NewManualReader()
	newInstruments(sdkmetric.NewMeterProvider(sdkmetric.WithReader(reader)).Meter("test"))
	require.Equal(t, "0", collect(t, reader)["holdfast_idempotency_missing_partitions"],
		"a counter that begins at its first event shows no increase")
}
