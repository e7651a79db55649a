package idempotency_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sort"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/holdfast-dev/holdfast/pkg/apierror"
	"github.com/holdfast-dev/holdfast/pkg/idempotency"
)

// The effects of an intent. Nothing but the key keeps them from being two.
const executions = `
CREATE TABLE executions (key text NOT NULL);
CREATE TABLE begun (key text NOT NULL);`

var (
	insertExecution = idempotency.Compile(`INSERT INTO executions (key) SELECT $1 FROM claimed`)
	insertBegun     = idempotency.Compile(`INSERT INTO begun (key) SELECT $1 FROM claimed`)
)

// intent is one key and all that clients were told about it.
type intent struct {
	key        idempotency.Key
	minted     time.Time
	twoCommits bool

	mu       sync.Mutex
	first    time.Time // not before which it was first sent; zero while it was not
	answered time.Time // by when it was first answered
	answer   []byte
	open     bool // somebody was told nothing definite
}

// retries is a crowd of clients that make intents and send them again and again:
// at once, at the edge of the retention, and long after it. What must not be is
// noted in wrong.
type retries struct {
	db        *database
	clock     *clock
	retention time.Duration
	made      atomic.Int64

	mu      sync.Mutex
	intents []*intent // as they were minted
	wrong   []string
	seen    map[string]int
}

// startRetries has clients at work until the test, or the returned function, ends.
func startRetries(t *testing.T, db *database, c *clock) (*retries, func()) {
	t.Helper()
	db.exec(t, executions)
	r := &retries{db: db, clock: c, retention: 24 * time.Hour, seen: map[string]int{}}
	runCompleter(t, db.Store, func(ctx context.Context, a *idempotency.Attempt) error {
		r.note("taken over")
		_, err := a.Complete(ctx, anAnswer(), execute(a))
		return err
	})
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	var working sync.WaitGroup
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	for n := range uint64(6) {
		rng := rand.New(rand.NewPCG(seed, n))
		working.Go(func() {
			for ctx.Err() == nil {
				if in := r.pick(rng); in != nil {
					r.send(ctx, in, rng)
					r.made.Add(1)
				}
			}
		})
	}
	end := sync.OnceFunc(func() { cancel(); working.Wait() })
	t.Cleanup(end)
	return r, end
}

// more waits until so many more requests were answered.
func (r *retries) more(t testing.TB, n int64) {
	t.Helper()
	until := r.made.Load() + n
	require.Eventually(t, func() bool { return r.made.Load() >= until }, time.Minute, time.Millisecond, "the clients hang")
}

// ages at which intents are sent again, in hours.
var ages = []float64{0, 1, 12, 23, 23.5, 24, 24.5, 25, 48, 71, 73, 80, 96}

// pick makes an intent, which may be left for later, or takes an earlier one.
func (r *retries) pick(rng *rand.Rand) *intent {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.intents) == 0 || rng.IntN(10) < 4 {
		in := &intent{key: r.clock.mint(), twoCommits: rng.IntN(3) == 0}
		in.minted, _ = in.key.Minted()
		if rng.IntN(3) == 0 {
			in.key, _ = idempotency.ParseKey("intent-" + uuid.NewString())
		}
		r.intents = append(r.intents, in)
		if rng.IntN(4) == 0 {
			return nil
		}
		return in
	}
	age := time.Duration(ages[rng.IntN(len(ages))] * float64(time.Hour))
	then := r.clock.atMost().Add(-age)
	i := sort.Search(len(r.intents), func(i int) bool { return r.intents[i].minted.After(then) })
	return r.intents[max(0, min(len(r.intents)-1, i-rng.IntN(8)))]
}

// errGone is what a client sees of a replica that crashes, or is slow.
var errGone = errors.New("no answer came")

// send is one arrival of an intent. What was begun is finished, also when the clients
// are told to end: it is judged like all others.
func (r *retries) send(ctx context.Context, in *intent, rng *rand.Rand) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 30*time.Second)
	defer cancel()
	before := r.clock.atLeast()
	in.mu.Lock()
	if in.first.IsZero() {
		in.first = before
	}
	in.mu.Unlock()
	outcome, err := r.use(ctx, in, rng)
	r.judge(in, outcome, err, before, r.clock.atMost())
}

