package service

import (
	"encoding/json"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/holdfast-dev/holdfast/pkg/apierror"
	"github.com/holdfast-dev/holdfast/pkg/auth"
	"github.com/holdfast-dev/holdfast/pkg/ratelimit"
	ordersv1 "github.com/holdfast-dev/holdfast/proto/holdfast/orders/v1"
)

// A limit of these tests lets two requests through and then none: the next
// token comes after a quarter of an hour.
const trickle = "0.001"

// limited are the variables of limits that let two through.
func limited(names ...string) (variables []string) {
	for _, name := range names {
		variables = append(variables, "HOLDFAST_RATE_"+name, trickle, "HOLDFAST_RATE_"+name+"_BURST", "2")
	}
	return variables
}

// requireLimited demands the error of a limit, as gRPC clients see it.
func requireLimited(t *testing.T, err error, quota string) {
	t.Helper()
	require.Equal(t, codes.ResourceExhausted, status.Code(err), err)
	e := apierror.From(err)
	require.Equal(t, apierror.ReasonRateLimited, e.Reason(), err)
	require.Equal(t, apierror.RetrySameKey, e.Retry())
	require.Greater(t, e.RetryAfter(), time.Minute, "RetryInfo")
	require.Equal(t, quota, e.Metadata("quota"))
}

// requireLimitedHTTP demands the same of an HTTP answer.
func requireLimitedHTTP(t *testing.T, a answerOf, quota string) {
	t.Helper()
	require.Equal(t, http.StatusTooManyRequests, a.StatusCode, a.body)
	require.Equal(t, apierror.ContentType, a.Header.Get("Content-Type"))
	var problem apierror.Problem
	require.NoError(t, json.Unmarshal([]byte(a.body), &problem), a.body)
	require.Equal(t, apierror.ReasonRateLimited, problem.Reason)
	require.Equal(t, quota, problem.Metadata["quota"])
	require.Equal(t, a.Header.Get(headerRequestID), problem.Instance)
	require.Regexp(t, `^\d{3,4}$`, a.Header.Get("Retry-After"))
	require.Equal(t, `"`+quota+`";q=2;w=2000`, a.Header.Get("RateLimit-Policy"))
	require.Regexp(t, `^"`+quota+`";r=0;t=\d+$`, a.Header.Get("RateLimit"))
}

func getOrder(t *testing.T, client ordersv1.OrdersServiceClient, options ...grpc.CallOption) error {
	t.Helper()
	_, err := client.GetOrder(t.Context(), &ordersv1.GetOrderRequest{Id: orderFine}, options...)
	return err
}

// anonymous is a connection without credentials.
func (i *instance) anonymous() *grpc.ClientConn {
	i.t.Helper()
	conn, err := grpc.NewClient(i.GRPC, grpc.WithTransportCredentials(insecure.NewCredentials()))
	require.NoError(i.t, err)
	i.t.Cleanup(func() { conn.Close() })
	return conn
}

const finePath = "/v1/orders/" + orderFine

func TestAnAddressIsLimitedBeforeAnybodyAsksWhoItIs(t *testing.T) {
	s := &shop{}
	i := start(t, definition(s, withWatch(t)), limited("ADDRESS")...)
	client := i.client()
	require.NoError(t, getOrder(t, client))
	require.NoError(t, getOrder(t, client))
	var trailer metadata.MD
	requireLimited(t, getOrder(t, client, grpc.Trailer(&trailer)), "address")
	require.Equal(t, []string{`"address";q=2;w=2000`}, trailer.Get("ratelimit-policy"))
	require.Regexp(t, `^"address";r=0;t=\d+$`, trailer.Get("ratelimit")[0])
	require.Equal(t, int64(2), s.calls.Load(), "the handler was not reached")

	requireLimited(t, getOrder(t, ordersv1.NewOrdersServiceClient(i.anonymous())), "address")
	_, err := watch(t, i.dial())
	requireLimited(t, err, "address")
	requireLimited(t, i.dial().Invoke(t.Context(), "/nobody.Nothing/Do", []byte{}, new([]byte), rawCodec), "address")
	requireLimitedHTTP(t, i.send(http.MethodGet, finePath, ""), "address")
	requireLimitedHTTP(t, i.send(http.MethodGet, "/v1/nothing", "", "Authorization", ""), "address")
}

