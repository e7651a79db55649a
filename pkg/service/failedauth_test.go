package service

import (
	"context"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/fx"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/holdfast-dev/holdfast/pkg/apierror"
	"github.com/holdfast-dev/holdfast/pkg/auth"
	ordersv1 "github.com/holdfast-dev/holdfast/proto/holdfast/orders/v1"
)

const wrongKey = "Bearer hf_nobody_nothing"

// guess calls with a wrong key, over gRPC.
func guess(t *testing.T, conn *grpc.ClientConn, more ...string) error {
	t.Helper()
	ctx := metadata.AppendToOutgoingContext(t.Context(), append([]string{"authorization", wrongKey}, more...)...)
	return getOrderIn(ctx, conn)
}

func getOrderIn(ctx context.Context, conn *grpc.ClientConn) error {
	_, err := ordersv1.NewOrdersServiceClient(conn).GetOrder(ctx, &ordersv1.GetOrderRequest{Id: orderFine})
	return err
}

func requireUnauthenticated(t *testing.T, err error) {
	t.Helper()
	require.Equal(t, codes.Unauthenticated, status.Code(err), err)
}

func TestAnAddressThatFailsTooOftenIsNotLookedAt(t *testing.T) {
	t.Run("unary", func(t *testing.T) {
		i := start(t, definition(&shop{}), limited("FAILED_AUTH")...)
		conn := i.anonymous()
		requireUnauthenticated(t, guess(t, conn))
		requireUnauthenticated(t, getOrderIn(t.Context(), conn)) // none at all is a failure, too
		requireLimited(t, guess(t, conn), "failed-auth")
		requireLimited(t, getOrder(t, i.client()), "failed-auth") // a good one is not even seen
		requireLimitedHTTP(t, i.send(http.MethodGet, finePath, ""), "failed-auth")
	})
	t.Run("streams", func(t *testing.T) {
		i := start(t, definition(&shop{}, withWatch(t)), limited("FAILED_AUTH")...)
		for range 2 {
			_, err := watch(t, i.anonymous())
			requireUnauthenticated(t, err)
		}
		_, err := watch(t, i.dial())
		requireLimited(t, err, "failed-auth")
	})
	t.Run("HTTP", func(t *testing.T) {
		i := start(t, definition(&shop{}), limited("FAILED_AUTH")...)
		for range 2 {
			require.Equal(t, http.StatusUnauthorized, i.send(http.MethodGet, finePath, "", "Authorization", wrongKey).StatusCode)
		}
		requireLimitedHTTP(t, i.send(http.MethodGet, finePath, "", "Authorization", wrongKey), "failed-auth")
		requireLimitedHTTP(t, i.send(http.MethodGet, finePath, ""), "failed-auth")
		requireLimited(t, getOrder(t, i.client()), "failed-auth")
	})
	t.Run("what the edge alone sees of a credential", func(t *testing.T) {
		i := start(t, definition(&shop{}), limited("FAILED_AUTH")...)
		for range 2 {
			require.Equal(t, http.StatusUnauthorized, i.send(http.MethodGet, finePath, "", "Authorization", "Bearer \u00e9").StatusCode)
		}
		requireLimitedHTTP(t, i.send(http.MethodGet, finePath, "", "Authorization", "Bearer \u00e9"), "failed-auth")
		requireLimitedHTTP(t, i.send(http.MethodGet, finePath, ""), "failed-auth")
	})
}

func TestGoodCredentialsNeverDrainTheLimit(t *testing.T) {
	i := start(t, definition(&shop{}, withWatch(t)), limited("FAILED_AUTH")...)
	for range 5 {
		require.NoError(t, getOrder(t, i.client()))
		require.Equal(t, http.StatusOK, i.send(http.MethodGet, finePath, "").StatusCode)
		_, err := watch(t, i.dial())
		require.NoError(t, err)
		// Good credentials that do not allow what is asked for are good ones.
		_, err = i.client().GetOrder(auth.ActAs(t.Context(), "globex"), &ordersv1.GetOrderRequest{Id: orderFine})
		require.Equal(t, codes.PermissionDenied, status.Code(err))
	}
	require.Zero(t, reportOf(t, i).Limits[1].Keys)
}

