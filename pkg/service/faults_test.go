//go:build faults

package service

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/holdfast-dev/holdfast/pkg/apierror"
	"github.com/holdfast-dev/holdfast/pkg/auth"
	ordersv1 "github.com/holdfast-dev/holdfast/proto/holdfast/orders/v1"
)

// faults asks the admin port for faults.
func (i *instance) faults(method, body string, headers ...string) answerOf {
	i.t.Helper()
	request, err := http.NewRequest(method, "http://"+i.Admin+"/faults", strings.NewReader(body))
	require.NoError(i.t, err)
	for n := 0; n+1 < len(headers); n += 2 {
		request.Header.Set(headers[n], headers[n+1])
	}
	return do(i.t, request)
}

// always has every call of the pattern's methods have a fault.
func (i *instance) always(pattern, fault string) {
	i.t.Helper()
	a := i.faults(http.MethodPut, `{"rules": [{"method": "`+pattern+`", "percent": 100, `+fault+`}]}`)
	require.Equal(i.t, http.StatusOK, a.StatusCode, a.body)
}

// TestAnInjectedErrorIsSeenLikeARealOne: typed, logged, counted and with the
// version, over both wires.
func TestAnInjectedErrorIsSeenLikeARealOne(t *testing.T) {
	s := &shop{}
	i := start(t, definition(s))
	i.always("*", `"fault": "error", "code": "INTERNAL"`)
	var trailer metadata.MD
	err := getOrder(t, i.client(), grpc.Trailer(&trailer))
	require.Equal(t, codes.Internal, status.Code(err))
	require.Equal(t, []string{Version}, trailer.Get(VersionTrailer))

	a := i.send(http.MethodGet, "/v1/orders/"+orderFine, "")
	require.Equal(t, http.StatusInternalServerError, a.StatusCode)
	var problem apierror.Problem
	require.NoError(t, json.Unmarshal([]byte(a.body), &problem))
	require.Equal(t, apierror.ReasonInternal, problem.Reason)
	require.Contains(t, i.logs.String(), problem.Metadata["error_id"])
	require.Contains(t, get(t, i.Probe, "/metrics").body, `rpc_response_status_code="INTERNAL"`)

	require.Zero(t, s.calls.Load())
	i.always("*", `"fault": "error", "when": "after"`)
	require.Equal(t, http.StatusServiceUnavailable, i.send(http.MethodGet, "/v1/orders/"+orderFine, "").StatusCode)
	require.EqualValues(t, 1, s.calls.Load(), "it was done, and nobody knows")
}

// TestAFaultComesBeforeAnybodyAsksWhoCalls: a service that misbehaves does so to
// everybody.
func TestAFaultComesBeforeAnybodyAsksWhoCalls(t *testing.T) {
	i := start(t, definition(&shop{}))
	i.always("*", `"fault": "error"`)
	require.Equal(t, http.StatusServiceUnavailable, i.send(http.MethodGet, "/v1/orders/"+orderFine, "", "Authorization", "").StatusCode)
}

// TestTheMethodsDeadlineHoldsForLatency, as it does for a handler that is slow.
func TestTheMethodsDeadlineHoldsForLatency(t *testing.T) {
	i := start(t, definition(&shop{}))
	i.always("*", `"fault": "latency", "latency": "1m"`)
	err := getOrder(t, i.client())
	require.Equal(t, codes.DeadlineExceeded, status.Code(err))
	reason, _ := apierror.ReasonOf(err)
	require.Equal(t, apierror.ReasonDeadline, reason, "the server said so, not the client")
}

// TestAResetReachesTheClientOverBothWires, the HTTP one through the gateway.
func TestAResetReachesTheClientOverBothWires(t *testing.T) {
	s := &shop{}
	i := start(t, definition(s))
	for when, calls := range map[string]int64{"before": 0, "after": 2} {
		s.calls.Store(0)
		i.always("*", `"fault": "reset", "when": "`+when+`"`)
		err := getOrder(t, i.client())
		require.Equal(t, codes.Unavailable, status.Code(err))
		require.ErrorContains(t, err, syscall.ECONNRESET.Error())

		request, err := http.NewRequest(http.MethodGet, "http://"+i.HTTP+"/v1/orders/"+orderFine, http.NoBody)
		require.NoError(t, err)
		request.Header.Set("Authorization", "Bearer "+auth.DevelopmentKey)
		_, err = lonely.Do(request)
		require.ErrorIs(t, err, syscall.ECONNRESET)
		require.Equal(t, calls, s.calls.Load(), when)
	}
	i.faults(http.MethodDelete, "")
	require.Equal(t, http.StatusOK, i.send(http.MethodGet, "/v1/orders/"+orderFine, "").StatusCode)
}

