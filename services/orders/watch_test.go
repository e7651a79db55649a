package orders

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/holdfast-dev/holdfast/pkg/apierror"
	"github.com/holdfast-dev/holdfast/pkg/postgres/pgtest"
	ordersv1 "github.com/holdfast-dev/holdfast/proto/holdfast/orders/v1"
	paymentsv1 "github.com/holdfast-dev/holdfast/proto/holdfast/payments/v1"
)

// watching is a watch as a client has it.
type watching struct {
	grpc.ServerStreamingClient[ordersv1.WatchOrderResponse]
	leave context.CancelFunc
}

// watch opens a watch. The client leaves when the test ends, if not before.
func (h *harness) watch(t *testing.T, id, token string) *watching {
	t.Helper()
	ctx, leave := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(leave)
	stream, err := h.client.WatchOrder(ctx, &ordersv1.WatchOrderRequest{Id: id, ResumeToken: token})
	require.NoError(t, err)
	return &watching{stream, leave}
}

// next returns the next revision.
func (w *watching) next(t *testing.T) *ordersv1.WatchOrderResponse {
	t.Helper()
	got, err := w.Recv()
	require.NoError(t, err)
	return got
}

// refused returns what a watch is refused with.
func (h *harness) refused(t *testing.T, id, token string) error {
	t.Helper()
	_, err := h.watch(t, id, token).Recv()
	require.Error(t, err)
	return err
}

// note writes a note on the order as it is now.
func (h *harness) note(t *testing.T, id, note string) *ordersv1.Order {
	t.Helper()
	o, err := h.tryNote(t.Context(), id, note)
	require.NoError(t, err)
	return o
}

// tryNote is note for where a test cannot be failed.
func (h *harness) tryNote(ctx context.Context, id, note string) (*ordersv1.Order, error) {
	for {
		now, err := h.client.GetOrder(ctx, &ordersv1.GetOrderRequest{Id: id})
		if err != nil {
			return nil, err
		}
		changed, err := h.client.UpdateOrder(ctx, &ordersv1.UpdateOrderRequest{
			Id: id, Etag: now.GetOrder().GetEtag(), ShippingNote: &note,
		})
		if reason, _ := apierror.ReasonOf(err); reason == apierror.ReasonEtagMismatch {
			continue // somebody else was faster
		}
		return changed.GetOrder(), err
	}
}

func TestAWatchBeginsWithTheOrderAsItIsAndHasEveryChange(t *testing.T) {
	t.Parallel()
	h := newWorld(t).replica(t)
	o := h.create(t, cups())
	w := h.watch(t, o.GetId(), "")
	first := w.next(t)
	requireSame(t, o, first.GetOrder())
	require.EqualValues(t, 2, first.GetRevision(), "placed, then paid")

	noted := h.note(t, o.GetId(), "leave it at the door")
	requireSame(t, noted, w.next(t).GetOrder())
	h.cancel(t, o.GetId())
	require.Equal(t, stateCancelling, w.next(t).GetOrder().GetState())
	last := w.next(t)
	require.Equal(t, stateCancelled, last.GetOrder().GetState(), "what the completer does is seen, too")
	requireSame(t, h.get(t, o.GetId()), last.GetOrder())
	require.EqualValues(t, 5, last.GetRevision())

	noted = h.note(t, o.GetId(), "it was cancelled")
	requireSame(t, noted, w.next(t).GetOrder())
}

func TestAWatchSeesWhatAnotherReplicaChanges(t *testing.T) {
	t.Parallel()
	world := newWorld(t)
	here, there := world.replica(t), world.replica(t)
	o := here.create(t, cups())
	w := here.watch(t, o.GetId(), "")
	w.next(t)
	noted := there.note(t, o.GetId(), "from over there")
	requireSame(t, noted, w.next(t).GetOrder())
}

// TestWhatAReplicaChangesItselfItTellsAtOnce: it does not wait for its next look
// at the database.
func TestWhatAReplicaChangesItselfItTellsAtOnce(t *testing.T) {
	t.Parallel()
	h := newWorld(t).replica(t, "HOLDFAST_WATCH_INTERVAL", "1m")
	h.payments.set(fakeFaults{leavePending: true})
	o := h.create(t, cups())
	w := h.watch(t, o.GetId(), "")
	require.Equal(t, statePending, w.next(t).GetOrder().GetState())
	h.note(t, o.GetId(), "an update")
	require.Equal(t, "an update", w.next(t).GetOrder().GetShippingNote())
	h.cancel(t, o.GetId())
	require.Equal(t, stateCancelling, w.next(t).GetOrder().GetState())
	h.payments.set(fakeFaults{})
	h.payments.settle(paymentsv1.PaymentState_PAYMENT_STATE_CAPTURED)
	require.Equal(t, stateCancelled, w.next(t).GetOrder().GetState(), "by the completer")
}

