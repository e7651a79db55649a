package apierror_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/holdfast-dev/holdfast/pkg/apierror"
)

func TestAStatusCarriesEveryFactOfAnError(t *testing.T) {
	err := apierror.New(apierror.ReasonRateLimited, "slow down",
		apierror.WithField("lines[0].quantity", "must be positive"),
		apierror.WithField("payment_method", "is unknown"),
		apierror.WithRetryAfter(1500*time.Millisecond),
		apierror.WithMetadata("limit", "10"),
		apierror.WithCause(errors.New("secret")))

	st := err.GRPCStatus()
	require.Equal(t, codes.ResourceExhausted, st.Code())
	require.Equal(t, "slow down", st.Message())
	require.NotContains(t, st.Proto().String(), "secret", "a cause is never sent")
	require.Len(t, st.Details(), 3)
	info, ok := st.Details()[0].(*errdetails.ErrorInfo)
	require.True(t, ok)
	require.Equal(t, "RATE_LIMITED", info.GetReason())
	require.Equal(t, "holdfast.dev", info.GetDomain())
	require.Equal(t, map[string]string{"retry": "same_key", "limit": "10"}, info.GetMetadata())
	bad, ok := st.Details()[1].(*errdetails.BadRequest)
	require.True(t, ok)
	require.Len(t, bad.GetFieldViolations(), 2)
	require.Equal(t, "payment_method", bad.GetFieldViolations()[1].GetField())
	wait, ok := st.Details()[2].(*errdetails.RetryInfo)
	require.True(t, ok)
	require.Equal(t, 1500*time.Millisecond, wait.GetRetryDelay().AsDuration())
}

func TestAnErrorIsTheSameAfterTheWire(t *testing.T) {
	sent := apierror.New(apierror.ReasonKeyExpired, "too old",
		apierror.WithField("key", "too old"),
		apierror.WithRetryAfter(time.Minute),
		apierror.WithMetadata("server_time", "2026-01-02T03:04:05Z"))
	got := apierror.From(fmt.Errorf("call: %w", status.FromProto(sent.GRPCStatus().Proto()).Err()))

	require.Equal(t, apierror.ReasonKeyExpired, got.Reason())
	require.Equal(t, "too old", got.Message())
	require.Equal(t, sent.Violations(), got.Violations())
	require.Equal(t, time.Minute, got.RetryAfter())
	require.Equal(t, "2026-01-02T03:04:05Z", got.Metadata("server_time"))
	require.Equal(t, sent.GRPCStatus().Proto().String(), got.GRPCStatus().Proto().String())
}

func TestTheCauseIsForErrorsIs(t *testing.T) {
	cause := errors.New("disk full")
	err := apierror.New(apierror.ReasonDependencyUnavailable, "try later", apierror.WithCause(cause))
	require.ErrorIs(t, err, cause)
	require.Contains(t, err.Error(), "disk full")
	require.Contains(t, err.Error(), "DEPENDENCY_UNAVAILABLE")
}

func TestWhatPassesWithTimeSaysWhenToComeBack(t *testing.T) {
	for _, reason := range []apierror.Reason{
		apierror.ReasonKeyInFlight, apierror.ReasonOperationOpen, apierror.ReasonRateLimited, apierror.ReasonOverloaded, apierror.ReasonBreakerOpen,
		apierror.ReasonDraining, apierror.ReasonDependencyUnavailable, apierror.ReasonOutcomeUnknown,
	} {
		require.Equal(t, time.Second, apierror.New(reason, "").RetryAfter(), reason)
		require.Equal(t, time.Hour, apierror.New(reason, "", apierror.WithRetryAfter(time.Hour)).RetryAfter(), reason)
	}
	for _, reason := range []apierror.Reason{
		apierror.ReasonInvalidField, apierror.ReasonNotFound, apierror.ReasonBudgetSpent, apierror.ReasonMessageTooLarge,
		apierror.ReasonKeyExpired, apierror.ReasonInternal,
	} {
		require.Zero(t, apierror.New(reason, "").RetryAfter(), reason)
	}
}

func TestAReasonThatIsNotInTheTableIsABug(t *testing.T) {
	require.Equal(t, apierror.ReasonInternal, apierror.New("NO_SUCH_REASON", "").Reason())
}

func TestReasonOf(t *testing.T) {
	typed := apierror.New(apierror.ReasonNotFound, "")
	foreign, err := status.New(codes.NotFound, "").WithDetails(&errdetails.ErrorInfo{Domain: "example.com", Reason: "NOT_FOUND"})
	require.NoError(t, err)
	for name, row := range map[string]struct {
		err    error
		reason apierror.Reason
	}{
		"typed":            {typed, apierror.ReasonNotFound},
		"wrapped":          {fmt.Errorf("get: %w", typed), apierror.ReasonNotFound},
		"from the wire":    {typed.GRPCStatus().Err(), apierror.ReasonNotFound},
		"bare status":      {status.Error(codes.NotFound, ""), ""},
		"another's domain": {foreign.Err(), ""},
		"plain":            {errors.New("x"), ""},
		"nil":              {nil, ""},
	} {
		reason, ok := apierror.ReasonOf(row.err)
		require.Equal(t, row.reason, reason, name)
		require.Equal(t, row.reason != "", ok, name)
	}
}
