package drill

import (
	"cmp"
	"context"
	"strings"
	"time"

	"github.com/holdfast-dev/holdfast/test/invariants"
	"github.com/holdfast-dev/holdfast/test/load"
)

// How clients of a platform that is being broken try again. They outlast every
// fault, and the lease of whoever died with their request.
const (
	patienceOfAttempt = 3 * time.Second
	patienceInAll     = 30 * time.Second
	retriesOfClient   = 150 // more than fit into it
	pauseOfClient     = 200 * time.Millisecond
	// They come back within the recovery that they are given.
	longestPauseOfClient = 3 * time.Second
)

// recovery is how long connections may take to be made again, and a breaker that
// has opened to close.
const recovery = 7 * time.Second

// hasty are settings with short leases, in the proportions of the usual ones, so
// that a drill need not wait long for them to run out.
var hasty = map[string]string{
	"HOLDFAST_PROCESSOR_TIMEOUT": "1500ms",
	"HOLDFAST_IDEMPOTENCY_BOUND": "3500ms",
	"HOLDFAST_IDEMPOTENCY_LEASE": "4500ms",
	// Whoever waits for what a lease held has the answer well before the one that
	// was frozen goes on.
	"HOLDFAST_COMPLETER_INTERVAL": "250ms",
}

// endure breaks a platform under the load of clients that try again with the same
// key, and judges what became of their orders: each must be placed in the end,
// once.
func (s *stage) endure(ctx context.Context, drill string, o Options, do func(context.Context, *load.Run) error) (*Verdict, error) {
	began := time.Now()
	defer s.close(ctx)
	if err := s.set(ctx, &o); err != nil {
		return nil, err
	}
	shopper, visit, err := s.clients(o.Seed)
	if err != nil {
		return nil, err
	}

	v := newVerdict(drill, o)
	s.progress("load: %g requests a second; clients try again with the same key", o.Rate)
	run := load.Start(ctx, load.Plan{
		Rate: o.Rate, Operation: visit,
		Timeout: patienceOfAttempt, Patience: cmp.Or(s.patience, patienceInAll), Retries: retriesOfClient,
		Backoff: pauseOfClient, MaxBackoff: longestPauseOfClient,
	}, "before")
	err = pause(ctx, o.Quiet)
	if err == nil {
		run.Phase("during")
		err = do(ctx, run)
	}
	if err == nil {
		run.Phase("recovering")
		err = pause(ctx, recovery)
	}
	if err == nil {
		run.Phase("after")
		err = pause(ctx, o.Quiet)
	}
	v.add("", run.Stop())
	if err != nil {
		return nil, err
	}

	s.progress("waiting until everything is decided, then asking for every answer again and checking the invariants")
	audit, err := s.audit(ctx, func() []invariants.Attempt {
		wrong := shopper.askAgain(ctx)
		v.must("every answer is given again, byte for byte", wrong == 0, "%d are not", wrong)
		return shopper.history()
	})
	if err != nil {
		return nil, err
	}
	v.judgeEndurance(shopper.history())
	if s.judge != nil {
		s.judge(v)
	}
	v.audited(audit)
	return v.settle(time.Since(began)), nil
}

// clients are who places orders, and what they do with each arrival.
func (s *stage) clients(seed uint64) (*shopper, load.Operation, error) {
	if !s.fickle {
		shopper, err := s.shopper(seed, everyWay)
		if err != nil {
			return nil, nil, err
		}
		return shopper, shopper.visit, nil
	}
	customer, err := s.customer(seed, everyWay)
	if err != nil {
		return nil, nil, err
	}
	return customer.shopper, customer.visit, nil
}

// LeavesNothingBehind is the check that depends on how soon a platform recovers: of
// all of them, the only one that a busy machine can fail.
const LeavesNothingBehind = "they leave nothing behind: after them no attempt fails"

func (v *Verdict) judgeEndurance(history []invariants.Attempt) {
	var failed int64
	for _, p := range v.Phases {
		failed += p.Failed
	}
	v.must("every order is placed in the end", failed == 0, "%d of %d were not", failed, v.Sent)
	during, after := v.phase("", "during"), v.phase("", "after")
	v.must("the faults were felt", during.Retried > 0, "%d attempts failed", during.Retried)
	v.must(LeavesNothingBehind, after.Retried == 0 && after.Failed == 0, "%d did", after.Retried+after.Failed)
	untyped := 0
	for _, a := range history {
		if a.Failure != "" && a.Refusal == "" && (strings.HasPrefix(a.Failure, "grpc ") || strings.HasPrefix(a.Failure, "http ")) {
			untyped++
		}
	}
	v.must("every refusal has a reason", untyped == 0, "%d have none", untyped)
}