func TestATokenThatIsNotOfThisOrderIsRefused(t *testing.T) {
	t.Parallel()
	h := newWorld(t).replica(t)
	o, other := h.create(t, cups()), h.create(t, cups())
	ofOther := h.watch(t, other.GetId(), "").next(t).GetResumeToken()
	tokenOf := func(tenant string, version int64) string {
		return (&watch{tenant: tenant, id: uuid.MustParse(o.GetId())}).token(version)
	}
	require.Equal(t, tokenOf("acme", 2), h.watch(t, o.GetId(), "").next(t).GetResumeToken())
	for name, token := range map[string]string{
		"nonsense":          "nonsense",
		"of another order":  ofOther,
		"of another tenant": tokenOf("globex", 2),
		"ahead":             tokenOf("acme", 3),
		"before the first":  tokenOf("acme", 0),
		"negative":          tokenOf("acme", -1),
	} {
		err := h.refused(t, o.GetId(), token)
		requireReason(t, apierror.ReasonInvalidResumeToken, err)
		require.Contains(t, violations(err), "resume_token", name)
	}
	requireReason(t, apierror.ReasonInvalidField, h.refused(t, o.GetId(), string(make([]byte, 200))))
}

func TestWhatCannotBeWatchedIsRefused(t *testing.T) {
	t.Parallel()
	h := newWorld(t).replica(t)
	o := h.create(t, cups())
	requireReason(t, apierror.ReasonNotFound, h.refused(t, uuid.NewString(), ""))
	requireReason(t, apierror.ReasonInvalidField, h.refused(t, "not-an-id", ""))
	stream, err := h.other.WatchOrder(t.Context(), &ordersv1.WatchOrderRequest{Id: o.GetId()})
	require.NoError(t, err)
	_, err = stream.Recv()
	requireReason(t, apierror.ReasonNotFound, err)
	stream, err = ordersv1.NewOrdersServiceClient(h.conn).WatchOrder(t.Context(), &ordersv1.WatchOrderRequest{Id: o.GetId()})
	require.NoError(t, err)
	_, err = stream.Recv()
	requireReason(t, apierror.ReasonCredentialsMissing, err)
}

func TestWatchesAreLimitedByTenantAndByReplica(t *testing.T) {
	t.Parallel()
	h := newWorld(t).replica(t, "HOLDFAST_WATCH_MAX_PER_TENANT", "2", "HOLDFAST_WATCH_MAX", "3")
	o := h.create(t, cups())
	first, second := h.watch(t, o.GetId(), ""), h.watch(t, o.GetId(), "")
	first.next(t)
	second.next(t)
	err := h.refused(t, o.GetId(), "")
	requireReason(t, apierror.ReasonTooManyStreams, err)
	require.Equal(t, codes.ResourceExhausted, status.Code(err))
	typed, _ := apierror.Typed(err)
	require.Positive(t, typed.RetryAfter())

	// Another tenant has places of its own, as far as the replica has any.
	theirs, err := h.other.CreateOrder(keyed(t.Context()), cups())
	require.NoError(t, err)
	watchTheirs := func() error {
		stream, err := h.other.WatchOrder(t.Context(), &ordersv1.WatchOrderRequest{Id: theirs.GetOrder().GetId()})
		require.NoError(t, err)
		_, err = stream.Recv()
		return err
	}
	require.NoError(t, watchTheirs())
	requireReason(t, apierror.ReasonTooManyStreams, watchTheirs())

	first.leave()
	eventually(t, "a place of who left is free", func() bool {
		stream, err := h.client.WatchOrder(t.Context(), &ordersv1.WatchOrderRequest{Id: o.GetId()})
		require.NoError(t, err)
		_, err = stream.Recv()
		return err == nil
	})
}

func TestAClientThatLeavesIsNoError(t *testing.T) {
	t.Parallel()
	h := newWorld(t).replica(t)
	o := h.create(t, cups())
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	stream, err := h.client.WatchOrder(ctx, &ordersv1.WatchOrderRequest{Id: o.GetId()})
	require.NoError(t, err)
	_, err = stream.Recv()
	require.NoError(t, err)
	_, err = stream.Recv()
	require.Equal(t, codes.DeadlineExceeded, status.Code(err))
}

