package payments

import (
	"fmt"
	"io"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/holdfast-dev/holdfast/pkg/apierror"
	"github.com/holdfast-dev/holdfast/pkg/auth"
	paymentsv1 "github.com/holdfast-dev/holdfast/proto/holdfast/payments/v1"
)

// The service as it runs: an operator asks, a replica of it works, and the report
// tells of payments of every tenant.
func TestAnOperatorReconcilesAndReadsTheReport(t *testing.T) {
	t.Parallel()
	cfg := ReconcileConfig{Settling: 20 * time.Millisecond}
	w := startWhole(t, "HOLDFAST_RECONCILE_SETTLING", cfg.Settling.String(), "HOLDFAST_RECONCILE_LOOKBACK", "1h")
	operators := paymentsv1.NewReconciliationServiceClient(w.conn)
	operator := metadata.AppendToOutgoingContext(t.Context(), "authorization", "Bearer "+auth.DevelopmentOperatorKey)

	// The first run begins by itself, when the service starts.
	var report *paymentsv1.GetReconciliationReportResponse
	complete := func(number int64) bool {
		var err error
		report, err = operators.GetReconciliationReport(operator, &paymentsv1.GetReconciliationReportRequest{Run: number})
		return err == nil && report.GetRun().GetCompleteTime() != nil
	}
	require.Eventually(t, func() bool { return complete(0) }, 20*time.Second, 20*time.Millisecond, "no run by itself")
	require.Empty(t, report.GetFindings())

	for i := range 3 {
		w.forget(t, w.charge(t, fmt.Sprintf("order-%d", i), "pm_card_ok", 1000).GetId())
	}
	settle(cfg)
	started, err := operators.ReconcilePayments(operator, &paymentsv1.ReconcilePaymentsRequest{})
	require.NoError(t, err)
	number := started.GetRun().GetNumber()
	require.Eventually(t, func() bool { return complete(number) }, 20*time.Second, 20*time.Millisecond)
	require.Equal(t, int64(3), report.GetRun().GetRecords())
	require.Len(t, report.GetFindings(), 3)
	f := report.GetFindings()[0]
	require.Equal(t, paymentsv1.FindingKind_FINDING_KIND_MISSING_HERE, f.GetKind())
	require.Equal(t, paymentsv1.FindingState_FINDING_STATE_OPEN, f.GetState())
	require.Equal(t, int64(1000), minor(f.GetTheirAmount()))
	require.Nil(t, f.GetOurAmount())

	first, err := operators.GetReconciliationReport(operator, &paymentsv1.GetReconciliationReportRequest{Run: number, PageSize: 2})
	require.NoError(t, err)
	require.Len(t, first.GetFindings(), 2)
	second, err := operators.GetReconciliationReport(operator, &paymentsv1.GetReconciliationReportRequest{Run: number, PageSize: 2, PageToken: first.GetNextPageToken()})
	require.NoError(t, err)
	require.Len(t, second.GetFindings(), 1)
	require.Empty(t, second.GetNextPageToken())
	_, err = operators.GetReconciliationReport(operator, &paymentsv1.GetReconciliationReportRequest{PageToken: first.GetNextPageToken()})
	requireReason(t, apierror.ReasonInvalidPageToken, err)

	closed, err := operators.AcknowledgeFinding(operator, &paymentsv1.AcknowledgeFindingRequest{Number: f.GetNumber(), Note: "given back by hand"})
	require.NoError(t, err)
	require.Equal(t, paymentsv1.FindingState_FINDING_STATE_RESOLVED, closed.GetFinding().GetState())
	again, err := operators.AcknowledgeFinding(operator, &paymentsv1.AcknowledgeFindingRequest{Number: f.GetNumber(), Note: "twice"})
	require.NoError(t, err)
	require.Equal(t, "given back by hand", again.GetFinding().GetNote(), "asking again changes nothing")
}

func TestOnlyOperatorsReconcile(t *testing.T) {
	t.Parallel()
	w := startWhole(t)
	operators := paymentsv1.NewReconciliationServiceClient(w.conn)
	for _, key := range []string{auth.DevelopmentKey, auth.DevelopmentServiceKey} {
		ctx := metadata.AppendToOutgoingContext(t.Context(), "authorization", "Bearer "+key, "holdfast-tenant", "acme")
		_, err := operators.ReconcilePayments(ctx, &paymentsv1.ReconcilePaymentsRequest{})
		requireReason(t, apierror.ReasonPermissionDenied, err)
		_, err = operators.GetReconciliationReport(ctx, &paymentsv1.GetReconciliationReportRequest{})
		requireReason(t, apierror.ReasonPermissionDenied, err)
		_, err = operators.AcknowledgeFinding(ctx, &paymentsv1.AcknowledgeFindingRequest{Number: 1, Note: "x"})
		requireReason(t, apierror.ReasonPermissionDenied, err)
	}

	operator := metadata.AppendToOutgoingContext(t.Context(), "authorization", "Bearer "+auth.DevelopmentOperatorKey)
	_, err := operators.GetReconciliationReport(operator, &paymentsv1.GetReconciliationReportRequest{Run: 999})
	requireReason(t, apierror.ReasonNotFound, err)
	_, err = operators.AcknowledgeFinding(operator, &paymentsv1.AcknowledgeFindingRequest{Number: 999, Note: "x"})
	requireReason(t, apierror.ReasonNotFound, err)
	_, err = operators.AcknowledgeFinding(operator, &paymentsv1.AcknowledgeFindingRequest{Number: 1})
	requireReason(t, apierror.ReasonInvalidField, err)
	require.Eventually(t, func() bool { // when none is under way that could be joined
		_, err = operators.ReconcilePayments(operator, &paymentsv1.ReconcilePaymentsRequest{Since: timestamppb.New(time.Now().Add(time.Hour))})
		return err != nil
	}, 20*time.Second, 50*time.Millisecond)
	requireReason(t, apierror.ReasonInvalidField, err)
	_, err = paymentsv1.NewPaymentsServiceClient(w.conn).ListPayments(operator, &paymentsv1.ListPaymentsRequest{})
	requireReason(t, apierror.ReasonPermissionDenied, err)
}

func TestTheReportOverHTTP(t *testing.T) {
	t.Parallel()
	w := startWhole(t)
	require.Eventually(t, func() bool {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, w.http+"/v1/payments:reconciliation?page_size=10", http.NoBody)
		require.NoError(t, err)
		r.Header.Set("Authorization", "Bearer "+auth.DevelopmentOperatorKey)
		response, err := http.DefaultClient.Do(r)
		require.NoError(t, err)
		defer response.Body.Close()
		body, err := io.ReadAll(response.Body)
		require.NoError(t, err)
		return response.StatusCode == http.StatusOK && len(body) > 0
	}, 20*time.Second, 50*time.Millisecond)
}