// refusing is a shop whose own credentials are refused further down.
type refusing struct {
	ordersv1.UnimplementedOrdersServiceServer
}

func (refusing) GetOrder(context.Context, *ordersv1.GetOrderRequest) (*ordersv1.GetOrderResponse, error) {
	return nil, apierror.New(apierror.ReasonCredentialsInvalid, "the API key is not valid")
}

// TestWhatAHandlerAnswersIsNotTheClientsFailure: a service with a wrong key of
// its own must not shut out its clients.
func TestWhatAHandlerAnswersIsNotTheClientsFailure(t *testing.T) {
	i := start(t, Definition{Name: "shop", Module: fx.Module("shop", fx.Provide(newUnusedStore), ProvideAPI(func() API {
		return API{
			Register: func(r grpc.ServiceRegistrar) { ordersv1.RegisterOrdersServiceServer(r, refusing{}) },
			Gateway:  ordersv1.RegisterOrdersServiceHandler,
		}
	}))}, limited("FAILED_AUTH")...)
	for range 5 {
		requireUnauthenticated(t, getOrder(t, i.client()))
		require.Equal(t, http.StatusUnauthorized, i.send(http.MethodGet, finePath, "").StatusCode)
	}
}

// TestFailuresOverHTTPCountForTheClientAndNotForTheGateway: behind a trusted
// proxy, one client's failures shut out that client only.
func TestFailuresOverHTTPCountForTheClientAndNotForTheGateway(t *testing.T) {
	i := start(t, definition(&shop{}), append(limited("FAILED_AUTH"), "HOLDFAST_RATE_TRUSTED_PROXIES", "127.0.0.0/8")...)
	for range 2 {
		require.Equal(t, http.StatusUnauthorized, i.send(http.MethodGet, finePath, "", "Authorization", wrongKey, "X-Forwarded-For", "2001:db8::1").StatusCode)
	}
	requireLimitedHTTP(t, i.send(http.MethodGet, finePath, "", "X-Forwarded-For", "2001:db8::2"), "failed-auth")
	require.Equal(t, http.StatusOK, i.send(http.MethodGet, finePath, "", "X-Forwarded-For", "2001:db8:0:1::1").StatusCode)
	require.NoError(t, getOrder(t, i.client()))
}

// TestAClientCannotClaimAnotherAddress tries every name under which the address
// of an HTTP client might come in from outside.
func TestAClientCannotClaimAnotherAddress(t *testing.T) {
	victims := []string{"203.0.113.1", "203.0.113.2", "203.0.113.3"}
	names := []string{clientMetadata, "Grpc-Metadata-" + clientMetadata, "Grpcgateway-" + clientMetadata, "X-Forwarded-For", "Forwarded", "X-Real-Ip"}

	t.Run("over HTTP", func(t *testing.T) {
		i := start(t, definition(&shop{}), limited("FAILED_AUTH")...)
		claiming := func(victim, credential string) answerOf {
			headers := []string{"Authorization", credential}
			for _, name := range names {
				headers = append(headers, name, victim)
			}
			return i.send(http.MethodGet, finePath, "", headers...)
		}
		require.Equal(t, http.StatusUnauthorized, claiming(victims[0], wrongKey).StatusCode)
		require.Equal(t, http.StatusUnauthorized, claiming(victims[1], wrongKey).StatusCode)
		requireLimitedHTTP(t, claiming(victims[2], wrongKey), "failed-auth")
		require.Equal(t, 1, reportOf(t, i).Limits[1].Keys, "nobody else's was touched")
	})
	t.Run("over gRPC", func(t *testing.T) {
		i := start(t, definition(&shop{}), limited("FAILED_AUTH")...)
		conn := i.anonymous()
		claiming := func(victim string) error { return guess(t, conn, clientMetadata, victim, "x-forwarded-for", victim) }
		requireUnauthenticated(t, claiming(victims[0]))
		requireUnauthenticated(t, claiming(victims[1]))
		requireLimited(t, claiming(victims[2]), "failed-auth")
		require.Equal(t, 1, reportOf(t, i).Limits[1].Keys, "nobody else's was touched")
	})
}
