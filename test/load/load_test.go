package load_test

import (
	"context"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/holdfast-dev/holdfast/test/load"
)

// stallingServer answers at once, except for one second in which it answers
// nobody: the garbage collector, a lock, a leader that was lost.
func stallingServer() load.Operation {
	start := time.Now()
	return func(context.Context, load.Arrival) load.Verdict {
		if at := time.Since(start); at >= time.Second && at < 2*time.Second {
			time.Sleep(2*time.Second - at)
		}
		time.Sleep(time.Millisecond)
		return load.Verdict{}
	}
}

func TestArrivalsGoOnWhileTheServerStalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		run := load.Start(t.Context(), load.Plan{Rate: 100, Operation: stallingServer()}, "all")

		time.Sleep(1900 * time.Millisecond)
		require.InDelta(t, 90, run.Progress().Outstanding, 2, "what was due in the stall must be under way")

		time.Sleep(1100 * time.Millisecond)
		report := run.Stop()
		require.InDelta(t, 300, report.Sent(), 1)
		require.Zero(t, report.Failures())
		// A third of the requests met the stall, and the report must say so.
		require.Greater(t, report.Phases[0].P99, 900*time.Millisecond)
		require.Equal(t, time.Millisecond, report.Phases[0].P50)
	})
}

// The control of the test above: a closed loop, one worker that waits for each
// answer, meets the same stall once, and its 99th percentile says that nothing
// ever happened.
func TestAClosedLoopWouldHideTheStall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		operation := stallingServer()
		var latencies []time.Duration
		for start := time.Now(); time.Since(start) < 3*time.Second; {
			sent := time.Now()
			operation(t.Context(), load.Arrival{})
			latencies = append(latencies, time.Since(sent))
		}
		slices.Sort(latencies)
		require.Equal(t, time.Millisecond, latencies[len(latencies)*99/100])
	})
}

func TestLatencyCountsFromTheTimeARequestWasDue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		run := load.Start(t.Context(), load.Plan{
			Rate:    10,
			Retries: 1,
			Backoff: 300 * time.Millisecond,
			Operation: func(_ context.Context, a load.Arrival) load.Verdict {
				time.Sleep(100 * time.Millisecond)
				if a.Attempt == 0 {
					return load.Verdict{Failure: &load.Failure{Kind: load.Reset, Retryable: true}}
				}
				return load.Verdict{}
			},
		}, "all")
		time.Sleep(950 * time.Millisecond)
		report := run.Stop()
		require.Zero(t, report.Failures())
		require.Equal(t, report.Sent(), report.Retried())
		require.InDelta(t, 500*time.Millisecond, report.Phases[0].P50, float64(time.Millisecond))
	})
}

func TestARetryKeepsTheKeyAndEveryArrivalHasItsOwn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		keys := map[string][]int64{}
		run := load.Start(t.Context(), load.Plan{
			Rate:    10,
			Retries: 2,
			Operation: func(_ context.Context, a load.Arrival) load.Verdict {
				mu.Lock()
				defer mu.Unlock()
				keys[a.Key] = append(keys[a.Key], a.Number)
				return load.Verdict{Failure: &load.Failure{Kind: load.Reset, Retryable: true}}
			},
		}, "all")
		time.Sleep(950 * time.Millisecond)
		report := run.Stop()
		require.Equal(t, map[string]int64{load.Reset: 10}, report.Failed())
		require.Len(t, keys, 10)
		for _, numbers := range keys {
			require.Equal(t, []int64{numbers[0], numbers[0], numbers[0]}, numbers)
		}
	})
}

func TestRetriesAreOffUnlessAskedForAndNeverAgainstAdvice(t *testing.T) {
	for _, test := range []struct {
		name      string
		retries   int
		retryable bool
	}{
		{"off", 0, true},
		{"on, but the failure is final", 3, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				run := load.Start(t.Context(), load.Plan{
					Rate:    10,
					Retries: test.retries,
					Operation: func(context.Context, load.Arrival) load.Verdict {
						return load.Verdict{Failure: &load.Failure{Kind: "http 503", Retryable: test.retryable}}
					},
				}, "all")
				time.Sleep(950 * time.Millisecond)
				report := run.Stop()
				require.Zero(t, report.Retried())
				require.EqualValues(t, 10, report.Failures())
			})
		})
	}
}

