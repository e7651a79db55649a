package drill

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/http/httputil"
	"net/url"
	"time"

	"github.com/google/uuid"

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

// lateBy is how much later answers come over a slow network: long enough to be
// noticed, and not longer than anybody waits.
const lateBy = 300 * time.Millisecond

// Partition breaks the network between every two parts under load, and judges it.
func Partition(ctx context.Context, o Options) (*Verdict, error) {
	s := stage{networked: true}
	if o.Sabotage == NewProcessorKeys {
		s.inFront = withNewKeys
	}
	return s.endure(ctx, PartitionName, o, func(ctx context.Context, run *load.Run) error {
		return s.breakNetwork(ctx, o, run)
	})
}

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
		s.progress("between %s the network %s (%d sent, %d failed)", f.pair.name, f.name, progress.Sent, progress.Failed)
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

// withNewKeys stands in front of the processor and gives each request an
// idempotency key of its own.
func withNewKeys(processor string) http.Handler {
	target, err := url.Parse(processor)
	if err != nil {
		panic(err) // the stage has made it of an address that it listens on
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
