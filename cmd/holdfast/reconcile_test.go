package main

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestReconcileOnAHealthyPlatformPrintsItsReport(t *testing.T) {
	r := startUp(t, "--ephemeral")
	front := strings.TrimPrefix(r.url, "http://")
	code, out, problems := holdfast(t, "reconcile", "--http", front)
	require.Zero(t, code, problems)
	require.Contains(t, out, "0 need a person")
	code, _, problems = holdfast(t, "reconcile", "--http", front, "--key", "hf_devacme_holdfast-development-key")
	require.Equal(t, 1, code)
	require.Contains(t, problems, "PERMISSION_DENIED")
	code, _, problems = holdfast(t, "reconcile", "acknowledge", "17", "--note", "by hand", "--http", front)
	require.Equal(t, 1, code)
	require.Equal(t, "holdfast: payments: no such finding (NOT_FOUND)\n", problems)
	require.NoError(t, r.end(t, os.Interrupt))
}

func TestAnAnswerThatIsNotOfPaymentsIsSaidToBeSo(t *testing.T) {
	server := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(server.Close)
	code, _, problems := holdfast(t, "reconcile", "--http", strings.TrimPrefix(server.URL, "http://"))
	require.Equal(t, 1, code)
	require.Equal(t, "holdfast: ask payments: it answered 404 Not Found; is it payments that is at --http?\n", problems)
}

// What payments answers is given; services/payments tests that it is right.
func TestAFindingThatNeedsAPersonIsExitCodeOne(t *testing.T) {
	report := func(state string) string {
		return `{"run":{"number":"7","completeTime":"2026-01-01T00:00:00Z"},"findings":[{"number":"3","kind":"FINDING_KIND_DUPLICATE_AT_PROCESSOR",
			"state":"` + state + `","paymentId":"p-1","operation":"charge","ours":"captured","theirs":"done",
			"theirAmount":{"currencyCode":"EUR","units":"10","nanos":50000000},"processorId":"ch_2"}]}`
	}
	state := "FINDING_STATE_OPEN"
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body := report(state)
		if r.Method == http.MethodPost {
			body = `{"run":{"number":"7"}}`
		}
		_, _ = w.Write([]byte(body))
	}))
	t.Cleanup(server.Close)
	at := strings.TrimPrefix(server.URL, "http://")

	code, out, _ := holdfast(t, "reconcile", "--http", at)
	require.Equal(t, 1, code)
	require.Regexp(t, `3\s+duplicate_at_processor\s+open\s+p-1\s+charge\s+captured\s+done 10.05 EUR\s+ch_2`, out)
	code, out, _ = holdfast(t, "reconcile", "--http", at, "--json")
	require.Equal(t, 1, code)
	require.True(t, json.Valid([]byte(out)), out)

	state = "FINDING_STATE_RESOLVED" // the control
	code, out, _ = holdfast(t, "reconcile", "--http", at)
	require.Zero(t, code, out)
	require.Contains(t, out, "0 need a person, 0 healed, 1 resolved")
}