// TestAnHTTPRequestCountsOnce: the call that the gateway makes of it is not
// another one.
func TestAnHTTPRequestCountsOnce(t *testing.T) {
	i := start(t, definition(&shop{}), limited("ADDRESS")...)
	for range 2 {
		a := i.send(http.MethodGet, finePath, "")
		require.Equal(t, http.StatusOK, a.StatusCode, a.body)
	}
	requireLimitedHTTP(t, i.send(http.MethodGet, finePath, ""), "address")
	requireLimited(t, getOrder(t, i.client()), "address")
}

func TestAStreamCountsWhenItOpens(t *testing.T) {
	i := start(t, definition(&shop{}, withWatch(t)), append(limited("ADDRESS"), limited("TENANT_READS")...)...)
	for range 2 {
		_, err := watch(t, i.dial())
		require.NoError(t, err)
	}
	_, err := watch(t, i.dial())
	requireLimited(t, err, "address")
}

// TestXForwardedForOverTheWire: what is believed of it, and when, is the table
// of pkg/ratelimit; here it is that both ways in ask.
func TestXForwardedForOverTheWire(t *testing.T) {
	behindProxy := append(limited("ADDRESS"), "HOLDFAST_RATE_TRUSTED_PROXIES", "127.0.0.0/8")
	first, second := "192.0.2.66, 203.0.113.1", "192.0.2.77, 203.0.113.2" // each a claim, and what the proxy saw

	t.Run("of a trusted proxy", func(t *testing.T) {
		i := start(t, definition(&shop{}), behindProxy...)
		for range 2 {
			require.Equal(t, http.StatusOK, i.send(http.MethodGet, finePath, "", "X-Forwarded-For", first).StatusCode)
		}
		requireLimitedHTTP(t, i.send(http.MethodGet, finePath, "", "X-Forwarded-For", "192.0.2.99, 203.0.113.1"), "address")
		require.Equal(t, http.StatusOK, i.send(http.MethodGet, finePath, "", "X-Forwarded-For", second).StatusCode)

		client := i.client()
		as := func(forwarded string) error {
			_, err := client.GetOrder(metadata.AppendToOutgoingContext(t.Context(), "x-forwarded-for", forwarded), &ordersv1.GetOrderRequest{Id: orderFine})
			return err
		}
		requireLimited(t, as(first), "address")
		require.NoError(t, as(second))
		requireLimited(t, as(second), "address")
	})
	t.Run("of anybody else", func(t *testing.T) {
		i := start(t, definition(&shop{}), limited("ADDRESS")...)
		require.Equal(t, http.StatusOK, i.send(http.MethodGet, finePath, "", "X-Forwarded-For", "203.0.113.1").StatusCode)
		require.Equal(t, http.StatusOK, i.send(http.MethodGet, finePath, "", "X-Forwarded-For", "203.0.113.2").StatusCode)
		requireLimitedHTTP(t, i.send(http.MethodGet, finePath, "", "X-Forwarded-For", "203.0.113.3"), "address")
		ctx := metadata.AppendToOutgoingContext(t.Context(), "x-forwarded-for", "203.0.113.4")
		_, err := i.client().GetOrder(ctx, &ordersv1.GetOrderRequest{Id: orderFine})
		requireLimited(t, err, "address")
	})
}

func TestExemptNetworksAreNotLimited(t *testing.T) {
	i := start(t, definition(&shop{}), append(limited("ADDRESS", "FAILED_AUTH"), "HOLDFAST_RATE_EXEMPT", "127.0.0.0/8")...)
	for range 5 {
		require.NoError(t, getOrder(t, i.client()))
		require.Equal(t, http.StatusOK, i.send(http.MethodGet, finePath, "").StatusCode)
		require.Equal(t, http.StatusUnauthorized, i.send(http.MethodGet, finePath, "", "Authorization", "Bearer hf_no_no").StatusCode)
	}
}

