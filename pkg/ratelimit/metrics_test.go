package ratelimit

import (
	"context"
	"net/netip"
	"testing"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"

	"github.com/holdfast-dev/holdfast/pkg/auth"
	"github.com/holdfast-dev/holdfast/pkg/policy"
)

// counted collects the counter: "limit outcome" to how often.
func counted(t *testing.T, reader *sdkmetric.ManualReader) map[string]int64 {
	t.Helper()
	var all metricdata.ResourceMetrics
	require.NoError(t, reader.Collect(context.WithoutCancel(t.Context()), &all))
	found := map[string]int64{}
	for _, scope := range all.ScopeMetrics {
		for _, m := range scope.Metrics {
			require.Equal(t, "holdfast_ratelimit_requests", m.Name)
			sum := m.Data.(metricdata.Sum[int64])
			require.True(t, sum.IsMonotonic)
			for _, point := range sum.DataPoints {
				limit, _ := point.Attributes.Value("limit")
				outcome, _ := point.Attributes.Value("outcome")
				found[limit.AsString()+" "+outcome.AsString()] = point.Value
			}
		}
	}
	return found
}

func TestMetricsCountWhatEachLimitDecided(t *testing.T) {
	reader := sdkmetric.NewManualReader()
	before := otel.GetMeterProvider()
	otel.SetMeterProvider(sdkmetric.NewMeterProvider(sdkmetric.WithReader(reader)))
	t.Cleanup(func() { otel.SetMeterProvider(before) })
	l, err := New(Config{
		Keys: 10, Address: 0.001, AddressBurst: 2, FailedAuth: 0.001, FailedAuthBurst: 1,
		TenantReads: 0.001, TenantReadsBurst: 1, TenantWrites: 0.001, TenantWritesBurst: 1,
	})
	require.NoError(t, err)
	require.Equal(t, map[string]int64{
		"address allowed": 0, "address refused": 0, "failed_auth allowed": 0, "failed_auth refused": 0, "tenant allowed": 0, "tenant refused": 0,
	}, counted(t, reader), "a rate needs a beginning")

	client := netip.MustParseAddr("203.0.113.9")
	for range 5 {
		l.Address(client)
	}
	require.True(t, l.MayAuthenticate(client).Allowed)
	l.AuthenticationFailed(client)
	l.MayAuthenticate(client)
	for range 3 {
		l.Tenant(auth.Principal{Tenant: "acme"}, policy.Method{ReadOnly: true})
		l.Tenant(auth.Principal{Tenant: "acme"}, policy.Method{})
		l.Tenant(auth.Principal{Tenant: "acme", Service: true}, policy.Method{})
	}
	require.Equal(t, map[string]int64{
		"address allowed": 2, "address refused": 3, "failed_auth allowed": 1, "failed_auth refused": 1, "tenant allowed": 2, "tenant refused": 4,
	}, counted(t, reader))

	require.NoError(t, l.Close())
	require.Empty(t, counted(t, reader), "closed limits tell nothing")
}
