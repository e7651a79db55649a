package ledger_test

import (
	"context"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/holdfast-dev/holdfast/pkg/postgres/pgtest"
	"github.com/holdfast-dev/holdfast/services/llm-gateway/ledger"
)

// BenchmarkRequest is what a request costs that reserves in two budgets and
// settles: CPU of this process and of Postgres apart, because the wall clock of a
// busy machine says little. The server does not wait for the disk; see
// BenchmarkDurably for one that does.
func BenchmarkRequest(b *testing.B) {
	db := newBooks(b)
	measure(b, db.Ledger, db.pool, 4, false)
}

// BenchmarkKeyedRequest is the same with an idempotency key and an answer of 2 KB.
func BenchmarkKeyedRequest(b *testing.B) {
	db := newBooks(b)
	measure(b, db.Ledger, db.pool, 4, true)
}

// BenchmarkDurably waits for the disk at every commit. One overall budget is one
// row, and its lock is held while the commit is written: this is how many
// requests a second one budget carries.
func BenchmarkDurably(b *testing.B) {
	db := pgtest.Dedicated(b).Database(migrate, "llm_ledger")
	measure(b, ledger.New(db.Pool), db.Pool, 16, false)
}

func measure(b *testing.B, l *ledger.Ledger, pool *pgxpool.Pool, clients int, withKey bool) {
	own, all := day("daily", tenant, 1<<50), day("overall", "", 1<<50)
	once := func(ctx context.Context) error {
		r := request(dollar, own, all)
		var stored *ledger.Stored
		if withKey {
			r, stored = keyed(r, r.ID.String()), answer(strings.Repeat("x", 2000))
		}
		h, _, err := l.Reserve(ctx, r)
		if err != nil {
			return err
		}
		return h.Settle(ctx, billed(1000), stored)
	}
	for range 200 {
		require.NoError(b, once(b.Context()))
	}
	_, err := pool.Exec(b.Context(), "ANALYZE")
	require.NoError(b, err)
	ours, theirs, start := cpu(), backends(b, pool), time.Now()
	var working sync.WaitGroup
	turns := make(chan struct{})
	for range clients {
		working.Go(func() {
			for range turns {
				if err := once(b.Context()); err != nil {
					b.Error(err)
				}
			}
		})
	}
	n := 0
	for b.Loop() {
		turns <- struct{}{}
		n++
	}
	close(turns)
	working.Wait()
	per := func(d time.Duration) float64 { return float64(d.Microseconds()) / float64(n) }
	b.ReportMetric(per(cpu()-ours), "µs-cpu-here/op")
	if after := backends(b, pool); theirs >= 0 {
		b.ReportMetric(per(after-theirs), "µs-cpu-postgres/op")
	}
	b.ReportMetric(float64(n)/time.Since(start).Seconds(), "requests/s")
}

// cpu is what this process has used.
func cpu() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// backends is what the server's processes of this database have used, or -1 where
// they are not on this machine.
func backends(b *testing.B, pool *pgxpool.Pool) time.Duration {
	rows, err := pool.Query(b.Context(), `SELECT pid FROM pg_stat_activity WHERE datname = current_database()`)
	require.NoError(b, err)
	defer rows.Close()
	var sum time.Duration
	for rows.Next() {
		var pid int
		require.NoError(b, rows.Scan(&pid))
		stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
		if err != nil {
			return -1
		}
		fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
		for _, ticks := range fields[11:13] { // utime, stime
			n, _ := strconv.ParseInt(ticks, 10, 64)
			sum += time.Duration(n) * 10 * time.Millisecond
		}
	}
	return sum
}
