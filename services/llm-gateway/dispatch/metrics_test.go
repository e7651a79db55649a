package dispatch

import (
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"

	"github.com/holdfast-dev/holdfast/services/llm-gateway/wire"
)

// TestWhatHappensIsCounted by provider and model, and by nothing that a client says.
func TestWhatHappensIsCounted(t *testing.T) {
	reader := sdkmetric.NewManualReader()
	before := otel.GetMeterProvider()
	otel.SetMeterProvider(sdkmetric.NewMeterProvider(sdkmetric.WithReader(reader)))
	t.Cleanup(func() { otel.SetMeterProvider(before) })

	p := wire.Anthropic
	a := newUpstream(t, status(429, "rate_limit_error", "", "Retry-After", "1000"))
	b := newUpstream(t, events(recording(p, "first")), answer(p))
	d := newDispatcher(t)
	route := chained(provided("a", p, a.URL, "a1"), provided("b", p, b.URL, "b1"))
	got, err := d.Do(t.Context(), asking(t, route, p, true))
	require.NoError(t, err)
	_, err = drink(t, got.Stream)
	require.NoError(t, err)
	_, err = d.Do(t.Context(), asking(t, route, p, false))
	require.NoError(t, err)

	series := collect(t, reader)
	for name, want := range map[string]float64{
		"holdfast_llm_attempts{model=a-model,outcome=rate_limited,provider=a}": 1,
		"holdfast_llm_attempts{model=a-model,outcome=ok,provider=a}":           0,
		"holdfast_llm_attempts{model=b-model,outcome=ok,provider=b}":           2,
		"holdfast_llm_fallbacks{model=b-model,provider=b}":                     2,
		"holdfast_llm_tokens{kind=input,model=b-model,provider=b}":             24,
		"holdfast_llm_tokens{kind=cache_read,model=b-model,provider=b}":        6,
		"holdfast_llm_tokens{kind=output,model=b-model,provider=b}":            10,
		"holdfast_llm_keys_resting{provider=a,reason=rate_limited}":            1,
		"holdfast_llm_keys_resting{provider=b,reason=rate_limited}":            0,
		"holdfast_llm_first_token_seconds{model=b-model,provider=b}":           1,
		"holdfast_llm_answer_seconds{model=b-model,provider=b}":                1,
	} {
		value, ok := series[name]
		require.True(t, ok, name)
		require.InDelta(t, want, value, 0, name)
	}
	for name := range series {
		require.NotContains(t, name, "asked")
	}
	require.Equal(t, 2*len(ends), countPrefix(series, "holdfast_llm_attempts{"), "known from the beginning: "+strconv.Itoa(len(ends))+" for each model")
}

func countPrefix(series map[string]float64, prefix string) (n int) {
	for name := range series {
		if len(name) > len(prefix) && name[:len(prefix)] == prefix {
			n++
		}
	}
	return n
}

// collect returns every series and its value; of a histogram, how many it counted.
func collect(t *testing.T, reader sdkmetric.Reader) map[string]float64 {
	t.Helper()
	var data metricdata.ResourceMetrics
	require.NoError(t, reader.Collect(t.Context(), &data))
	series := map[string]float64{}
	name := func(m string, of attribute.Set) string { return m + "{" + of.Encoded(attribute.DefaultEncoder()) + "}" }
	for _, scope := range data.ScopeMetrics {
		for _, m := range scope.Metrics {
			switch points := m.Data.(type) {
			case metricdata.Sum[int64]:
				for _, p := range points.DataPoints {
					series[name(m.Name, p.Attributes)] = float64(p.Value)
				}
			case metricdata.Gauge[int64]:
				for _, p := range points.DataPoints {
					series[name(m.Name, p.Attributes)] = float64(p.Value)
				}
			case metricdata.Histogram[float64]:
				for _, p := range points.DataPoints {
					series[name(m.Name, p.Attributes)] = float64(p.Count)
				}
			}
		}
	}
	return series
}
