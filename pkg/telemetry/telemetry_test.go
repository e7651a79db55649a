package telemetry

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/trace"
)

func newTelemetry(t *testing.T, cfg Config) *Telemetry {
	t.Helper()
	cfg.Service, cfg.Version, cfg.Commit = "shop", "v1", "abc"
	tele, err := New(t.Context(), cfg)
	require.NoError(t, err)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		_ = tele.Shutdown(ctx)
	})
	return tele
}

func TestLogLinesSayWhoseTheyAreAndWhichTrace(t *testing.T) {
	var out bytes.Buffer
	tele := newTelemetry(t, Config{Output: &out, LogLevel: slog.LevelInfo})
	ctx, span := tele.TracerProvider.Tracer("test").Start(t.Context(), "work")
	defer span.End()
	tele.Logger.With("key", "value").WithGroup("group").InfoContext(ctx, "hello", "n", 1)
	tele.Logger.DebugContext(ctx, "too quiet to be written")

	var line map[string]any
	require.NoError(t, json.Unmarshal(out.Bytes(), &line), "one line of JSON: %s", out.String())
	require.Equal(t, "shop", line["service"])
	require.Equal(t, "v1", line["version"])
	require.Equal(t, "value", line["key"])
	require.Contains(t, out.String(), span.SpanContext().TraceID().String())
	require.Contains(t, out.String(), span.SpanContext().SpanID().String())
}

func TestWithoutAnEndpointTracesHaveIdsAndAreNotRecorded(t *testing.T) {
	tele := newTelemetry(t, Config{Output: &bytes.Buffer{}, TraceRatio: 1})
	_, span := tele.TracerProvider.Tracer("test").Start(t.Context(), "work")
	defer span.End()
	require.True(t, span.SpanContext().IsValid())
	require.False(t, span.IsRecording())
}

func TestACollectorThatIsAwayDoesNotHoldTheStart(t *testing.T) {
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1")
	tele := newTelemetry(t, Config{Output: &bytes.Buffer{}, TraceRatio: 1, Endpoint: "http://127.0.0.1:1"})
	_, span := tele.TracerProvider.Tracer("test").Start(t.Context(), "work")
	require.True(t, span.IsRecording())
	require.Equal(t, trace.FlagsSampled, span.SpanContext().TraceFlags())
	span.End()
}

func TestMetricsOfAnyPackageAreScraped(t *testing.T) {
	tele := newTelemetry(t, Config{Output: &bytes.Buffer{}})
	counter, err := otel.Meter("anywhere").Int64Counter("holdfast_things")
	require.NoError(t, err)
	counter.Add(t.Context(), 3)
	w := httptest.NewRecorder()
	tele.Metrics.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", http.NoBody))
	require.Contains(t, w.Body.String(), "holdfast_things_total 3")
	require.Contains(t, w.Body.String(), `holdfast_build_info{commit="abc"`)
	require.Contains(t, w.Body.String(), "go_goroutines")
}

func TestARatioBeyondOneIsRefused(t *testing.T) {
	require.ErrorContains(t, Config{TraceRatio: 1.5}.Validate(), "HOLDFAST_TRACE_RATIO")
	require.NoError(t, Config{TraceRatio: 0.5}.Validate())
}