func (r *retries) use(ctx context.Context, in *intent, rng *rand.Rand) (idempotency.Outcome, error) {
	call := r.clock.call(in.key)
	if !in.twoCommits {
		return r.db.Insert(ctx, call, insertExecution, anAnswer(), in.key.String())
	}
	attempt, outcome, err := r.db.BeginInsert(ctx, call, insertBegun, r.db.ResourceID(call, "effect"), in.key.String())
	if attempt == nil || err != nil {
		return outcome, err
	}
	switch rng.IntN(4) {
	case 0:
		return idempotency.Outcome{}, errGone // crashed: the completer's
	case 1:
		return attempt.Seal(ctx, anAnswer())
	default:
		return attempt.Complete(ctx, anAnswer(), execute(attempt))
	}
}

// execute is the effect of an attempt, whoever completes it.
func execute(a *idempotency.Attempt) func(*pgx.Batch) {
	return func(b *pgx.Batch) { b.Queue("INSERT INTO executions (key) VALUES ($1)", a.Key.String()) }
}

// judge holds what a client was told against all that was told before.
func (r *retries) judge(in *intent, outcome idempotency.Outcome, err error, before, after time.Time) {
	in.mu.Lock()
	defer in.mu.Unlock()
	reason, _ := apierror.ReasonOf(err)
	bornFrom, bornUntil := in.minted, in.minted
	if _, timed := in.key.Minted(); !timed { // its retention counts from its first use
		bornFrom, bornUntil = in.first, in.answered
	}
	switch {
	case err == nil:
		if in.answer == nil {
			in.answer, in.answered = outcome.Raw, after
		}
		if !bytes.Equal(in.answer, outcome.Raw) {
			r.fault(in, "another answer")
		}
		if !bornUntil.IsZero() && before.After(bornUntil.Add(r.retention+slack)) {
			r.fault(in, "answered past its retention")
		}
		switch age := after.Sub(in.minted); {
		case age > 22*time.Hour && outcome.Replayed:
			r.note("replayed in its last hours")
		case age > 22*time.Hour:
			r.note("used for the first time in its last hours")
		}
	case reason == apierror.ReasonKeyExpired:
		if after.Before(bornFrom.Add(r.retention - slack)) {
			r.fault(in, "refused before its retention was over")
		}
		r.note("refused")
		if in.answer == nil && !in.open {
			r.note("refused, and never used")
		}
	case errors.Is(err, errGone), reason == apierror.ReasonKeyInFlight, reason == apierror.ReasonOutcomeUnknown:
		in.open = true
	default:
		r.fault(in, fmt.Sprintf("neither an answer nor 410: %v", err))
	}
}

func (r *retries) note(what string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.seen[what]++
}

func (r *retries) fault(in *intent, what string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.wrong = append(r.wrong, fmt.Sprintf("%s, minted %s: %s", in.key, in.minted.Format(time.DateTime), what))
}

// audit sends every intent once more, waits until nothing is undecided, and
// compares what clients were told with what was done.
func (r *retries) audit(t *testing.T) {
	t.Helper()
	rng := rand.New(rand.NewPCG(1, 1))
	for _, in := range r.intents {
		r.send(t.Context(), in, rng)
	}
	r.clock.pass(t, time.Minute) // leases
	eventually(t, "all decided", func() bool { return r.db.undecided(t) == 0 })
	for _, table := range []string{"executions", "begun"} {
		done := r.count(t, table)
		for _, in := range r.intents {
			switch n := done[in.key.String()]; {
			case n > 1:
				r.fault(in, fmt.Sprintf("executed %d times, by %s", n, table))
			case n == 1 && in.answer == nil && !in.open:
				r.fault(in, "executed, and always refused, by "+table)
			case n == 0 && in.answer != nil && (in.twoCommits || table == "executions"):
				r.fault(in, "answered and not executed, by "+table)
			}
		}
	}
}

func (r *retries) count(t *testing.T, table string) map[string]int {
	t.Helper()
	rows, err := r.db.pool.Query(t.Context(), "SELECT key, count(*) FROM "+table+" GROUP BY key")
	require.NoError(t, err)
	counted := map[string]int{}
	var (
		k string
		n int
	)
	_, err = pgx.ForEachRow(rows, []any{&k, &n}, func() error { counted[k] = n; return nil })
	require.NoError(t, err)
	return counted
}
