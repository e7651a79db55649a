package auth

import (
	"context"
	"errors"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	"github.com/holdfast-dev/holdfast/pkg/apierror"
	"github.com/holdfast-dev/holdfast/pkg/config"
	"github.com/holdfast-dev/holdfast/pkg/policy"
	ordersv1 "github.com/holdfast-dev/holdfast/proto/holdfast/orders/v1"
	paymentsv1 "github.com/holdfast-dev/holdfast/proto/holdfast/payments/v1"
)

const (
	getOrder  = ordersv1.OrdersService_GetOrder_FullMethodName    // orders.read
	create    = ordersv1.OrdersService_CreateOrder_FullMethodName // orders.write
	noPolicy  = "/test.v1.Service/Method"
	checkPath = "/grpc.health.v1.Health/Check"
)

func policies(t *testing.T) *policy.Set {
	t.Helper()
	set, err := policy.Load(
		ordersv1.File_holdfast_orders_v1_orders_proto.Services().Get(0),
		paymentsv1.File_holdfast_payments_v1_payments_proto.Services().Get(0))
	require.NoError(t, err)
	return set
}

// principals verifies tokens by table.
type principals map[string]Principal

func (v principals) Verify(_ context.Context, token string) (Principal, error) {
	if p, ok := v[token]; ok {
		return p, nil
	}
	return Principal{}, errInvalid
}

var callers = principals{
	"reader":  {Tenant: "acme", Scopes: []string{"orders.read"}},
	"service": {Service: true, Scopes: []string{"orders.read", ScopeActAs}},
	// Neither of these two may act for a tenant: each lacks one half.
	"servant":  {Service: true, Scopes: []string{"orders.read"}},
	"impostor": {Tenant: "acme", Scopes: []string{"orders.read", ScopeActAs}},
}

// doors are the two interceptors, made to answer alike: the principal that the
// handler saw, or the refusal.
var doors = map[string]func(t *testing.T, v Verifier, method string, md metadata.MD) (context.Context, error){
	"unary": func(t *testing.T, v Verifier, method string, md metadata.MD) (seen context.Context, _ error) {
		_, err := UnaryServerInterceptor(v, policies(t))(metadata.NewIncomingContext(t.Context(), md), nil,
			&grpc.UnaryServerInfo{FullMethod: method},
			func(ctx context.Context, _ any) (any, error) { seen = ctx; return nil, nil }) //nolint:fatcontext // what the handler sees is what is looked at
		return seen, err
	},
	"stream": func(t *testing.T, v Verifier, method string, md metadata.MD) (seen context.Context, _ error) {
		err := StreamServerInterceptor(v, policies(t))(nil, &admitted{ctx: metadata.NewIncomingContext(t.Context(), md)},
			&grpc.StreamServerInfo{FullMethod: method},
			func(_ any, s grpc.ServerStream) error { seen = s.Context(); return nil }) //nolint:fatcontext // what the handler sees is what is looked at
		return seen, err
	},
}

