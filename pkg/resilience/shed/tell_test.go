package shed

import (
	"context"
	"encoding/json"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"

	"github.com/holdfast-dev/holdfast/pkg/telemetry/logtest"
)

// shedOnce makes a call be refused.
func (s *Shedder) shedOnce(t *testing.T, method string) {
	t.Helper()
	a := s.attempt(t.Context(), method)
	<-a.done
	requireShed(t, a.err)
}

// measured collects all metrics: by name, and by label values in their order.
func measured(t *testing.T, reader *sdkmetric.ManualReader) map[string]map[string]int64 {
	t.Helper()
	var all metricdata.ResourceMetrics
	require.NoError(t, reader.Collect(context.WithoutCancel(t.Context()), &all))
	found := map[string]map[string]int64{}
	for _, scope := range all.ScopeMetrics {
		for _, m := range scope.Metrics {
			found[m.Name] = map[string]int64{}
			var points []metricdata.DataPoint[int64]
			switch data := m.Data.(type) {
			case metricdata.Gauge[int64]:
				points = data.DataPoints
			case metricdata.Sum[int64]:
				require.True(t, data.IsMonotonic)
				points = data.DataPoints
			}
			for _, p := range points {
				var values []string
				for _, label := range p.Attributes.ToSlice() {
					values = append(values, string(label.Key)+"="+label.Value.AsString())
				}
				found[m.Name][strings.Join(values, ",")] = p.Value
			}
		}
	}
	return found
}

func TestMetrics(t *testing.T) {
	reader := sdkmetric.NewManualReader()
	before := otel.GetMeterProvider()
	otel.SetMeterProvider(sdkmetric.NewMeterProvider(sdkmetric.WithReader(reader)))
	t.Cleanup(func() { otel.SetMeterProvider(before) })
	bubble(t, func(t *testing.T) {
		s := fixed(t, 2)
		const accepted, refused = "criticality=critical_plus,outcome=accepted,reason=room", "criticality=sheddable,outcome=shed,reason=max_wait"
		got := measured(t, reader)
		require.Len(t, got["holdfast_shed_requests"], len(levels)*int(outcomes), "an increase needs a beginning")
		require.Zero(t, got["holdfast_shed_requests"][refused])
		s.fill(t)
		s.shedOnce(t, sheddable)
		waiting := s.attempt(t.Context(), critical)
		got = measured(t, reader)
		require.EqualValues(t, 2, got["holdfast_shed_requests"][accepted])
		require.EqualValues(t, 1, got["holdfast_shed_requests"][refused])
		require.EqualValues(t, 2, got["holdfast_shed_limit"][""])
		require.EqualValues(t, 2, got["holdfast_shed_inflight"][""])
		require.EqualValues(t, 1, got["holdfast_shed_queued"][""])
		<-waiting.done
		s.Close()
		require.Empty(t, measured(t, reader)["holdfast_shed_limit"], "a closed one tells nothing")
	})
}

func TestReport(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := fixed(t, 2)
		s.fill(t)
		s.shedOnce(t, sheddable)
		text, err := json.Marshal(s.Report())
		require.NoError(t, err)
		require.JSONEq(t, `{"shedding": true, "limit": 2, "in_flight": 2, "queued": 0,
			"calls": {"critical_plus": {"accepted": 2}, "sheddable": {"shed_max_wait": 1}}}`, string(text))
		time.Sleep(calmFor)
		synctest.Wait()
		require.False(t, s.Report().Shedding)
	})
}

func TestOneLineWhenSheddingBeginsAndOneWhenItIsOver(t *testing.T) {
	bubble(t, func(t *testing.T) {
		logs := &logtest.Buffer{}
		s := New(Config{Enabled: true, Min: 1, Initial: 1, Max: 1}, policies(t), slog.New(slog.NewJSONHandler(logs, nil)))
		s.fill(t)
		const began, over = "shedding load: ", "no longer shedding load"
		for n := range 2 {
			for range 10 { // ten seconds
				for range 50 {
					s.shedOnce(t, sheddable)
				}
				s.shedOnce(t, criticalPlus)
				time.Sleep(time.Second)
			}
			require.Equal(t, n+1, logs.Count(began))
			require.Equal(t, n, logs.Count(over))
			time.Sleep(calmFor)
			synctest.Wait()
			require.Equal(t, n+1, logs.Count(began))
			require.Equal(t, n+1, logs.Count(over))
			require.Equal(t, n+1, logs.Count(`"took":"9s"`), logs)
			require.Equal(t, n+1, logs.Count(`"refused":{"sheddable":500,"sheddable_plus":0,"critical":0,"critical_plus":10}`), logs)
		}
		s.shedOnce(t, sheddable)
		closed := time.Now()
		s.Close() // with a line owed
		require.Zero(t, time.Since(closed), "it is not waited for")
	})
}