// TestARouteHasTheFaultsOfItsMethod, which its clients see as they see real ones.
func TestARouteHasTheFaultsOfItsMethod(t *testing.T) {
	s := &teller{}
	i := start(t, tellers(s))
	i.always(ordersv1.OrdersService_WatchOrder_FullMethodName, `"fault": "error"`)
	answer := i.tell("{}")
	require.Equal(t, http.StatusServiceUnavailable, answer.StatusCode)
	require.Contains(t, answer.body, "no: DEPENDENCY_UNAVAILABLE")
	require.Zero(t, s.handled.Load())

	i.always(ordersv1.OrdersService_WatchOrder_FullMethodName, `"fault": "reset"`)
	_, err := lonely.Do(i.telling(t.Context(), strings.NewReader("{}")))
	require.ErrorIs(t, err, syscall.ECONNRESET)

	i.always(ordersv1.OrdersService_WatchOrder_FullMethodName, `"fault": "cut", "messages": 2`)
	_, got := i.listen(tellPieces)
	require.Equal(t, "piece 0", got.line())
	require.Equal(t, "piece 1", got.line())
	require.False(t, got.Scan())
	require.ErrorIs(t, got.Err(), io.ErrUnexpectedEOF, "it does not look whole")

	i.always(ordersv1.OrdersService_GetOrder_FullMethodName, `"fault": "latency", "latency": "1m"`)
	answer = i.send(http.MethodGet, tellPath+"/x", "")
	require.Equal(t, http.StatusGatewayTimeout, answer.StatusCode, answer.body)
}

// TestNobodyCanHaveAnothersConnectionReset: the name of a connection is the
// gateway's to tell.
func TestNobodyCanHaveAnothersConnectionReset(t *testing.T) {
	i := start(t, definition(&shop{}))
	victim := newIdleConnection(t, i)
	i.always("*", `"fault": "reset"`)
	for _, header := range []string{"holdfast-fault-connection", "Grpc-Metadata-Holdfast-Fault-Connection"} {
		request, err := http.NewRequest(http.MethodGet, "http://"+i.HTTP+"/v1/orders/"+orderFine, http.NoBody)
		require.NoError(t, err)
		request.Header.Set(header, victim.name)
		_, err = lonely.Do(request)
		require.ErrorIs(t, err, syscall.ECONNRESET)
	}
	ctx := metadata.AppendToOutgoingContext(t.Context(), "holdfast-fault-connection", victim.name)
	_, err := i.client().GetOrder(ctx, &ordersv1.GetOrderRequest{Id: orderFine})
	require.ErrorContains(t, err, syscall.ECONNRESET.Error())
	victim.requireAlive(t)
}

// TestHealthReflectionAndTheOperatorsPortsHaveNoFaults, whatever the rules say:
// the experiment would end in a restart, or could not be ended.
func TestHealthReflectionAndTheOperatorsPortsHaveNoFaults(t *testing.T) {
	i := start(t, definition(&shop{}))
	for _, fault := range []string{`"fault": "error"`, `"fault": "reset"`, `"fault": "latency", "latency": "1m"`} {
		i.always("*", fault)
		conn := i.dial()
		began := time.Now()
		answer, err := healthpb.NewHealthClient(conn).Check(t.Context(), &healthpb.HealthCheckRequest{})
		require.NoError(t, err)
		require.Equal(t, healthpb.HealthCheckResponse_SERVING, answer.GetStatus())
		require.NotEmpty(t, reflected(t, conn))
		for _, path := range []string{"/livez", "/readyz", "/startupz", "/statusz", "/metrics"} {
			require.Equal(t, http.StatusOK, get(t, i.Probe, path).StatusCode, path)
		}
		require.Equal(t, http.StatusOK, get(t, i.Admin, "/drain").StatusCode)
		require.Equal(t, http.StatusOK, get(t, i.Admin, "/faults").StatusCode)
		require.Less(t, time.Since(began), 30*time.Second)
	}
	i.always("*", `"fault": "error"`)
	require.Error(t, getOrder(t, i.client()), "everything else has them")
	a := i.faults(http.MethodPut, `{"rules": [{"method": "/grpc.health.v1.Health/*", "percent": 100, "fault": "error"}]}`)
	require.Equal(t, http.StatusBadRequest, a.StatusCode, a.body)
}

