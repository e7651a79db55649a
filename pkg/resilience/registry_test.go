package resilience

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/holdfast-dev/holdfast/pkg/apierror"
	"github.com/holdfast-dev/holdfast/pkg/telemetry/logtest"
)

// TestEveryMistakeOfAConfigIsReported at once.
func TestEveryMistakeOfAConfigIsReported(t *testing.T) {
	require.NoError(t, Defaults().Check("HOLDFAST_PAYMENTS_"))
	err := Config{}.Check("HOLDFAST_PAYMENTS_")
	for _, name := range []string{"MAX_ATTEMPTS", "BACKOFF", "ATTEMPT_PART", "BREAKER_WINDOW", "BREAKER_MIN_CALLS", "BREAKER_RATE", "BREAKER_OPEN_FOR", "BREAKER_PROBES", "MAX_CONCURRENT"} {
		require.ErrorContains(t, err, "HOLDFAST_PAYMENTS_"+name)
	}
	_, err = newRegistry(t).Add("payments", Config{}, nil)
	require.Error(t, err)
}

func TestADependencyIsAddedOnce(t *testing.T) {
	r := newRegistry(t)
	_, err := r.Add("payments", Defaults(), nil)
	require.NoError(t, err)
	_, err = r.Add("payments", Defaults(), nil)
	require.ErrorContains(t, err, "exists already")
}

// order sends an order to the admin port.
func order(t *testing.T, r *Registry, method, path, body string) (int, string) {
	t.Helper()
	mux := http.NewServeMux()
	r.Register(mux)
	w := httptest.NewRecorder()
	mux.ServeHTTP(w, httptest.NewRequest(method, path, strings.NewReader(body)))
	text, err := io.ReadAll(w.Body)
	require.NoError(t, err)
	return w.Code, string(text)
}

// TestABreakerIsForcedOnTheAdminPort: open, closed, and back to its own judgement.
func TestABreakerIsForcedOnTheAdminPort(t *testing.T) {
	p := &peer{}
	r := newRegistry(t)
	d, err := r.Add("payments", touchy(), paymentPolicies(t))
	require.NoError(t, err)
	client := dial(t, d, p.serve(t))

	code, text := order(t, r, http.MethodPut, "/breakers/payments", `{"mode":"forced_open"}`)
	require.Equal(t, http.StatusOK, code, text)
	require.Equal(t, apierror.ReasonBreakerOpen, reason(get(t.Context(), client)))
	require.Zero(t, p.seen.Load())

	code, _ = order(t, r, http.MethodPut, "/breakers/payments", `{"mode":"forced_closed"}`)
	require.Equal(t, http.StatusOK, code)
	p.answer = func(context.Context, int64) error { return status.Error(codes.Internal, "broken") }
	failed(t, 20, func() error { return get(t.Context(), client) })
	require.Equal(t, "forced_closed", d.breaker.state())

	code, _ = order(t, r, http.MethodDelete, "/breakers/payments", "")
	require.Equal(t, http.StatusOK, code)
	failed(t, 5, func() error { return get(t.Context(), client) })
	require.Equal(t, "open", d.breaker.state())

	code, text = order(t, r, http.MethodGet, "/breakers", "")
	require.Equal(t, http.StatusOK, code)
	var statuses []Status
	require.NoError(t, json.Unmarshal([]byte(text), &statuses))
	require.Len(t, statuses, 1)
	require.Equal(t, "payments", statuses[0].Dependency)
	require.Equal(t, "open", statuses[0].Breaker)
	require.InDelta(t, 1, statuses[0].FailureRate, 0)
	rested(t, d)
}