// gapOrRepeat says what is wrong with revisions that should be each once and in
// order.
func gapOrRepeat(seen []int64) error {
	for i := 1; i < len(seen); i++ {
		switch before, now := seen[i-1], seen[i]; {
		case now <= before:
			return fmt.Errorf("revision %d after %d: a repeat", now, before)
		case now > before+1:
			return fmt.Errorf("revision %d after %d: a gap", now, before)
		}
	}
	return nil
}

// resuming is how a client comes back.
type resuming func(last *ordersv1.WatchOrderResponse) (token string)

func withToken(last *ordersv1.WatchOrderResponse) string { return last.GetResumeToken() }
func forgetful(*ordersv1.WatchOrderResponse) string      { return "" }

// followed is everything that a client has got of an order, until it saw the
// last of the edits that were made meanwhile. It leaves now and then, in the
// middle of changes, and comes back to whichever replica.
func followed(t *testing.T, replicas []*whole, random *rand.Rand, edits int, resume resuming) (seen []int64, notes []string) {
	t.Helper()
	o := replicas[0].create(t, cups())
	final := fmt.Sprint("note ", edits)
	var writing sync.WaitGroup
	writing.Go(func() {
		for n := range edits {
			via := replicas[n%len(replicas)]
			if _, err := via.tryNote(t.Context(), o.GetId(), fmt.Sprint("note ", n+1)); err != nil {
				t.Errorf("edit %d: %v", n, err)
				return
			}
		}
	})
	defer writing.Wait()
	token := ""
	for {
		w := replicas[random.IntN(len(replicas))].watch(t, o.GetId(), token)
		for range 1 + random.IntN(6) {
			got := w.next(t)
			seen = append(seen, got.GetRevision())
			notes = append(notes, got.GetOrder().GetShippingNote())
			token = resume(got)
			if got.GetOrder().GetShippingNote() == final {
				return seen, notes
			}
		}
		w.leave()
		time.Sleep(time.Duration(random.IntN(8)) * time.Millisecond) // a client that is away
	}
}

// TestNoGapAndNoRepeatOnWhicheverReplica has changes through two replicas while a
// client goes back and forth between them.
func TestNoGapAndNoRepeatOnWhicheverReplica(t *testing.T) {
	t.Parallel()
	world := newWorld(t)
	replicas := []*whole{world.replica(t), world.replica(t)}
	for seed := range uint64(3) {
		const edits = 60
		seen, notes := followed(t, replicas, rand.New(rand.NewPCG(seed, 5)), edits, withToken)
		require.NoError(t, gapOrRepeat(seen), "seed %d", seed)
		require.EqualValues(t, 2+edits, seen[len(seen)-1])
		for i, revision := range seen {
			if revision > 2 {
				require.Equal(t, fmt.Sprint("note ", revision-2), notes[i], "the state of this very revision")
			}
		}
	}
}

func TestControlAClientThatForgetsItsTokenHasGapsOrRepeats(t *testing.T) {
	t.Parallel()
	world := newWorld(t)
	replicas := []*whole{world.replica(t), world.replica(t)}
	seen, _ := followed(t, replicas, rand.New(rand.NewPCG(1, 5)), 60, forgetful)
	require.Error(t, gapOrRepeat(seen))
}

// TestControlAStoreThatKeepsOnlyTheLastRevisionHasGaps: what a store does that is
// asked for the present state whenever it has changed.
func TestControlAStoreThatKeepsOnlyTheLastRevisionHasGaps(t *testing.T) {
	t.Parallel()
	world := newWorld(t)
	replicas := []*whole{world.replica(t), world.replica(t)}
	replicas[0].exec(t, `
CREATE FUNCTION coalesce_revisions() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM order_revisions WHERE order_id = NEW.order_id AND version < NEW.version;
    RETURN NULL;
END $$`)
	replicas[0].exec(t, `CREATE TRIGGER coalesced AFTER INSERT ON order_revisions FOR EACH ROW EXECUTE FUNCTION coalesce_revisions()`)
	seen, _ := followed(t, replicas, rand.New(rand.NewPCG(1, 5)), 60, withToken)
	require.ErrorContains(t, gapOrRepeat(seen), "a gap")
}

// TestASlowReaderMissesNothingAndHoldsUpNobody: its stream fills up, and stands;
// what it has not read is in the table, not in memory.
func TestASlowReaderMissesNothingAndHoldsUpNobody(t *testing.T) {
	t.Parallel()
	h := newWorld(t).replica(t)
	o := h.create(t, cups())
	slow, quick := h.watch(t, o.GetId(), ""), h.watch(t, o.GetId(), "")
	slow.next(t)
	quick.next(t)
	// A stream holds some 64 KiB on each side of the wire.
	const edits = 500
	long := make([]byte, 480)
	for i := range long {
		long[i] = 'x'
	}
	for n := range edits {
		note := fmt.Sprintf("%s %d", long, n)
		h.note(t, o.GetId(), note)
		require.Equal(t, note, quick.next(t).GetOrder().GetShippingNote())
	}
	seen := []int64{2}
	for range edits {
		seen = append(seen, slow.next(t).GetRevision())
	}
	require.NoError(t, gapOrRepeat(seen))
	require.EqualValues(t, 2+edits, seen[len(seen)-1])
}

