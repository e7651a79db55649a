package idempotency_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"github.com/holdfast-dev/holdfast/pkg/idempotency"
)

// slice is how long one variant runs before the next one has its turn. Variants
// take turns so that whatever else the machine does meets them alike.
const slice = 100 * time.Millisecond

// variant is one way to do the same work.
type variant struct {
	name string
	do   func(ctx context.Context) error

	rates []float64 // of each round
}

// rate is that of the median round.
func (v *variant) rate() float64 { return median(slices.Clone(v.rates)) }

// over is the median of v's ratio to another variant in the same round: what
// disturbs the machine for longer than a round disturbs both.
func (v *variant) over(other *variant) float64 {
	ratios := make([]float64, len(v.rates))
	for i := range ratios {
		ratios[i] = v.rates[i] / other.rates[i]
	}
	return median(ratios)
}

func median(values []float64) float64 {
	slices.Sort(values)
	return values[len(values)/2]
}

// run lets clients do the work for a slice of time.
func (v *variant) run(b *testing.B, clients int) {
	var (
		working sync.WaitGroup
		done    atomic.Int64
		start   = time.Now()
	)
	for range clients {
		working.Go(func() {
			n := int64(0)
			for time.Since(start) < slice {
				if err := v.do(b.Context()); err != nil {
					b.Error(err)
					break
				}
				n++
			}
			done.Add(n)
		})
	}
	working.Wait()
	v.rates = append(v.rates, float64(done.Load())/time.Since(start).Seconds())
}

// BenchmarkWrite compares an idempotent write with the same write done in other
// ways. The figures to read are the ratios; a ratio above 1 is in favour of the
// idempotent write.
func BenchmarkWrite(b *testing.B) {
	for _, clients := range []int{1, 16} {
		b.Run(fmt.Sprintf("clients=%d", clients), func(b *testing.B) {
			db := newDurableDatabase(b)
			idempotent := &variant{do: db.idempotentWrite}
			bare := &variant{name: "x_bare_pgx", do: db.bareLoop}
			plain := &variant{name: "x_no_key", do: db.plainWrite}
			double := &variant{name: "x_two_commits", do: db.twoCommits}
			all := []*variant{idempotent, bare, plain, double}
			for _, v := range all { // warm up: connections, statements, pages
				v.run(b, clients)
				v.rates = nil
			}
			pgbench := newPgbench(b, db)
			for b.Loop() {
				for _, v := range all {
					v.run(b, clients)
				}
				if pgbench != nil {
					pgbench.run(b, clients)
				}
			}
			for _, v := range all[1:] {
				b.ReportMetric(idempotent.over(v), v.name)
			}
			if pgbench != nil {
				b.ReportMetric(idempotent.rate()/median(pgbench.rates), "x_pgbench")
			}
			b.ReportMetric(idempotent.rate(), "writes/s")
			b.ReportMetric(0, "ns/op") // the length of a round says nothing
		})
	}
}

// BenchmarkReplay compares an answer from the store with a fresh write.
func BenchmarkReplay(b *testing.B) {
	for _, clients := range []int{1, 16} {
		b.Run(fmt.Sprintf("clients=%d", clients), func(b *testing.B) {
			db := newDurableDatabase(b)
			fresh := &variant{do: db.idempotentWrite}
			late := &variant{name: "x_fresh", do: db.replays(b, time.Minute)}
			atOnce := &variant{name: "x_fresh_at_once", do: db.replays(b, 0)}
			all := []*variant{fresh, late, atOnce}
			for b.Loop() {
				for _, v := range all {
					v.run(b, clients)
				}
			}
			for _, v := range all[1:] {
				b.ReportMetric(v.over(fresh), v.name)
			}
			b.ReportMetric(late.rate(), "replays/s")
			b.ReportMetric(0, "ns/op")
		})
	}
}

// BenchmarkFingerprint is the CPU of it, without a database.
func BenchmarkFingerprint(b *testing.B) {
	request := aRequest()
	b.ReportAllocs()
	for b.Loop() {
		idempotency.FingerprintOf(method, request)
	}
}

