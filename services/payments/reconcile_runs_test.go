package payments

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	paymentsv1 "github.com/holdfast-dev/holdfast/proto/holdfast/payments/v1"
)

// listing is a processor whose listing is watched, and fails when told to.
type listing struct {
	Processor
	mu      sync.Mutex
	cursors []string
	largest int
	fail    func(page int) error
}

func (l *listing) Records(ctx context.Context, since, until time.Time, cursor string) ([]Record, string, error) {
	l.mu.Lock()
	l.cursors = append(l.cursors, cursor)
	page := len(l.cursors)
	l.mu.Unlock()
	if l.fail != nil {
		if err := l.fail(page); err != nil {
			return nil, "", err
		}
	}
	records, next, err := l.Processor.Records(ctx, since, until, cursor)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.largest = max(l.largest, len(records))
	return records, next, err
}

// paged makes pages of three, at the processor and here, and as many charges as
// fill several.
func (h *harness) paged(t *testing.T, charges int) *listing {
	t.Helper()
	l := &listing{Processor: h.api.operations.processor}
	l.Processor.(*SandboxProcessor).page = 3
	for i := range charges {
		h.charge(t, fmt.Sprintf("order-%d", i), "pm_card_ok", 1000)
	}
	h.api.operations.processor = l
	return l
}

func (h *harness) pagedReconciler(t *testing.T) *reconciler {
	t.Helper()
	r := h.reconciler(t, soon())
	r.page = 3
	return r
}

func TestARunHoldsOnePageAtATime(t *testing.T) {
	t.Parallel()
	h := start(t)
	l := h.paged(t, 10)
	lost := h.charge(t, "lost", "pm_card_ok", 1000)
	h.forget(t, lost.GetId())
	r := h.pagedReconciler(t)
	require.Equal(t, lost.GetId(), only(t, h.reconcileWith(t, r)).Payment, "the last page is compared as well")
	require.Len(t, l.cursors, 4)
	require.Equal(t, 3, l.largest)
	done, err := r.runs.get(t.Context(), 0)
	require.NoError(t, err)
	require.Equal(t, int64(11), done.Records)
	require.Equal(t, int64(10), done.Entries)
}

// The replica is gone with two pages compared. Nobody may go on before its lease
// is over; who then does begins with the third page.
func TestAfterACrashARunGoesOnWhereItWas(t *testing.T) {
	t.Parallel()
	h := start(t)
	l := h.paged(t, 10)
	first, second := h.pagedReconciler(t), h.pagedReconciler(t)
	settle(soon())
	_, _, err := first.begin(t.Context(), time.Time{})
	require.NoError(t, err)
	mine, err := first.runs.take(t.Context(), reconcileLease)
	require.NoError(t, err)
	for range 2 {
		require.NoError(t, first.advance(t.Context(), mine))
	}

	taken, err := second.runs.take(t.Context(), reconcileLease)
	require.NoError(t, err)
	require.Nil(t, taken, "its lease is not over")
	h.exec(t, `UPDATE reconciliation_runs SET lease_until = now()`)
	taken, err = second.runs.take(t.Context(), reconcileLease)
	require.NoError(t, err)
	require.Equal(t, int64(6), taken.Records)
	second.carryOn(t.Context(), taken)
	require.Equal(t, finished, taken.Phase)
	require.Equal(t, int64(10), taken.Records, "none was compared twice")
	require.Len(t, l.cursors, 4)

	// It was only frozen: what it still writes changes nothing.
	require.ErrorIs(t, first.advance(t.Context(), mine), errTakenOver)
	left, err := first.runs.get(t.Context(), 0)
	require.NoError(t, err)
	require.Equal(t, int64(10), left.Records)
}

// The control of the one before: without its epoch the frozen replica would
// count its page a second time.
func TestWithoutTheEpochAFrozenReplicaWouldWrite(t *testing.T) {
	t.Parallel()
	h := start(t)
	h.paged(t, 4)
	r := h.pagedReconciler(t)
	settle(soon())
	_, _, err := r.begin(t.Context(), time.Time{})
	require.NoError(t, err)
	frozen, err := r.runs.take(t.Context(), 0)
	require.NoError(t, err)
	other, err := r.runs.take(t.Context(), reconcileLease)
	require.NoError(t, err)
	require.NoError(t, r.advance(t.Context(), other))
	frozen.Epoch = other.Epoch
	require.NoError(t, r.advance(t.Context(), frozen))
	require.Equal(t, int64(6), frozen.Records, "four were compared, and two pages were counted")
}

