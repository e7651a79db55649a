package payments

import (
	"bytes"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	bolt "go.etcd.io/bbolt"
)

// soon settles at once: for tests in which nothing is under way.
func soon() ReconcileConfig {
	return ReconcileConfig{Interval: time.Hour, Settling: time.Millisecond, Overlap: time.Hour, Lookback: time.Hour}
}

// settle waits until what was done just now is compared by the next run. Time is all
// there is to wait for.
func settle(cfg ReconcileConfig) { time.Sleep(5 * cfg.Settling) }

// reconciler is one replica's. It does nothing by itself.
func (h *harness) reconciler(t *testing.T, cfg ReconcileConfig) *reconciler {
	t.Helper()
	require.NoError(t, cfg.Validate())
	log := slog.New(slog.NewTextHandler(t.Output(), nil))
	r := newReconciler(cfg, h.api.store, h.keys, h.api.operations.processor, h.completer.Nudge, log)
	r.patience = 5 * time.Second
	return r
}

// reconcile makes a whole run and returns what was open in it.
func (h *harness) reconcile(t *testing.T) []storedFinding {
	t.Helper()
	return h.reconcileWith(t, h.reconciler(t, soon()))
}

func (h *harness) reconcileWith(t *testing.T, r *reconciler) []storedFinding {
	t.Helper()
	settle(r.cfg)
	begun, joined, err := r.begin(t.Context(), time.Time{})
	require.NoError(t, err)
	require.False(t, joined)
	taken, err := r.runs.take(t.Context(), reconcileLease)
	require.NoError(t, err)
	require.Equal(t, begun.Number, taken.Number)
	r.carryOn(t.Context(), taken)
	require.Equal(t, finished, taken.Phase)
	require.False(t, taken.CompleteTime.IsZero())
	require.Zero(t, h.number(t, `SELECT count(*) FROM reconciliation_seen`), "what was seen is forgotten")
	found, err := r.runs.findingsOf(t.Context(), taken.Number, 0, 1000)
	require.NoError(t, err)
	return found
}

// only is the one finding that there must be.
func only(t *testing.T, found []storedFinding) storedFinding {
	t.Helper()
	require.Len(t, found, 1, "%+v", found)
	return found[0]
}

// edit changes the processor's own books while it is down: fn gets the records
// of a payment and answers what they are from now on; nil removes one.
func (s *sandboxProcess) edit(t *testing.T, payment string, fn func(operation map[string]any) map[string]any) {
	t.Helper()
	s.kill()
	db, err := bolt.Open(filepath.Join(s.dir, "ledger.db"), 0o600, &bolt.Options{Timeout: 5 * time.Second})
	require.NoError(t, err)
	require.NoError(t, db.Update(func(tx *bolt.Tx) error {
		operations := tx.Bucket([]byte("operations"))
		changed := map[string][]byte{}
		err := operations.ForEach(func(sequence, data []byte) error {
			var o map[string]any
			require.NoError(t, json.Unmarshal(data, &o))
			if o["reference"] != payment {
				return nil
			}
			changed[string(sequence)] = nil
			if o = fn(o); o != nil {
				data, err := json.Marshal(o)
				require.NoError(t, err)
				changed[string(sequence)] = data
			}
			return nil
		})
		require.NoError(t, err)
		require.NotEmpty(t, changed, "the processor has nothing of the payment")
		for sequence, data := range changed {
			if data != nil {
				require.NoError(t, operations.Put([]byte(sequence), data))
				continue
			}
			require.NoError(t, operations.Delete([]byte(sequence)))
			for _, index := range []string{"by_key", "by_time"} { // both end with the sequence
				bucket := tx.Bucket([]byte(index))
				require.NoError(t, bucket.ForEach(func(k, _ []byte) error {
					if bytes.HasSuffix(k, []byte(sequence)) {
						return bucket.Delete(bytes.Clone(k))
					}
					return nil
				}))
			}
		}
		return nil
	}))
	require.NoError(t, db.Close())
	s.restart(t)
}

// without removes what the processor has of a payment.
func (s *sandboxProcess) without(t *testing.T, payment string) {
	t.Helper()
	s.edit(t, payment, func(map[string]any) map[string]any { return nil })
}

// forget takes a payment out of our database, as a restore from an older backup
// does.
func (h *harness) forget(t *testing.T, payment string) {
	t.Helper()
	h.exec(t, `ALTER TABLE ledger_entries DISABLE TRIGGER ledger_entries_immutable`)
	h.exec(t, `DELETE FROM ledger_entries WHERE payment_id = $1`, payment)
	h.exec(t, `ALTER TABLE ledger_entries ENABLE TRIGGER ledger_entries_immutable`)
	h.exec(t, `DELETE FROM payments WHERE id = $1`, payment)
	h.exec(t, `DELETE FROM idempotency_keys WHERE resource = $1`, payment)
}

// throughADoubler puts a proxy between payments and the processor that delivers
// each operation a second time, under another key: what no idempotency stops.
func (h *harness) throughADoubler(t *testing.T) {
	t.Helper()
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		deliver := func(key string) (int, []byte) {
			again, err := http.NewRequestWithContext(r.Context(), r.Method, h.sandbox.url+r.URL.String(), bytes.NewReader(body))
			if err != nil {
				return http.StatusBadGateway, nil
			}
			again.Header.Set("Idempotency-Key", key)
			response, err := http.DefaultClient.Do(again)
			if err != nil {
				return http.StatusBadGateway, nil
			}
			defer response.Body.Close()
			answer, _ := io.ReadAll(response.Body) // cut short, it is refused by whoever reads it
			return response.StatusCode, answer
		}
		key := r.Header.Get("Idempotency-Key")
		status, answer := deliver(key)
		if key != "" {
			deliver(key + "-again")
		}
		w.WriteHeader(status)
		_, _ = w.Write(answer)
	}))
	t.Cleanup(proxy.Close)
	processor, err := NewSandboxProcessor(proxy.URL, patience, time.Hour, nil)
	require.NoError(t, err)
	t.Cleanup(processor.Close)
	h.api.operations.processor = processor
}

// straightTo is the processor without whatever stands between.
func straightTo(t *testing.T, s *sandboxProcess) *SandboxProcessor {
	t.Helper()
	p, err := NewSandboxProcessor(s.url, patience, time.Hour, nil)
	require.NoError(t, err)
	t.Cleanup(p.Close)
	return p
}