func TestWhatIsInjectedIsShownCountedAndLogged(t *testing.T) {
	i := start(t, definition(&shop{}))
	require.Contains(t, compact(t, get(t, i.Probe, "/statusz").body), `"faults":{"rules":[]}`)
	i.always("/holdfast.orders.v1.OrdersService/*", `"fault": "error"`)
	require.Error(t, getOrder(t, i.client()))
	require.Error(t, i.dial().Invoke(t.Context(), "/holdfast.orders.v1.OrdersService/Steal", []byte(nil), new([]byte), rawCodec))

	require.Contains(t, compact(t, get(t, i.Probe, "/statusz").body),
		`{"method":"/holdfast.orders.v1.OrdersService/*","percent":100,"fault":"error","when":"before","code":"UNAVAILABLE","calls":1,"applied":1}`)
	var series []string
	for line := range strings.Lines(get(t, i.Probe, "/metrics").body) {
		if strings.HasPrefix(line, "holdfast_faults_injected_total") {
			series = append(series, line)
		}
	}
	require.Len(t, series, 1, "none for a method that does not exist")
	require.Contains(t, series[0], `fault="error"`)
	require.Contains(t, series[0], `method="`+ordersv1.OrdersService_GetOrder_FullMethodName+`"`)
	require.Equal(t, 1, i.logs.Count("fault injection is on"))
	require.Equal(t, http.StatusOK, i.faults(http.MethodDelete, "").StatusCode)
	require.NoError(t, getOrder(t, i.client()))
	require.Equal(t, 1, i.logs.Count("fault injection is off"))
}

// TestFaultsAreForDevelopmentAndForNoWebPage, even where the code is built in.
func TestFaultsAreForDevelopmentAndForNoWebPage(t *testing.T) {
	i := start(t, definition(&shop{}))
	a := i.faults(http.MethodPut, `{}`, "Origin", "http://evil.example")
	require.Equal(t, http.StatusForbidden, a.StatusCode)

	i = start(t, definition(&shop{}), "HOLDFAST_ENV", "production", "HOLDFAST_API_KEYS_FILE", keyFile(t))
	for _, method := range []string{http.MethodGet, http.MethodPut, http.MethodDelete} {
		a := i.faults(method, "")
		require.Equal(t, http.StatusNotFound, a.StatusCode)
		require.Contains(t, a.body, "HOLDFAST_ENV=development")
	}
	require.NotContains(t, get(t, i.Probe, "/statusz").body, `"faults"`)
}

// compact is JSON without its white space.
func compact(t *testing.T, text string) string {
	t.Helper()
	var tight bytes.Buffer
	require.NoError(t, json.Compact(&tight, []byte(text)))
	return tight.String()
}

// idleConnection is an HTTP connection that somebody else keeps.
type idleConnection struct {
	client *http.Client
	url    string
	name   string // as the service notes it
	dialed int
}

func newIdleConnection(t *testing.T, i *instance) *idleConnection {
	t.Helper()
	c := &idleConnection{url: "http://" + i.HTTP + "/docs"}
	transport := &http.Transport{DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
		c.dialed++
		conn, err := new(net.Dialer).DialContext(ctx, network, address)
		if err == nil {
			c.name = conn.LocalAddr().String() + " " + conn.RemoteAddr().String()
		}
		return conn, err
	}}
	t.Cleanup(transport.CloseIdleConnections)
	c.client = &http.Client{Transport: transport}
	c.requireAlive(t)
	return c
}

// requireAlive uses the connection, which must be the first one still.
func (c *idleConnection) requireAlive(t *testing.T) {
	t.Helper()
	response, err := c.client.Get(c.url)
	require.NoError(t, err)
	defer response.Body.Close()
	_, err = io.Copy(io.Discard, response.Body)
	require.NoError(t, err)
	require.Equal(t, 1, c.dialed)
}
