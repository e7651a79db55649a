package apierror_test

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/holdfast-dev/holdfast/pkg/apierror"
)

func TestAProblemHasTheFactsThatAStatusHas(t *testing.T) {
	w := httptest.NewRecorder()
	w.Header().Set("X-Request-Id", "r-1")
	apierror.WriteProblem(w, apierror.New(apierror.ReasonKeyInFlight, "wait",
		apierror.WithField("a.b", "is bad"),
		apierror.WithRetryAfter(1200*time.Millisecond),
		apierror.WithMetadata("k", "v"),
		apierror.WithCause(errors.New("secret"))))

	require.Equal(t, http.StatusConflict, w.Code)
	require.Equal(t, "application/problem+json", w.Header().Get("Content-Type"))
	require.Equal(t, "2", w.Header().Get("Retry-After"), "whole seconds, rounded up")
	require.JSONEq(t, `{
		"type": "https://holdfast.dev/problems/key-in-flight",
		"title": "key in flight",
		"status": 409,
		"detail": "wait",
		"instance": "r-1",
		"reason": "KEY_IN_FLIGHT",
		"retry": "same_key",
		"retry_after_ms": 1200,
		"errors": [{"field": "a.b", "detail": "is bad"}],
		"metadata": {"k": "v"}
	}`, w.Body.String())
}

func TestProblemsByReason(t *testing.T) {
	for reason, want := range map[apierror.Reason]int{
		apierror.ReasonInvalidField:          400,
		apierror.ReasonCredentialsMissing:    401,
		apierror.ReasonCredentialsInvalid:    401,
		apierror.ReasonPermissionDenied:      403,
		apierror.ReasonNotFound:              404,
		apierror.ReasonMethodNotAllowed:      405,
		apierror.ReasonWrongState:            409,
		apierror.ReasonKeyExpired:            410,
		apierror.ReasonEtagMismatch:          412,
		apierror.ReasonMessageTooLarge:       413,
		apierror.ReasonUnsupportedMediaType:  415,
		apierror.ReasonKeyReused:             422,
		apierror.ReasonBudgetSpent:           429,
		apierror.ReasonCancelled:             499,
		apierror.ReasonInternal:              500,
		apierror.ReasonDependencyUnavailable: 503,
		apierror.ReasonDeadline:              504,
	} {
		w := httptest.NewRecorder()
		apierror.WriteProblem(w, apierror.New(reason, "x"))
		require.Equal(t, want, w.Code, reason)
		require.Equal(t, want == http.StatusServiceUnavailable, w.Header().Get("Retry-After") != "", reason)
		require.Equal(t, want == http.StatusUnauthorized, w.Header().Get("WWW-Authenticate") != "", reason)
	}
}

func TestAProblemOfABugLeaksNothing(t *testing.T) {
	w := httptest.NewRecorder()
	w.Header().Set("Content-Length", "3") // of the answer that was to come
	apierror.WriteProblem(w, errors.New("SELECT secret"))
	require.NotContains(t, w.Body.String(), "secret")
	require.Empty(t, w.Header().Get("Content-Length"))
	var p apierror.Problem
	require.NoError(t, json.Unmarshal(w.Body.Bytes(), &p))
	require.NotEmpty(t, p.Metadata["error_id"])
}
