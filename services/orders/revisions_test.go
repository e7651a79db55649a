package orders

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
)

// before is the release before this one, which changes orders and writes no
// revisions, by what it says to the database.
type before struct{ insert, update string }

func releaseBefore(t *testing.T) before {
	t.Helper()
	sql := func(name string) string {
		content, err := os.ReadFile(filepath.Join("testdata", "revisions", name))
		require.NoError(t, err)
		return string(content)
	}
	// The key's part of the statement plays no role here.
	return before{"WITH claimed AS (SELECT),\n" + sql("before_insert.sql") + "\nSELECT FROM new_order", sql("before_update.sql")}
}

// place places an order that is paid.
func (b before) place(t *testing.T, h *harness) (id string) {
	t.Helper()
	o, err := NewOrder(Draft{
		ID: uuid.New(), Tenant: "acme", PaymentMethod: "pm_card_ok", ChargeKey: "charge", Now: time.Now(),
		Lines: []Line{{"espresso-cup", 2, usd(1200)}},
	})
	require.NoError(t, err)
	h.exec(t, b.insert, insertOrderArgs(o)...)
	require.NoError(t, o.Pay(uuid.New(), time.Now()))
	h.exec(t, b.update, updateOrderArgs(o)...)
	return o.id.String()
}

// note writes a note on an order as it is now. It returns the version that this
// made, and 0 if somebody else was faster.
func (b before) note(ctx context.Context, h *harness, id, note string) (int64, error) {
	o, err := (&store{pool: h.pool}).get(ctx, "acme", uuid.MustParse(id))
	if err != nil {
		return 0, err
	}
	if _, err := o.Edit(o.Version(), Edit{ShippingNote: &note}, time.Now()); err != nil {
		return 0, err
	}
	tag, err := h.pool.Exec(ctx, b.update, updateOrderArgs(o)...)
	if err != nil || tag.RowsAffected() == 0 {
		return 0, err
	}
	return o.Version(), nil
}

// TestAnOrderOfTheReleaseBeforeIsWatchedFromAsItIs: it has no revisions. What that
// release does to it while somebody watches is seen, too.
func TestAnOrderOfTheReleaseBeforeIsWatchedFromAsItIs(t *testing.T) {
	t.Parallel()
	h, old := newWorld(t).replica(t), releaseBefore(t)
	id := old.place(t, &h.harness)
	require.Zero(t, h.count(t, `SELECT count(*) FROM order_revisions`))
	w := h.watch(t, id, "")
	first := w.next(t)
	require.EqualValues(t, 2, first.GetRevision())
	require.Equal(t, statePaid, first.GetOrder().GetState())

	_, err := old.note(t.Context(), &h.harness, id, "by the release before")
	require.NoError(t, err)
	second := w.next(t)
	require.EqualValues(t, 3, second.GetRevision())
	requireSame(t, h.get(t, id), second.GetOrder())
	h.note(t, id, "by this release")
	require.EqualValues(t, 4, w.next(t).GetRevision())

	// Who comes back finds what this release wrote, and the last state of all.
	// What the release before wrote and something else took the place of is gone.
	for range 2 {
		_, err = old.note(t.Context(), &h.harness, id, fmt.Sprint("again by the release before ", time.Now()))
		require.NoError(t, err)
	}
	back := h.watch(t, id, first.GetResumeToken())
	require.EqualValues(t, 4, back.next(t).GetRevision())
	last := back.next(t)
	require.EqualValues(t, 6, last.GetRevision())
	requireSame(t, h.get(t, id), last.GetOrder())
}

// TestWhileTwoReleasesServeNothingIsRepeatedAndNothingOfThisOneIsMissing is a
// rollout: the release before, and this one, change the same order at once.
func TestWhileTwoReleasesServeNothingIsRepeatedAndNothingOfThisOneIsMissing(t *testing.T) {
	t.Parallel()
	h, old := newWorld(t).replica(t), releaseBefore(t)
	id := old.place(t, &h.harness)
	w := h.watch(t, id, "")
	seen := map[int64]bool{w.next(t).GetRevision(): true}

	ours := map[int64]bool{}
	var changing sync.WaitGroup
	changing.Go(func() {
		for n := range 60 {
			if _, err := old.note(t.Context(), &h.harness, id, fmt.Sprint("old ", n)); err != nil {
				t.Error(err)
			}
		}
	})
	for n := range 60 {
		ours[versionOf(h.note(t, id, fmt.Sprint("new ", n)).GetEtag())] = true
	}
	changing.Wait()
	end := h.note(t, id, "the end")

	for position := int64(2); position < versionOf(end.GetEtag()); {
		got := w.next(t)
		require.Greater(t, got.GetRevision(), position, "in order, and once")
		position = got.GetRevision()
		seen[position] = true
	}
	for version := range ours {
		require.True(t, seen[version], "revision %d of this release", version)
	}
}

// TestEveryChangeLeavesARevision in the statement that makes it: what was changed
// and what is watched cannot differ.
func TestEveryChangeLeavesARevision(t *testing.T) {
	t.Parallel()
	h := newWorld(t).replica(t)
	declined := cups()
	declined.PaymentMethod = "pm_card_declined"
	for _, id := range []string{h.create(t, cups()).GetId(), h.create(t, declined).GetId()} {
		h.note(t, id, "a change")
	}
	h.awaitState(t, h.cancel(t, h.create(t, cups()).GetId()).GetId(), stateCancelled)
	require.Equal(t, 3+3+4, h.count(t, `SELECT count(*) FROM order_revisions`))
	require.Zero(t, h.count(t, `
SELECT count(*)
FROM orders o
WHERE o.version <> (SELECT count(*) FROM order_revisions r WHERE r.order_id = o.id)
   OR NOT EXISTS (
       SELECT FROM order_revisions r
       WHERE r.order_id = o.id AND r.version = o.version
         AND (r.state, r.payment_id, r.decline_code, r.contact_email, r.shipping_note, r.update_time)
             IS NOT DISTINCT FROM (o.state, o.payment_id, o.decline_code, o.contact_email, o.shipping_note, o.update_time))`))

	// A change that loses leaves none.
	o := h.create(t, cups())
	stale, err := (&store{pool: h.pool}).get(t.Context(), "acme", uuid.MustParse(o.GetId()))
	require.NoError(t, err)
	h.note(t, o.GetId(), "faster")
	require.NoError(t, stale.Cancel(time.Now()))
	require.ErrorIs(t, (&store{pool: h.pool}).update(t.Context(), stale), errOvertaken)
	require.Equal(t, 3, h.count(t, `SELECT count(*) FROM order_revisions WHERE order_id = $1`, o.GetId()))
}
