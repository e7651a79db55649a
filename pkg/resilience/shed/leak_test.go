package shed

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// TestNothingLeaks: whatever becomes of calls, they give back what they held.
func TestNothingLeaks(t *testing.T) {
	s := newTest(t, Config{Enabled: true, Min: 2, Initial: 2, Max: 4, MaxWait: 20 * time.Millisecond})
	conn := serve(t, s, worker{work: func(ctx context.Context) error {
		switch rand.IntN(5) {
		case 0:
			panic("a bug")
		case 1:
			<-ctx.Done()
			return ctx.Err()
		case 2:
			return errors.New("failed")
		case 3:
			time.Sleep(time.Duration(rand.IntN(10)) * time.Millisecond) // does not listen
			return nil
		default:
			return nil
		}
	}})
	var calls sync.WaitGroup
	for range 32 {
		calls.Go(func() {
			for range 25 {
				ctx, cancel := context.WithTimeout(t.Context(), time.Duration(rand.IntN(30))*time.Millisecond)
				if rand.IntN(3) == 0 {
					time.AfterFunc(time.Duration(rand.IntN(10))*time.Millisecond, cancel)
				}
				_ = invoke(ctx, conn, []string{sheddable, sheddablePlus, critical, criticalPlus}[rand.IntN(4)])
				cancel()
			}
		})
	}
	calls.Wait()
	eventually(t, s.empty, "all places are free, and nobody waits")
	r := s.read()
	for _, o := range []outcome{acceptedAtOnce, acceptedAfterWait, shedWait, shedOutranked, shedDeadline} {
		var n int64
		for l := range levels {
			n += r.counts[l][o]
		}
		t.Logf("%s, %s: %d", labels[o].outcome, labels[o].reason, n)
	}
	for range r.limit {
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		require.NotEqual(t, codes.Unavailable, status.Code(invoke(ctx, conn, criticalPlus)))
		cancel()
		eventually(t, s.empty, "one after the other")
	}
}

func TestAPanicGivesItsPlaceBack(t *testing.T) {
	s := newTest(t, Config{Enabled: true, Min: 1, Initial: 1, Max: 1})
	conn := serve(t, s, worker{work: func(context.Context) error { panic("a bug") }})
	for range 5 {
		require.Equal(t, codes.Internal, status.Code(invoke(t.Context(), conn, critical)), "and is not refused")
	}
	require.True(t, s.empty())
	require.Zero(t, s.methods[critical].pace, "how long a call takes, it does not tell")
}