func TestReadsAndWritesOfATenantAreLimitedApart(t *testing.T) {
	s := &shop{}
	i := start(t, definition(s, withWatch(t)), limited("TENANT_READS", "TENANT_WRITES")...)
	client := i.client()
	update := func() (trailer metadata.MD, err error) {
		_, err = client.UpdateOrder(t.Context(), &ordersv1.UpdateOrderRequest{Id: orderFine, Etag: "1"}, grpc.Trailer(&trailer))
		return trailer, err
	}

	trailer, err := update()
	require.NoError(t, err)
	require.Equal(t, []string{`"tenant-writes";q=2;w=2000`}, trailer.Get("ratelimit-policy"))
	require.Regexp(t, `^"tenant-writes";r=1;t=\d+$`, trailer.Get("ratelimit")[0])
	_, err = update()
	require.NoError(t, err)
	trailer, err = update()
	requireLimited(t, err, "tenant-writes")
	require.Regexp(t, `^"tenant-writes";r=0;t=\d+$`, trailer.Get("ratelimit")[0])
	require.Equal(t, int64(2), s.calls.Load(), "the handler was not reached")
	requireLimitedHTTP(t, i.send(http.MethodPatch, finePath, `{"etag":"1"}`), "tenant-writes")

	a := i.send(http.MethodGet, finePath, "")
	require.Equal(t, http.StatusOK, a.StatusCode, "reads have a limit of their own: %s", a.body)
	require.Equal(t, `"tenant-reads";q=2;w=2000`, a.Header.Get("RateLimit-Policy"))
	require.Regexp(t, `^"tenant-reads";r=1;t=\d+$`, a.Header.Get("RateLimit"))
	trailer, err = watch(t, i.dial())
	require.NoError(t, err)
	require.Regexp(t, `^"tenant-reads";r=0;t=\d+$`, trailer.Get("ratelimit")[0])
	_, err = watch(t, i.dial())
	requireLimited(t, err, "tenant-reads")
	requireLimitedHTTP(t, i.send(http.MethodGet, finePath, ""), "tenant-reads")

	a = i.send(http.MethodGet, finePath, "", "Authorization", "Bearer "+auth.DevelopmentKeyOther)
	require.Equal(t, http.StatusOK, a.StatusCode, "another tenant has its own: %s", a.body)
}

// TestAFailedCallSaysWhatIsLeftToo: an error is an answer.
func TestAFailedCallSaysWhatIsLeftToo(t *testing.T) {
	i := start(t, definition(&shop{}), limited("TENANT_READS")...)
	a := i.send(http.MethodGet, "/v1/orders/"+orderPanics, "")
	require.Equal(t, http.StatusInternalServerError, a.StatusCode)
	require.Regexp(t, `^"tenant-reads";r=1;t=\d+$`, a.Header.Get("RateLimit"))
	var trailer, header metadata.MD
	_, err := i.client().GetOrder(t.Context(), &ordersv1.GetOrderRequest{Id: orderPanics}, grpc.Trailer(&trailer), grpc.Header(&header))
	require.Equal(t, codes.Internal, status.Code(err))
	require.Regexp(t, `^"tenant-reads";r=0;t=\d+$`, trailer.Get("ratelimit")[0])
	require.Empty(t, header, "headers would end gRPC's own retries")
}

func TestAServiceIsNotLimitedForTheTenantItActsFor(t *testing.T) {
	i := start(t, definition(&shop{}), limited("TENANT_READS")...)
	conn, err := grpc.NewClient(i.GRPC, grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithPerRPCCredentials(auth.PerRPC(auth.DevelopmentServiceKey)))
	require.NoError(t, err)
	t.Cleanup(func() { conn.Close() })
	service := ordersv1.NewOrdersServiceClient(conn)
	for range 5 {
		var trailer metadata.MD
		_, err := service.GetOrder(auth.ActAs(t.Context(), "acme"), &ordersv1.GetOrderRequest{Id: orderFine}, grpc.Trailer(&trailer))
		require.NoError(t, err)
		require.Empty(t, trailer.Get("ratelimit"))
	}
	require.NoError(t, getOrder(t, i.client()), "and it took nothing of the tenant's")
}

