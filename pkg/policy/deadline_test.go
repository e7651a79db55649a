package policy_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"

	"github.com/holdfast-dev/holdfast/pkg/policy"
	paymentsv1 "github.com/holdfast-dev/holdfast/proto/holdfast/payments/v1"
)

const (
	chargePayment = paymentsv1.PaymentsService_ChargePayment_FullMethodName // 4 s
	unknown       = "/no.such.Service/Method"
)

func payments(t *testing.T) *policy.Set {
	t.Helper()
	set, err := policy.Load(paymentsv1.File_holdfast_payments_v1_payments_proto.Services().Get(0))
	require.NoError(t, err)
	return set
}

// served calls a method and returns the context that its handler saw.
func served(ctx context.Context, t *testing.T, method string) (seen context.Context) {
	t.Helper()
	_, err := payments(t).UnaryServerInterceptor()(ctx, nil, &grpc.UnaryServerInfo{FullMethod: method},
		func(ctx context.Context, _ any) (any, error) { seen = ctx; return nil, nil }) //nolint:fatcontext // what the handler sees is what is looked at
	require.NoError(t, err)
	return seen
}

func TestTheDeadlineIsTheSoonerOfTheClientsAndThePolicys(t *testing.T) {
	for name, row := range map[string]struct{ asked, want time.Duration }{
		"none":   {0, 4 * time.Second},
		"later":  {time.Hour, 4 * time.Second},
		"sooner": {time.Second, time.Second},
	} {
		ctx := t.Context()
		if row.asked > 0 {
			bounded, cancel := context.WithTimeout(ctx, row.asked)
			defer cancel()
			ctx = bounded
		}
		deadline, ok := served(ctx, t, chargePayment).Deadline()
		require.True(t, ok, name)
		require.InDelta(t, row.want.Seconds(), time.Until(deadline).Seconds(), 0.5, name)
	}
	_, ok := served(t.Context(), t, unknown).Deadline()
	require.False(t, ok, "a method without a policy is left alone")
}

func TestTheTimeEndsWithTheCall(t *testing.T) {
	require.ErrorIs(t, served(t.Context(), t, chargePayment).Err(), context.Canceled)
}

func TestHandlersSeeTheirPolicy(t *testing.T) {
	m, ok := policy.FromContext(served(t.Context(), t, chargePayment))
	require.True(t, ok)
	require.Equal(t, chargePayment, m.FullName)
	_, ok = policy.FromContext(served(t.Context(), t, unknown))
	require.False(t, ok)
	m, ok = policy.FromContext(policy.NewContext(t.Context(), policy.Method{Scope: "x"}))
	require.True(t, ok)
	require.Equal(t, "x", m.Scope)
}

type stream struct {
	grpc.ServerStream
	ctx context.Context // grpc.ServerStream hands its context out by method
}

func (s stream) Context() context.Context { return s.ctx }

func TestStreamsSeeTheirPolicyAndHaveNoDeadlineOfOurs(t *testing.T) {
	var seen context.Context
	handler := func(_ any, s grpc.ServerStream) error { seen = s.Context(); return nil } //nolint:fatcontext // what the handler sees is what is looked at
	intercept := payments(t).StreamServerInterceptor()
	require.NoError(t, intercept(nil, stream{ctx: t.Context()}, &grpc.StreamServerInfo{FullMethod: chargePayment}, handler))
	m, ok := policy.FromContext(seen)
	require.True(t, ok)
	require.Equal(t, chargePayment, m.FullName)
	_, ok = seen.Deadline()
	require.False(t, ok)
	require.NoError(t, intercept(nil, stream{ctx: t.Context()}, &grpc.StreamServerInfo{FullMethod: unknown}, handler))
	_, ok = policy.FromContext(seen)
	require.False(t, ok)
}
