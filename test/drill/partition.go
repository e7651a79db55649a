package drill

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/holdfast-dev/holdfast/test/invariants"
	"github.com/holdfast-dev/holdfast/test/load"
)

// PartitionName is the name of the drill with a broken network.
const PartitionName = "partition"

func partitionDrill() Drill {
	return Drill{
		Name:  PartitionName,
		Short: "Cut, freeze and slow the network between every two parts: nothing is lost or done twice",
		Long: `Starts one replica of everything, with a network in between; places orders with
clients that try again under the same idempotency key; breaks the network between
each pair of parts in each way, one after another, in an order drawn from the seed:
connections are reset and refused, packets vanish, answers come late; checks the
invariants; and prints a verdict. Every order must be placed in the end, once.`,
		Sabotages: []SabotageOf{
			{NewProcessorKeys, "the card processor gets a new idempotency key with every request"},
		},
		Rate:     "requests a second",
		Defaults: Options{Duration: 24 * time.Second, Rate: 30, Replicas: 1, Quiet: 2 * time.Second, Seed: 1},
		Hold:     Partition,
	}
}

// How clients of the partition drill try again. They outlast every fault.
const (
	patienceOfAttempt = 3 * time.Second
	retriesOfClient   = 50
	pauseOfClient     = 200 * time.Millisecond
)

// lateBy is how much later answers come over a slow network: long enough to be
// noticed, and not longer than anybody waits.
const lateBy = 300 * time.Millisecond

// Partition breaks the network between every two parts under load, and judges it.
func Partition(ctx context.Context, o Options) (*Verdict, error) {
	began := time.Now()
	s := stage{networked: true}
	if o.Sabotage == NewProcessorKeys {
		s.inFront = withNewKeys
	}
	defer s.close(ctx)
	if err := s.set(ctx, &o); err != nil {
		return nil, err
	}
	shopper, err := s.shopper(o.Seed, everyWay)
	if err != nil {
		return nil, err
	}

	v := newVerdict(PartitionName, o)
	o.Progress("load: %g requests a second; clients try again with the same key", o.Rate)
	run := load.Start(ctx, load.Plan{
		Rate: o.Rate, Operation: shopper.visit,
		Timeout: patienceOfAttempt, Retries: retriesOfClient, Backoff: pauseOfClient,
	}, "before")
	err = pause(ctx, o.Quiet)
	if err == nil {
		run.Phase("during")
		err = s.breakNetwork(ctx, o, run)
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

	o.Progress("waiting until everything is decided, then checking the invariants")
	audit, err := s.audit(ctx, shopper.history())
	if err != nil {
		return nil, err
	}
	v.judgePartition(shopper.history())
	v.audited(audit)
	return v.settle(time.Since(began)), nil
}

// recovery is how long connections may take to be made again, and a breaker that
// has opened to close.
const recovery = 7 * time.Second

// fault is one way to break one part of the network.
type fault struct {
	name  string
	apply func(*pair)
	pair  *pair
}

// breakNetwork breaks each pair in each way. Half of the time everything is
// whole: what has piled up is worked off, and the next fault hits a platform that
// works.
func (s *stage) breakNetwork(ctx context.Context, o Options, run *load.Run) error {
	var faults []fault
	for _, p := range s.pairs {
		faults = append(faults,
			fault{"is cut", (*pair).cut, p},
			fault{"is frozen", (*pair).freeze, p},
			fault{fmt.Sprintf("answers %s late", lateBy), func(p *pair) { p.slow(lateBy) }, p})
	}
	random := rand.New(rand.NewPCG(o.Seed, 0)) // reproducible on purpose
	random.Shuffle(len(faults), func(i, j int) { faults[i], faults[j] = faults[j], faults[i] })
	each := o.Duration / time.Duration(2*len(faults))
	for _, f := range faults {
		progress := run.Progress()
		o.Progress("between %s the network %s (%d sent, %d failed)", f.pair.name, f.name, progress.Sent, progress.Failed)
		f.apply(f.pair)
		err := pause(ctx, each)
		f.pair.heal()
		if err == nil {
			err = pause(ctx, each)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (v *Verdict) judgePartition(history []invariants.Attempt) {
	var failed int64
	for _, p := range v.Phases {
		failed += p.Failed
	}
	v.must("every order is placed in the end", failed == 0, "%d of %d were not", failed, v.Sent)
	during, after := v.phase("", "during"), v.phase("", "after")
	v.must("the faults were felt", during.Retried > 0, "%d attempts failed", during.Retried)
	v.must("they leave nothing behind: after them no attempt fails", after.Retried == 0 && after.Failed == 0, "%d did", after.Retried+after.Failed)
	untyped := 0
	for _, a := range history {
		if a.Failure != "" && a.Refusal == "" && (strings.HasPrefix(a.Failure, "grpc ") || strings.HasPrefix(a.Failure, "http ")) {
			untyped++
		}
	}
	v.must("every refusal has a reason", untyped == 0, "%d have none", untyped)
}

// withNewKeys stands in front of the processor and gives each request an
// idempotency key of its own.
func withNewKeys(processor string) http.Handler {
	target, err := url.Parse(processor)
	if err != nil {
		panic(err) // an address that we have made
	}
	return &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(target)
			if r.Out.Header.Get("Idempotency-Key") != "" {
				r.Out.Header.Set("Idempotency-Key", uuid.NewString())
			}
		},
		ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelError), // the network is broken on purpose
	}
}
