package drill

import (
	"context"
	"math/rand/v2"
	"time"

	"github.com/holdfast-dev/holdfast/test/load"
)

// CrashName is the name of the drill that kills replicas.
const CrashName = "crash"

func crashDrill() Drill {
	return Drill{
		Name:  CrashName,
		Short: "Kill replicas in the middle of everything: nothing is lost or done twice",
		Long: `Starts two replicas each of orders and payments; places orders with clients that
try again under the same idempotency key; kills a replica, drawn from the seed,
with SIGKILL, and starts another in its place, again and again. Then replicas of
each service die at each step of the protocol in turn: before and after each commit,
and before and after each call. It checks the invariants, and prints a verdict. Every
order must be placed in the end, once.`,
		Sabotages: []SabotageOf{
			{NoCompleter, "nobody finishes what a replica that died has begun"},
			{NewProcessorKeys, "the card processor gets a new idempotency key with every request"},
		},
		Rate:     "requests a second",
		Defaults: Options{Duration: 20 * time.Second, Rate: 30, Replicas: 2, Quiet: 2 * time.Second, Seed: 1},
		Hold:     Crash,
	}
}

// Crash kills replicas under load, and judges it.
func Crash(ctx context.Context, o Options) (*Verdict, error) {
	s := stage{settings: hasty}
	switch o.Sabotage {
	case NoCompleter:
		// With usual leases: those who start in the place of the dead look once.
		s.settings = withoutCompleter
	case NewProcessorKeys:
		s.inFront = withNewKeys
	}
	steps := &deaths{stage: &s, o: o}
	s.variant = steps.vary
	if o.Sabotage != NoCompleter {
		s.judge = steps.judge
	}
	return s.endure(ctx, CrashName, o, func(ctx context.Context, run *load.Run) error {
		random := rand.New(rand.NewPCG(o.Seed, 0)) // reproducible on purpose
		for end := time.Now().Add(o.Duration); time.Now().Before(end); {
			fleet := []*fleet{s.orders, s.payments}[random.IntN(2)]
			slot := random.IntN(o.Replicas)
			progress := run.Progress()
			s.progress("killing %s (%d sent, %d failed)", fleet.replicas[slot].Name, progress.Sent, progress.Failed)
			if err := fleet.crash(ctx, slot); err != nil {
				return err
			}
			if err := pause(ctx, time.Duration(random.Int64N(int64(time.Second)))); err != nil {
				return err
			}
		}
		if o.Sabotage == NoCompleter {
			return nil
		}
		return steps.dieEverywhere(ctx)
	})
}

// crash kills the replica in a slot, and starts another in its place.
func (f *fleet) crash(ctx context.Context, slot int) error {
	f.mu.Lock()
	old := f.replicas[slot]
	f.mu.Unlock()
	old.process.Kill()
	f.endpoints.Remove(old.Name)
	next, err := f.launch(ctx)
	if next != nil {
		f.mu.Lock()
		f.replicas[slot] = next
		f.mu.Unlock()
	}
	return err
}