func TestTwoReplicasMakeOneRun(t *testing.T) {
	t.Parallel()
	h := start(t)
	l := h.paged(t, 10)
	settle(soon())
	ctx, stop := context.WithCancel(t.Context())
	var working sync.WaitGroup
	var joined atomic.Int64
	for range 2 {
		r := h.pagedReconciler(t)
		working.Go(func() { _ = r.work(ctx) }) // returns nil when it is stopped
		working.Go(func() {
			if _, too, err := r.begin(ctx, time.Time{}); err == nil && too {
				joined.Add(1)
			}
		})
	}
	runs := func() int64 {
		return h.number(t, `SELECT count(*) FROM reconciliation_runs WHERE complete_time IS NOT NULL`)
	}
	require.Eventually(t, func() bool { return runs() > 0 && h.number(t, `SELECT count(*) FROM reconciliation_runs`) == runs() },
		20*time.Second, 10*time.Millisecond)
	stop()
	working.Wait()
	// Either the second asked while the first ran, and joined, or after it.
	require.Equal(t, int64(2), runs()+joined.Load())
	require.Len(t, l.cursors, 4*int(runs()), "no page was asked for by two")
}

func TestARunGoesOnWhenTheProcessorIsBack(t *testing.T) {
	t.Parallel()
	h := start(t)
	l := h.paged(t, 10)
	down := errors.New("connection refused")
	l.fail = func(page int) error {
		if page == 3 {
			return down
		}
		return nil
	}
	r := h.pagedReconciler(t)
	settle(soon())
	_, _, err := r.begin(t.Context(), time.Time{})
	require.NoError(t, err)
	taken, err := r.runs.take(t.Context(), reconcileLease)
	require.NoError(t, err)
	r.carryOn(t.Context(), taken)
	left, err := r.runs.get(t.Context(), 0)
	require.NoError(t, err)
	require.Contains(t, left.Failure, down.Error(), "the report says why it does not go on")
	require.True(t, left.CompleteTime.IsZero())

	h.exec(t, `UPDATE reconciliation_runs SET lease_until = now()`)
	taken, err = r.runs.take(t.Context(), reconcileLease)
	require.NoError(t, err)
	r.carryOn(t.Context(), taken)
	require.Equal(t, finished, taken.Phase)
	require.Equal(t, int64(10), taken.Records)
	require.Empty(t, taken.Failure)
}

// loaded reconciles over and over while payments are made, many of which get no
// answer, and returns every finding there ever was.
func loaded(t *testing.T, settling time.Duration) (findings, records int64) {
	t.Helper()
	h := start(t)
	h.sandbox.script(t, `{"seed":5,"rules":[{"kind":"drop","when":"after","rate":0.3,"sends":1},{"kind":"slow","delay":"200ms","rate":0.5}]}`)
	ctx, stop := context.WithCancel(t.Context())
	var shoppers sync.WaitGroup
	for shopper := range 4 {
		shoppers.Go(func() {
			for i := 0; ctx.Err() == nil; i++ {
				_, err := h.client.ChargePayment(keyed(t), &paymentsv1.ChargePaymentRequest{
					Reference: fmt.Sprintf("order-%d-%d", shopper, i), Amount: eur(1000), PaymentMethod: "pm_card_ok",
				})
				if err != nil {
					t.Errorf("a charge: %v", err)
					return
				}
			}
		})
	}
	cfg := soon()
	cfg.Settling = settling
	r := h.reconciler(t, cfg)
	deadline := time.Now().Add(settling + 4*time.Second)
	for time.Now().Before(deadline) {
		if _, _, err := r.begin(t.Context(), time.Time{}); err != nil {
			t.Errorf("begin: %v", err)
			break
		}
		taken, err := r.runs.take(t.Context(), reconcileLease)
		if err != nil || taken == nil {
			t.Errorf("take: %v", err)
			break
		}
		r.carryOn(t.Context(), taken)
		records = max(records, taken.Records)
	}
	stop()
	shoppers.Wait()
	return h.number(t, `SELECT count(*) FROM reconciliation_findings`), records
}

func TestWhatIsUnderWayIsNoFinding(t *testing.T) {
	t.Parallel()
	findings, records := loaded(t, 8*time.Second)
	require.Zero(t, findings)
	require.Greater(t, records, int64(10), "something had settled and was compared")
}

// The control: compared at once, what is under way looks like a difference.
func TestWithoutTheSettlingDelayThereAreFalseAlarms(t *testing.T) {
	t.Parallel()
	findings, _ := loaded(t, time.Millisecond)
	require.Positive(t, findings)
}