func TestWhatOperatorsAskIsNeverLimited(t *testing.T) {
	i := start(t, definition(&shop{}), limited("ADDRESS", "FAILED_AUTH", "TENANT_READS")...)
	conn := i.anonymous()
	for range 5 {
		_, err := healthpb.NewHealthClient(conn).Check(t.Context(), &healthpb.HealthCheckRequest{})
		require.NoError(t, err)
		stream, err := healthpb.NewHealthClient(conn).Watch(t.Context(), &healthpb.HealthCheckRequest{})
		require.NoError(t, err)
		_, err = stream.Recv()
		require.NoError(t, err)
		require.NotEmpty(t, reflected(t, conn))
		for _, path := range []string{"/readyz", "/livez", "/statusz", "/metrics"} {
			require.Equal(t, http.StatusOK, get(t, i.Probe, path).StatusCode)
		}
		require.Equal(t, http.StatusOK, get(t, i.Admin, "/drain").StatusCode)
	}
	require.NoError(t, getOrder(t, i.client()), "and it took nothing of the address's")
	require.NoError(t, getOrder(t, i.client()))
}

func TestZeroTurnsEveryLimitOff(t *testing.T) {
	i := start(t, definition(&shop{}), "HOLDFAST_RATE_ADDRESS", "0", "HOLDFAST_RATE_FAILED_AUTH", "0",
		"HOLDFAST_RATE_TENANT_READS", "0", "HOLDFAST_RATE_TENANT_WRITES", "0")
	for range 30 {
		require.Equal(t, http.StatusUnauthorized, i.send(http.MethodGet, finePath, "", "Authorization", "Bearer hf_no_no").StatusCode)
	}
	a := i.send(http.MethodGet, finePath, "")
	require.Equal(t, http.StatusOK, a.StatusCode)
	require.Empty(t, a.Header.Values("RateLimit"))
	require.Empty(t, reportOf(t, i).Limits)
}

// reportOf is what /statusz shows of the limits.
func reportOf(t *testing.T, i *instance) ratelimit.Report {
	t.Helper()
	var shown struct {
		Details struct {
			Limits ratelimit.Report `json:"rate_limits"`
		}
	}
	body := get(t, i.Probe, "/statusz").body
	require.Contains(t, body, `"rate_limits"`)
	require.NoError(t, json.Unmarshal([]byte(body), &shown), body)
	return shown.Details.Limits
}

func TestOperatorsSeeLimitsAndWhatTheyDecided(t *testing.T) {
	i := start(t, definition(&shop{}), append(limited("ADDRESS", "TENANT_READS"),
		"HOLDFAST_RATE_TRUSTED_PROXIES", "10.0.0.0/8", "HOLDFAST_RATE_EXEMPT", "192.0.2.0/24", "HOLDFAST_RATE_KEYS", "7")...)
	for range 3 {
		_ = getOrder(t, i.client())
	}
	require.Equal(t, ratelimit.Report{
		Limits: []ratelimit.LimitReport{
			{Quota: "address", Rate: 0.001, Burst: 2, Keys: 1, MaxKeys: 7},
			{Quota: "failed-auth", Rate: 5, Burst: 20, Keys: 0, MaxKeys: 7},
			{Quota: "tenant-reads", Rate: 0.001, Burst: 2, Keys: 1, MaxKeys: 7},
			{Quota: "tenant-writes", Rate: 1000, Burst: 2000, Keys: 0, MaxKeys: 7},
		},
		TrustedProxies: "10.0.0.0/8", Exempt: "192.0.2.0/24",
	}, reportOf(t, i))
	metrics := get(t, i.Probe, "/metrics").body
	require.Contains(t, metrics, `holdfast_ratelimit_requests_total{limit="address",outcome="allowed"} 2`)
	require.Contains(t, metrics, `holdfast_ratelimit_requests_total{limit="address",outcome="refused"} 1`)
	require.Contains(t, metrics, `holdfast_ratelimit_requests_total{limit="tenant",outcome="allowed"} 2`)
}