func TestNobodyIsLetInByOmission(t *testing.T) {
	for name, row := range map[string]struct {
		method string
		md     metadata.MD
		reason apierror.Reason
		tenant string
	}{
		"no credential":            {getOrder, nil, apierror.ReasonCredentialsMissing, ""},
		"empty credential":         {getOrder, metadata.Pairs("authorization", ""), apierror.ReasonCredentialsMissing, ""},
		"another scheme":           {getOrder, metadata.Pairs("authorization", "Basic reader"), apierror.ReasonCredentialsMissing, ""},
		"no token":                 {getOrder, metadata.Pairs("authorization", "Bearer "), apierror.ReasonCredentialsMissing, ""},
		"token without scheme":     {getOrder, metadata.Pairs("authorization", "reader"), apierror.ReasonCredentialsMissing, ""},
		"two credentials":          {getOrder, metadata.Pairs("authorization", "Bearer reader", "authorization", "Bearer service"), apierror.ReasonCredentialsMissing, ""},
		"unknown token":            {getOrder, metadata.Pairs("authorization", "Bearer nobody"), apierror.ReasonCredentialsInvalid, ""},
		"without the scope":        {create, metadata.Pairs("authorization", "Bearer reader"), apierror.ReasonPermissionDenied, ""},
		"method without a policy":  {noPolicy, metadata.Pairs("authorization", "Bearer reader"), apierror.ReasonPermissionDenied, ""},
		"method that looks exempt": {"/grpc.health.v1.HealthX/Check", nil, apierror.ReasonPermissionDenied, ""},
		"with the scope":           {getOrder, metadata.Pairs("authorization", "Bearer reader"), "", "acme"},
		"scheme in lower case":     {getOrder, metadata.Pairs("authorization", "bearer reader"), "", "acme"},
		"health asks for nothing":  {checkPath, nil, "", ""},

		"service for a tenant":           {getOrder, metadata.Pairs("authorization", "Bearer service", MetadataActAs, "globex"), "", "globex"},
		"service for nobody":             {getOrder, metadata.Pairs("authorization", "Bearer service"), apierror.ReasonPermissionDenied, ""},
		"service for an empty name":      {getOrder, metadata.Pairs("authorization", "Bearer service", MetadataActAs, ""), apierror.ReasonPermissionDenied, ""},
		"service for an odd name":        {getOrder, metadata.Pairs("authorization", "Bearer service", MetadataActAs, "a/../b"), apierror.ReasonPermissionDenied, ""},
		"service for two tenants":        {getOrder, metadata.Pairs("authorization", "Bearer service", MetadataActAs, "acme", MetadataActAs, "globex"), apierror.ReasonPermissionDenied, ""},
		"service without the method":     {create, metadata.Pairs("authorization", "Bearer service", MetadataActAs, "globex"), apierror.ReasonPermissionDenied, ""},
		"service without the scope":      {getOrder, metadata.Pairs("authorization", "Bearer servant", MetadataActAs, "globex"), apierror.ReasonPermissionDenied, ""},
		"tenant for another":             {getOrder, metadata.Pairs("authorization", "Bearer reader", MetadataActAs, "globex"), apierror.ReasonPermissionDenied, ""},
		"tenant with the scope":          {getOrder, metadata.Pairs("authorization", "Bearer impostor", MetadataActAs, "globex"), apierror.ReasonPermissionDenied, ""},
		"tenant with the scope, as self": {getOrder, metadata.Pairs("authorization", "Bearer impostor"), "", "acme"},
	} {
		for door, enter := range doors {
			t.Run(name+"/"+door, func(t *testing.T) {
				seen, err := enter(t, callers, row.method, row.md)
				if row.reason != "" {
					reason, _ := apierror.ReasonOf(err)
					require.Equal(t, row.reason, reason)
					require.Nil(t, seen, "the handler ran")
					return
				}
				require.NoError(t, err)
				require.Equal(t, row.tenant, Tenant(seen))
			})
		}
	}
}

func TestAVerifierThatFailsLetsNobodyIn(t *testing.T) {
	for door, enter := range doors {
		seen, err := enter(t, failing{}, getOrder, metadata.Pairs("authorization", "Bearer reader"))
		require.ErrorContains(t, err, "no connection", door)
		require.Nil(t, seen, door)
	}
}

type failing struct{}

func (failing) Verify(context.Context, string) (Principal, error) {
	return callers["reader"], errors.New("no connection")
}

func TestWithoutAPrincipalThereIsNoTenant(t *testing.T) {
	require.Empty(t, Tenant(t.Context()))
	_, ok := FromContext(t.Context())
	require.False(t, ok)
}

// A service shows its credential and says for whom it calls; what it sends is
// what a server honours.
func TestWhatAServiceSendsIsWhatAServerHonours(t *testing.T) {
	credentials := PerRPC(DevelopmentServiceKey)
	require.False(t, credentials.RequireTransportSecurity())
	sent, err := credentials.GetRequestMetadata(t.Context())
	require.NoError(t, err)
	outgoing, ok := metadata.FromOutgoingContext(ActAs(t.Context(), "globex"))
	require.True(t, ok)
	keys, err := NewKeySet(Config{}, config.Development, quiet)
	require.NoError(t, err)

	seen, err := doors["unary"](t, keys, create, metadata.Join(metadata.New(sent), outgoing))
	require.NoError(t, err)
	require.Equal(t, "globex", Tenant(seen))
}

// A scope that no development key holds would make its method unusable there.
func TestDevelopmentKeysHoldEveryScope(t *testing.T) {
	keys, err := NewKeySet(Config{}, config.Development, quiet)
	require.NoError(t, err)
	methods := policies(t).All()
	require.NotEmpty(t, methods)
	for _, token := range []string{DevelopmentKey, DevelopmentKeyOther, DevelopmentServiceKey} {
		p, err := keys.Verify(t.Context(), token)
		require.NoError(t, err)
		for _, m := range methods {
			require.True(t, p.Has(m.Scope), "%s: %s", p.KeyID, m.Scope)
		}
	}
}
