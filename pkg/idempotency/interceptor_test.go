package idempotency_test

import (
	"context"
	"errors"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	"github.com/holdfast-dev/holdfast/pkg/apierror"
	"github.com/holdfast-dev/holdfast/pkg/idempotency"
	"github.com/holdfast-dev/holdfast/pkg/idempotency/idempotencytest"
	paymentsv1 "github.com/holdfast-dev/holdfast/proto/holdfast/payments/v1"
)

func TestTheStateTable(t *testing.T) {
	db := newDatabase(t)
	var obstructed error
	s := serve(t, db)
	s.charge = func(ctx context.Context, r *paymentsv1.ChargePaymentRequest) (*paymentsv1.ChargePaymentResponse, error) {
		if obstructed != nil {
			return nil, obstructed
		}
		return s.once(ctx, r)
	}
	idempotencytest.Suite(t, idempotencytest.Subject{
		Method: paymentsv1.PaymentsService_ChargePayment_FullMethodName,
		Conn:   s.conn, HTTP: s.http, Pool: db.pool,
		Tenant: tenant, Token: tenant, OtherToken: "globex",
		Request:    func(testing.TB) proto.Message { return aPayment() },
		Mutate:     func(m proto.Message) { m.(*paymentsv1.ChargePaymentRequest).Amount.Units++ },
		Invalidate: func(m proto.Message) { m.(*paymentsv1.ChargePaymentRequest).PaymentMethod = "4242424242424242" },
		Effects:    db.effects,
		Obstruct: func(testing.TB, proto.Message) func() {
			obstructed = apierror.New(apierror.ReasonWrongState, "closed")
			return func() { obstructed = nil }
		},
	})
}

func TestAStoredAnswerWinsOverARuleThatADeployHasTightened(t *testing.T) {
	db := newDatabase(t)
	old := serve(t, db)
	k, r := idempotency.NewKey().String(), aPayment()
	first, _, err := old.call(t.Context(), k, r)
	require.NoError(t, err)

	tightened := serve(t, db, func(context.Context, any, *grpc.UnaryServerInfo, grpc.UnaryHandler) (any, error) {
		return nil, apierror.New(apierror.ReasonInvalidField, "no longer allowed", apierror.WithField("reference", "too long"))
	})
	repeat, replayed, err := tightened.call(t.Context(), k, r)
	require.NoError(t, err)
	require.True(t, replayed)
	require.True(t, proto.Equal(first, repeat))

	_, _, err = tightened.call(t.Context(), idempotency.NewKey().String(), r)
	requireReason(t, err, apierror.ReasonInvalidField)
}

func TestAnAnswerOfAnUnknownOutcomeIsFoundBeforeTheErrorGoesOut(t *testing.T) {
	s := serve(t, newDatabase(t))
	s.charge = func(ctx context.Context, r *paymentsv1.ChargePaymentRequest) (*paymentsv1.ChargePaymentResponse, error) {
		call, _ := idempotency.FromContext(ctx)
		if _, err := s.db.charge(ctx, again2(call, r)); err != nil {
			return nil, err
		}
		return nil, apierror.New(apierror.ReasonOutcomeUnknown, "cut off") // after the commit
	}
	response, replayed, err := s.call(t.Context(), idempotency.NewKey().String(), aPayment())
	require.NoError(t, err)
	require.True(t, replayed)
	require.NotEmpty(t, response.GetPayment().GetId())
}

// again2 is the same request on a call of its own, so that the interceptor does
// not learn of its outcome.
func again2(c *idempotency.Call, r proto.Message) *idempotency.Call {
	return idempotency.NewCall(c.Tenant, c.Key, c.Method, r)
}

func TestAnErrorAfterTheCommitDoesNotHideTheAnswer(t *testing.T) {
	s := serve(t, newDatabase(t))
	s.charge = func(ctx context.Context, r *paymentsv1.ChargePaymentRequest) (*paymentsv1.ChargePaymentResponse, error) {
		if _, err := s.once(ctx, r); err != nil {
			return nil, err
		}
		return nil, errors.New("a bug while logging")
	}
	response, _, err := s.call(t.Context(), idempotency.NewKey().String(), aPayment())
	require.NoError(t, err)
	require.NotEmpty(t, response.GetPayment().GetId())
}

func TestAKeyedMethodThatForgetsTheStoreIsABug(t *testing.T) {
	s := serve(t, newDatabase(t))
	s.charge = func(context.Context, *paymentsv1.ChargePaymentRequest) (*paymentsv1.ChargePaymentResponse, error) {
		return &paymentsv1.ChargePaymentResponse{}, nil
	}
	_, _, err := s.call(t.Context(), idempotency.NewKey().String(), aPayment())
	requireReason(t, err, apierror.ReasonInternal)
}

func TestAPendingKeyAnswersInFlightAndNotWithADefinitiveError(t *testing.T) {
	for reason, want := range map[apierror.Reason]apierror.Reason{
		apierror.ReasonWrongState: apierror.ReasonKeyInFlight, // though the effect is open
		// What a duplicate sees that comes an instant after the first commit.
		apierror.ReasonOperationOpen: apierror.ReasonKeyInFlight,
		// It says the same, and more.
		apierror.ReasonDependencyUnavailable: apierror.ReasonDependencyUnavailable,
	} {
		t.Run(string(reason), func(t *testing.T) {
			s := serve(t, newDatabase(t))
			s.charge = func(ctx context.Context, _ *paymentsv1.ChargePaymentRequest) (*paymentsv1.ChargePaymentResponse, error) {
				call, _ := idempotency.FromContext(ctx)
				if _, _, err := s.db.begin(ctx, call); err != nil {
					return nil, err
				}
				return nil, apierror.New(reason, "no")
			}
			_, _, err := s.call(t.Context(), idempotency.NewKey().String(), aPayment())
			requireReason(t, err, want)
		})
	}
}

func TestTheStoredBytesAreSentVerbatimEvenByAReleaseThatDoesNotKnowThem(t *testing.T) {
	s := serve(t, newDatabase(t))
	k, r := idempotency.NewKey().String(), aPayment()
	_, _, err := s.call(t.Context(), k, r)
	require.NoError(t, err)
	// A newer release would have stored a field of its own, in an order of its own.
	newer := []byte{0x0a, 0x03, 0x12, 0x01, 'x', 0xfa, 0x3f, 0x01, 'y', 0x0a, 0x03, 0x0a, 0x01, 'i'}
	s.db.exec(t, "UPDATE idempotency_keys SET response = $1", newer)

	var raw []byte
	capture := captureCodec{to: &raw}
	ctx := outgoing(t.Context(), k)
	require.NoError(t, s.conn.Invoke(ctx, paymentsv1.PaymentsService_ChargePayment_FullMethodName, r, &paymentsv1.ChargePaymentResponse{}, grpc.ForceCodecV2(capture)))
	require.Equal(t, newer, raw)
}