// idempotentWrite is all of it: key, fingerprint, derived id, answer, insert.
func (d *database) idempotentWrite(ctx context.Context) error {
	_, err := d.charge(ctx, aCall())
	return err
}

// replays makes requests that were answered before, and returns their
// repetition after some time.
func (d *database) replays(b *testing.B, after time.Duration) func(context.Context) error {
	known := make(chan idempotency.Key, 1000)
	for range cap(known) {
		call := callWith(idempotency.NewKeyAt(time.Now().Add(-after)))
		_, err := d.charge(b.Context(), call)
		require.NoError(b, err)
		known <- call.Key
	}
	return func(ctx context.Context) error {
		k := <-known
		defer func() { known <- k }()
		call := callWith(k)
		if after == 0 {
			minted, _ := k.Minted()
			call.Started = minted // as if it had not taken us so long to ask
		}
		o, err := d.charge(ctx, call)
		if err == nil && !o.Replayed {
			return fmt.Errorf("executed again")
		}
		return err
	}
}

// plainWrite is the business insert alone.
func (d *database) plainWrite(ctx context.Context) error {
	_, err := d.pool.Exec(ctx, "INSERT INTO effects (id, amount) VALUES ($1, $2)", newID(), int64(100))
	return err
}

// bareLoop runs the statements of the store with nothing around them.
func (d *database) bareLoop(ctx context.Context) error {
	claim, find := insertEffect.SQL()
	key, op := newID(), [16]byte(uuid.New())
	return d.pool.AcquireFunc(ctx, func(conn *pgxpool.Conn) error {
		var batch pgx.Batch
		batch.Queue(claim, int64(key[8])<<8|int64(key[9])<<16|int64(key[10])<<24|int64(key[11])<<32, key, op, nil, nil, int16(1), int16(1), true, tenant, method, fingerprintBytes, answerBytes,
			time.Now(), 24*time.Hour, 5*time.Minute, newID(), int64(100))
		batch.Queue(find, uuid.UUID(key).String(), tenant, op)
		results := conn.SendBatch(ctx, &batch)
		var at time.Time
		var open, fresh bool
		if err := results.QueryRow().Scan(&at, &open, &fresh, nil); err != nil {
			return err
		}
		return results.Close()
	})
}

// twoCommits is the usual design, as lean as it can be: a pending key, or what a
// duplicate finds instead; then the work and the answer.
func (d *database) twoCommits(ctx context.Context) error {
	_, find := insertEffect.SQL()
	key, op := newID(), [16]byte(uuid.New())
	return d.pool.AcquireFunc(ctx, func(conn *pgxpool.Conn) error {
		var claim, batch pgx.Batch
		claim.Queue(`INSERT INTO idempotency_keys
			(key, op, fpv, secret, decided, sealed, tenant, method, fingerprint, lease_until)
			VALUES ($1, $2, 1, 1, FALSE, FALSE, $3, $4, $5, now() + interval '8 seconds')
			ON CONFLICT DO NOTHING`, key, op, tenant, method, fingerprintBytes)
		claim.Queue(find, uuid.UUID(key).String(), tenant, op)
		if err := conn.SendBatch(ctx, &claim).Close(); err != nil {
			return err
		}
		batch.Queue("INSERT INTO effects (id, amount) VALUES ($1, $2)", newID(), int64(100))
		batch.Queue("UPDATE idempotency_keys SET decided = TRUE, lease_until = NULL, response = $3 WHERE key = $1 AND tenant = $2", key, tenant, answerBytes)
		return conn.SendBatch(ctx, &batch).Close()
	})
}

// newID is time-ordered, as all ids here are.
func newID() [16]byte { return [16]byte(uuid.Must(uuid.NewV7())) }

var (
	answerBytes, _   = proto.Marshal(anAnswer())
	fingerprintBytes = make([]byte, 32)
)