// ended reads a watch to its end and returns why it ended.
func (w *watching) ended(t *testing.T) *apierror.Error {
	t.Helper()
	for {
		if _, err := w.Recv(); err != nil {
			typed, ok := apierror.Typed(err)
			require.True(t, ok, "%v", err)
			return typed
		}
	}
}

func TestADrainHandsAWatchOver(t *testing.T) {
	t.Parallel()
	world := newWorld(t)
	leaving, staying := world.replica(t), world.replica(t)
	o := leaving.create(t, cups())
	fresh := leaving.watch(t, o.GetId(), "")
	token := fresh.next(t).GetResumeToken()
	resumed := leaving.watch(t, o.GetId(), token)
	_, err := resumed.Header()
	require.NoError(t, err)

	require.NoError(t, leaving.stop(), "a watch does not hold a drain up")
	for name, w := range map[string]*watching{"that has got something": fresh, "that has got nothing": resumed} {
		end := w.ended(t)
		require.Equal(t, apierror.ReasonDraining, end.Reason(), name)
		require.Equal(t, codes.Unavailable, end.GRPCStatus().Code())
		require.Equal(t, atOnce, end.RetryAfter())
		require.Equal(t, token, end.Metadata("resume_token"), name)
	}
	staying.note(t, o.GetId(), "meanwhile")
	next := staying.watch(t, o.GetId(), token).next(t)
	require.Equal(t, "meanwhile", next.GetOrder().GetShippingNote())
	require.EqualValues(t, 3, next.GetRevision())
}

// TestAWatchOutlivesItsConnection: a connection that is old is cut off, and a
// stream on it is told to end before that.
func TestAWatchOutlivesItsConnection(t *testing.T) {
	t.Parallel()
	h := newWorld(t).replica(t, "HOLDFAST_MAX_CONN_AGE", "500ms", "HOLDFAST_MAX_CONN_AGE_GRACE", "1s")
	o := h.create(t, cups())
	for range 3 {
		end := h.watch(t, o.GetId(), "").ended(t)
		require.Equal(t, apierror.ReasonDraining, end.Reason())
		require.NotEmpty(t, end.Metadata("resume_token"))
	}
}

// TestAnOutageOfTheDatabaseTakesNothingFromAWatch: it stays while there is nothing
// to read, and whatever must be read and cannot be is told with its reason. Who
// comes back has missed nothing.
func TestAnOutageOfTheDatabaseTakesNothingFromAWatch(t *testing.T) {
	t.Parallel()
	server := pgtest.Dedicated(t)
	h := newWorldOn(t, server.Database(migrate, "orders")).replica(t)
	o := h.create(t, cups())
	w := h.watch(t, o.GetId(), "")
	token := w.next(t).GetResumeToken()
	server.Stop()
	requireReason(t, apierror.ReasonDependencyUnavailable, h.refused(t, o.GetId(), token))
	server.Start()
	var noted *ordersv1.Order
	eventually(t, "the database is back", func() (done bool) {
		var err error
		noted, err = h.tryNote(t.Context(), o.GetId(), "after the outage")
		return err == nil
	})
	got, err := w.Recv()
	if err != nil { // it read on a connection that the outage had broken
		requireReason(t, apierror.ReasonDependencyUnavailable, err)
		eventually(t, "the watch goes on", func() bool {
			got, err = h.watch(t, o.GetId(), token).Recv()
			return err == nil
		})
	}
	requireSame(t, noted, got.GetOrder())
}

func TestAWatchLeavesNothingBehind(t *testing.T) {
	t.Parallel()
	w := newWatches(nil, WatchConfig{Max: 2, MaxPerTenant: 2}, nil)
	id := uuid.New()
	a, err := w.join("acme", id)
	require.NoError(t, err)
	b, err := w.join("acme", id)
	require.NoError(t, err)
	news := b.news()
	w.wake(id)
	require.True(t, isClosed(news))
	require.False(t, isClosed(b.news()), "each wake is told once")
	a.leave()
	require.Len(t, w.orders, 1)
	b.leave()
	require.Empty(t, w.orders)
	require.Empty(t, w.tenants)
	require.Zero(t, w.taken)
	w.wake(id) // nobody is there
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}