func TestTooManyOutstandingIsAFailureNeverADelay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		run := load.Start(t.Context(), load.Plan{
			Rate:           100,
			MaxOutstanding: 5,
			Operation: func(ctx context.Context, _ load.Arrival) load.Verdict {
				time.Sleep(5 * time.Second)
				return load.Verdict{}
			},
		}, "all")
		time.Sleep(995 * time.Millisecond)
		report := run.Stop()
		require.EqualValues(t, 100, report.Sent())
		require.Equal(t, map[string]int64{load.NotSent: 95}, report.Failed())
	})
}

func TestAnArrivalBelongsToThePhaseInWhichItWasDue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		run := load.Start(t.Context(), load.Plan{
			Rate: 10,
			Operation: func(_ context.Context, a load.Arrival) load.Verdict {
				time.Sleep(time.Second) // answered in a later phase
				if a.Number >= 10 && a.Number < 20 {
					return load.Verdict{Failure: load.Wrong("not what was asked for")}
				}
				return load.Verdict{Replayed: a.Number >= 20}
			},
		}, "before")
		time.Sleep(950 * time.Millisecond)
		run.Phase("during")
		time.Sleep(time.Second)
		run.Phase("after")
		time.Sleep(time.Second)
		report := run.Stop()

		require.Len(t, report.Phases, 3)
		for i, want := range []struct {
			name             string
			failed, replayed int64
		}{{"before", 0, 0}, {"during", 10, 0}, {"after", 0, 10}} {
			phase := report.Phases[i]
			require.Equal(t, want.name, phase.Name)
			require.EqualValues(t, 10, phase.Sent)
			require.Equal(t, want.failed, phase.Failures())
			require.Equal(t, want.replayed, phase.Replayed)
		}
		require.Equal(t, "not what was asked for", report.Examples[load.WrongAnswer])
	})
}

func TestStopWaitsForWhatIsUnderWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		answered := 0
		run := load.Start(t.Context(), load.Plan{
			Rate: 1,
			Operation: func(context.Context, load.Arrival) load.Verdict {
				time.Sleep(3 * time.Second)
				answered++
				return load.Verdict{}
			},
		}, "all")
		time.Sleep(500 * time.Millisecond)
		require.EqualValues(t, 1, run.Stop().Sent())
		require.Equal(t, 1, answered)
	})
}

func TestPatienceEndsRetries(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		attempts := 0
		run := load.Start(t.Context(), load.Plan{
			Rate: 1, Retries: 1000, Backoff: time.Second, Patience: 10 * time.Second,
			Operation: func(context.Context, load.Arrival) load.Verdict {
				attempts++
				return load.Verdict{Failure: &load.Failure{Kind: load.Refused, Retryable: true}}
			},
		}, "all")
		time.Sleep(500 * time.Millisecond)
		report := run.Stop()
		require.EqualValues(t, 1, report.Failures())
		require.Equal(t, 12, attempts, "one a second, the last when its patience was over")
	})
}

// TestPausesGrow up to a bound, and differ: clients that all come back at one time
// would come back as a flood.
func TestPausesGrow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var sent []time.Time
		run := load.Start(t.Context(), load.Plan{
			Rate: 1, Retries: 60, Backoff: 100 * time.Millisecond, MaxBackoff: 800 * time.Millisecond,
			Operation: func(context.Context, load.Arrival) load.Verdict {
				sent = append(sent, time.Now())
				return load.Verdict{Failure: &load.Failure{Kind: load.Refused, Retryable: true}}
			},
		}, "all")
		time.Sleep(500 * time.Millisecond)
		require.EqualValues(t, 60, run.Stop().Retried())
		different := map[time.Duration]bool{}
		for n := range len(sent) - 1 {
			pause, longest := sent[n+1].Sub(sent[n]), min(100*time.Millisecond<<min(n, 10), 800*time.Millisecond)
			require.LessOrEqual(t, pause, longest)
			require.Greater(t, pause, longest/2)
			different[pause] = true
		}
		require.Greater(t, len(different), 50)
	})
}

func TestEndLetsWhatIsUnderWayGoOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		run := load.Start(t.Context(), load.Plan{
			Rate: 1,
			Operation: func(context.Context, load.Arrival) load.Verdict {
				time.Sleep(5 * time.Second)
				return load.Verdict{}
			},
		}, "all")
		time.Sleep(500 * time.Millisecond)
		run.End()
		time.Sleep(3 * time.Second)
		require.Equal(t, load.Progress{Sent: 1, Outstanding: 1}, run.Progress())
		require.EqualValues(t, 1, run.Stop().Sent())
	})
}
