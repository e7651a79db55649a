package payments

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/holdfast-dev/holdfast/pkg/idempotency"
	"github.com/holdfast-dev/holdfast/pkg/postgres/pgtest/pgproxy"
)

// What makes a process of this test's binary a replica that reconciles, and no
// test: where its database and its processor are.
const (
	replicaDatabase  = "PAYMENTS_TEST_REPLICA_DATABASE"
	replicaProcessor = "PAYMENTS_TEST_REPLICA_PROCESSOR"
)

// reconcileForever is such a process. It returns if it cannot begin.
func reconcileForever(ctx context.Context, database, sandbox string) error {
	log := slog.New(slog.NewTextHandler(os.Stderr, nil))
	pool, err := pgxpool.New(ctx, database)
	if err != nil {
		return err
	}
	defer pool.Close()
	processor, err := NewSandboxProcessor(sandbox, patience, time.Hour, nil)
	if err != nil {
		return err
	}
	defer processor.Close()
	derive, err := idempotency.NewDeriver(keyConfig())
	if err != nil {
		return err
	}
	keys, err := idempotency.New(pool, derive, keyConfig(), log)
	if err != nil {
		return err
	}
	r := newReconciler(soon(), &store{pool: pool}, keys, processor, func() {}, log)
	processor.page, r.page = 3, 3
	return r.work(ctx)
}

// replica starts one, which is killed as it sends its message number n to the
// database, from one. It is waited for until it is dead or the run complete.
func (h *harness) replica(t *testing.T, wire *pgproxy.Proxy, url string, n int) (killed bool) {
	t.Helper()
	command := exec.CommandContext(t.Context(), os.Args[0])
	command.Env = append(os.Environ(), replicaDatabase+"="+url, replicaProcessor+"="+h.sandbox.url)
	command.Stderr = t.Output()
	var sent int
	var shot atomic.Bool
	started := make(chan struct{})
	wire.CutBefore(0, false, func(pgproxy.Trip) bool {
		if sent++; sent != n {
			return false
		}
		<-started
		shot.Store(true)
		_ = command.Process.Kill() // it runs: it has just sent something
		return n%2 == 0            // every other message arrives all the same
	})
	require.NoError(t, command.Start())
	close(started)
	ended := make(chan struct{})
	go func() { _ = command.Wait(); close(ended) }() // killed: its exit status is no news
	require.Eventually(t, func() bool {
		select {
		case <-ended:
			return true
		default:
			return h.number(t, `SELECT count(*) FROM reconciliation_runs WHERE complete_time IS NULL`) == 0
		}
	}, 20*time.Second, 5*time.Millisecond)
	wire.Disarm()
	killed = shot.Load()
	_ = command.Process.Kill() // dead already is as good
	<-ended
	return killed
}

// Replicas are lost without a word, the first with the first message that it sends,
// each further one a message later, until one lives long enough to see the end. The
// run says what it would have said, and nothing but the run was written.
func TestARunSurvivesEveryReplicaThatWorksOnIt(t *testing.T) {
	t.Parallel()
	h := start(t)
	h.paged(t, 10)
	lost := h.charge(t, "lost", "pm_card_ok", 1000)
	h.forget(t, lost.GetId())
	books := `SELECT md5(string_agg(row::text, '|' ORDER BY row::text))
		FROM (SELECT p::text AS row FROM payments p UNION ALL SELECT e::text FROM ledger_entries e) AS books`
	before := h.text(t, books)
	operations := h.sandbox.count(t, func(sandboxLine) bool { return true })
	wire, url := pgproxy.New(t, h.pool.Config().ConnString())

	r := h.pagedReconciler(t)
	settle(soon())
	begun, _, err := r.begin(t.Context(), time.Time{})
	require.NoError(t, err)
	deaths := 0
	for h.replica(t, wire, url, deaths+1) {
		deaths++
		h.exec(t, `UPDATE reconciliation_runs SET lease_until = now()`) // instead of a minute's wait
	}

	require.Greater(t, deaths, 10)
	done, err := r.runs.get(t.Context(), begun.Number)
	require.NoError(t, err)
	require.Equal(t, finished, done.Phase)
	require.Greater(t, done.Epoch, int64(2), "several had it")
	require.Equal(t, int64(11), done.Records, "none was left out or compared twice")
	require.Equal(t, int64(10), done.Entries)
	found, err := r.runs.findingsOf(t.Context(), done.Number, 0, 1000)
	require.NoError(t, err)
	require.Equal(t, lost.GetId(), only(t, found).Payment)
	require.Zero(t, h.number(t, `SELECT count(*) FROM reconciliation_seen`))
	require.Equal(t, before, h.text(t, books), "payments and the ledger are as they were")
	require.Equal(t, operations, h.sandbox.count(t, func(sandboxLine) bool { return true }), "the processor was asked, and told nothing")
	t.Logf("%d replicas died of it, %d of them with the run in hand", deaths, done.Epoch-1)
}

func (h *harness) text(t *testing.T, sql string) string {
	t.Helper()
	var s string
	require.NoError(t, h.pool.QueryRow(t.Context(), sql).Scan(&s))
	return s
}

// reconcileIfAsked makes this process a replica instead of a run of the tests.
func reconcileIfAsked() {
	database := os.Getenv(replicaDatabase)
	if database == "" {
		return
	}
	err := reconcileForever(context.Background(), database, os.Getenv(replicaProcessor)) // until it is killed
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}
