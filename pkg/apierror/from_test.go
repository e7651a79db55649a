package apierror_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"

	"github.com/holdfast-dev/holdfast/pkg/apierror"
)

func TestEveryErrorGetsAReason(t *testing.T) {
	for name, row := range map[string]struct {
		err    error
		reason apierror.Reason
	}{
		"typed":               {apierror.New(apierror.ReasonEtagMismatch, ""), apierror.ReasonEtagMismatch},
		"deadline":            {fmt.Errorf("query: %w", context.DeadlineExceeded), apierror.ReasonDeadline},
		"cancelled":           {fmt.Errorf("query: %w", context.Canceled), apierror.ReasonCancelled},
		"bare deadline":       {status.Error(codes.DeadlineExceeded, ""), apierror.ReasonDeadline},
		"bare cancelled":      {status.Error(codes.Canceled, ""), apierror.ReasonCancelled},
		"unknown method":      {status.Error(codes.Unimplemented, ""), apierror.ReasonUnknownMethod},
		"too large":           {status.Error(codes.ResourceExhausted, ""), apierror.ReasonMessageTooLarge},
		"does not decode":     {status.Error(codes.InvalidArgument, ""), apierror.ReasonMalformedRequest},
		"peer is gone":        {status.Error(codes.Unavailable, ""), apierror.ReasonDependencyUnavailable},
		"bare internal":       {status.Error(codes.Internal, ""), apierror.ReasonInternal},
		"bare unknown":        {status.Error(codes.Unknown, ""), apierror.ReasonInternal},
		"a code without rule": {status.Error(codes.DataLoss, ""), apierror.ReasonInternal},
		"plain":               {errors.New("x"), apierror.ReasonInternal},
	} {
		require.Equal(t, row.reason, apierror.From(row.err).Reason(), name)
	}
	require.Nil(t, apierror.From(nil))
}

func TestABugTellsItsIdAndNothingElse(t *testing.T) {
	cause := errors.New(`ERROR: relation "orders" does not exist at /srv/orders/store.go:12`)
	first, second := apierror.From(cause), apierror.From(cause)
	require.ErrorIs(t, first, cause)
	require.NotEmpty(t, first.Metadata("error_id"))
	require.NotEqual(t, first.Metadata("error_id"), second.Metadata("error_id"))
	for _, leak := range []string{"relation", "orders", "store.go"} {
		require.NotContains(t, first.GRPCStatus().Proto().String(), leak)
	}
}

func TestABugThatWasTypedByHandGetsAnIdToo(t *testing.T) {
	require.NotEmpty(t, apierror.From(apierror.New(apierror.ReasonInternal, "oops")).Metadata("error_id"))
}

// A bug of another service keeps its id, so that one id finds both logs.
func TestTheErrorIdOfAnotherServiceIsKept(t *testing.T) {
	theirs := apierror.From(errors.New("x"))
	ours := apierror.From(theirs.GRPCStatus().Err())
	require.Equal(t, theirs.Metadata("error_id"), ours.Metadata("error_id"))
}

func TestTextThatWrapsAnErrorIsNotSent(t *testing.T) {
	typed := apierror.New(apierror.ReasonNotFound, "no such order")
	for name, inner := range map[string]error{
		"typed":         typed,
		"from the wire": status.FromProto(typed.GRPCStatus().Proto()).Err(),
		"bare status":   status.Error(codes.NotFound, "no such order"),
	} {
		err := fmt.Errorf("SELECT * FROM orders: %w", inner)
		require.Equal(t, "no such order", apierror.From(err).GRPCStatus().Message(), name)
	}
}

func TestAddressesOfDependenciesAreNotSent(t *testing.T) {
	const nobody = "127.0.0.1:1"
	conn, err := grpc.NewClient(nobody, grpc.WithTransportCredentials(insecure.NewCredentials()))
	require.NoError(t, err)
	defer conn.Close()
	_, err = healthpb.NewHealthClient(conn).Check(t.Context(), &healthpb.HealthCheckRequest{})
	require.ErrorContains(t, err, nobody, "else this test proves nothing")

	got := apierror.From(err)
	require.Equal(t, apierror.ReasonDependencyUnavailable, got.Reason())
	require.NotContains(t, got.GRPCStatus().Proto().String(), "127.0.0.1")
	require.Positive(t, got.RetryAfter())
}

func TestAReasonOfANewerReleaseFallsBackToItsCode(t *testing.T) {
	st, err := status.New(codes.NotFound, "gone").WithDetails(&errdetails.ErrorInfo{Domain: apierror.Domain, Reason: "FROM_THE_FUTURE"})
	require.NoError(t, err)
	require.Equal(t, apierror.ReasonNotFound, apierror.From(st.Err()).Reason())
}
