package idempotency_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-dev/holdfast/pkg/idempotency"
)

// Negative controls of expiry_test.go: the same clients, and less care.

// requireFault requires that something of the kind went wrong.
func (r *retries) requireFault(t *testing.T, kind string) {
	t.Helper()
	for _, w := range r.wrong {
		if strings.Contains(w, kind) {
			t.Logf("%d faults, such as %s", len(r.wrong), w)
			return
		}
	}
	t.Fatalf("the control does not break the promise: nothing was %q among %d faults: %s", kind, len(r.wrong), strings.Join(r.wrong[:min(5, len(r.wrong))], "\n"))
}

func TestControlDroppingADayThatIsStillInTheWindowExecutesAgain(t *testing.T) {
	db, c := newClockedDatabase(t, quickly)
	r, end := startRetries(t, db, c)
	conn := connect(t, db)
	r.days(t, 2, func(ctx context.Context) error {
		if err := idempotency.DropExpired(ctx, conn, -24*time.Hour); err != nil {
			return err
		}
		return idempotency.Maintain(ctx, conn)
	})
	end()
	r.audit(t)
	r.requireFault(t, "executed 2 times, by executions")
	r.requireFault(t, "another answer")
}

func TestControlWithoutTheWindowAnOldKeyIsNeitherAnsweredNorRefused(t *testing.T) {
	db, c := newClockedDatabase(t, quickly)
	careful := newStore(t, db.pool)
	db.Store = newStore(t, db.pool, quickly, func(cfg *idempotency.Config) { cfg.Retention = 30 * 24 * time.Hour })
	r, end := startRetries(t, db, c)
	r.days(t, 5, careful.Maintain)
	end()
	r.requireFault(t, "answered past its retention")
	r.requireFault(t, "neither an answer nor 410: DEPENDENCY_UNAVAILABLE")
}

func TestControlWithoutTombstonesAnOpaqueKeyIsExecutedAgain(t *testing.T) {
	db, c := newClockedDatabase(t, quickly)
	r, end := startRetries(t, db, c)
	conn := connect(t, db)
	r.days(t, 2, func(ctx context.Context) error {
		_, err := conn.Exec(ctx, "DELETE FROM idempotency_opaque_keys WHERE decided AND create_time < now() - interval '24 hours'")
		return err
	})
	end()
	r.audit(t)
	r.requireFault(t, "executed 2 times, by executions")
}

func TestControlWithoutMaintenanceTheFourthMidnightIsNoticed(t *testing.T) {
	db, c := newClockedDatabase(t, quickly)
	r, end := startRetries(t, db, c)
	for range 4 {
		r.midnight(t, func(context.Context) error { return nil })
	}
	end()
	r.requireFault(t, "neither an answer nor 410: DEPENDENCY_UNAVAILABLE")
}