func TestAWrongOrderChangesNothing(t *testing.T) {
	r := newRegistry(t)
	d, err := r.Add("payments", touchy(), nil)
	require.NoError(t, err)
	for name, test := range map[string]struct {
		path, body string
		code       int
	}{
		"an unknown mode":       {"/breakers/payments", `{"mode":"ajar"}`, 400},
		"no mode":               {"/breakers/payments", `{}`, 400},
		"an unknown field":      {"/breakers/payments", `{"mode":"forced_open","for":"1h"}`, 400},
		"not JSON":              {"/breakers/payments", `open`, 400},
		"an unknown dependency": {"/breakers/nobody", `{"mode":"forced_open"}`, 404},
		"too much":              {"/breakers/payments", `{"mode":"` + strings.Repeat("x", maxAdminBody) + `"}`, 400},
	} {
		code, text := order(t, r, http.MethodPut, test.path, test.body)
		require.Equal(t, test.code, code, name)
		require.Contains(t, text, "problem", name)
		require.Equal(t, "closed", d.breaker.state(), name)
	}
}

// TestWhatHappensIsCounted, and the log has changes of state, not calls.
func TestWhatHappensIsCounted(t *testing.T) {
	reader := sdkmetric.NewManualReader()
	before := otel.GetMeterProvider()
	otel.SetMeterProvider(sdkmetric.NewMeterProvider(sdkmetric.WithReader(reader)))
	t.Cleanup(func() { otel.SetMeterProvider(before) })

	var logs logtest.Buffer
	r := NewRegistry(slog.New(slog.NewTextHandler(&logs, nil)))
	d, err := r.Add("payments", quick(func(c *Config) { c.BreakerMinCalls = 6 }), paymentPolicies(t))
	require.NoError(t, err)
	p := &peer{answer: func(context.Context, int64) error { return status.Error(codes.Unavailable, "away") }}
	client := dial(t, d, p.serve(t))
	failed(t, 20, func() error { return get(t.Context(), client) })

	require.Equal(t, 1, strings.Count(logs.String(), "a circuit breaker changed"), "once, not with every refused call")
	got := collect(t, reader)
	require.EqualValues(t, 20, got[`holdfast_client_calls{dependency=payments,outcome=error}`])
	require.EqualValues(t, 4, got[`holdfast_client_repeats{dependency=payments,event=retry}`])
	require.EqualValues(t, 18, got[`holdfast_client_refused{dependency=payments,reason=breaker_open}`])
	require.EqualValues(t, 1, got[`holdfast_breaker_transitions{dependency=payments,to=open}`])
	require.EqualValues(t, 1, got[`holdfast_breaker_state{dependency=payments,state=open}`])
	require.EqualValues(t, 0, got[`holdfast_breaker_state{dependency=payments,state=closed}`])
	require.EqualValues(t, 128, got[`holdfast_bulkhead_max{dependency=payments}`])
	require.Contains(t, got, `holdfast_retry_budget{dependency=payments}`)
	require.NoError(t, r.Close())
	require.NotContains(t, collect(t, reader), `holdfast_bulkhead_max{dependency=payments}`)
}

// collect returns every series and its value.
func collect(t *testing.T, reader sdkmetric.Reader) map[string]float64 {
	t.Helper()
	var data metricdata.ResourceMetrics
	require.NoError(t, reader.Collect(t.Context(), &data))
	series := map[string]float64{}
	for _, scope := range data.ScopeMetrics {
		for _, m := range scope.Metrics {
			switch points := m.Data.(type) {
			case metricdata.Sum[int64]:
				for _, p := range points.DataPoints {
					series[m.Name+"{"+p.Attributes.Encoded(attribute.DefaultEncoder())+"}"] = float64(p.Value)
				}
			case metricdata.Gauge[int64]:
				for _, p := range points.DataPoints {
					series[m.Name+"{"+p.Attributes.Encoded(attribute.DefaultEncoder())+"}"] = float64(p.Value)
				}
			case metricdata.Gauge[float64]:
				for _, p := range points.DataPoints {
					series[m.Name+"{"+p.Attributes.Encoded(attribute.DefaultEncoder())+"}"] = p.Value
				}
			}
		}
	}
	return series
}
