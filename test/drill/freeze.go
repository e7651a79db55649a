package drill

import (
	"context"
	"math/rand/v2"
	"time"

	"github.com/holdfast-dev/holdfast/cmd/holdfast/local"
	"github.com/holdfast-dev/holdfast/test/load"
	"github.com/holdfast-dev/holdfast/test/trap"
)

// FreezeName is the name of the drill that stops replicas in their tracks.
const FreezeName = "freeze"

func freezeDrill() Drill {
	return Drill{
		Name:  FreezeName,
		Short: "Stop replicas in their tracks until others have taken over: when they go on, they change nothing",
		Long: `Starts two replicas each of orders and payments; places, cancels and edits orders
with clients that try again under the same idempotency key; stops a replica, drawn
from the seed, with SIGSTOP until everything it owned belongs to somebody else, lets
it go on as if nothing had been, again and again; holds single requests up for as long
at a step of the protocol; checks the invariants; and prints a verdict. What a replica
still believes to own must be lost on it.`,
		Sabotages: []SabotageOf{
			{NoEpoch, "an outcome is stored without asking who owns the key by now"},
		},
		Rate:     "requests a second",
		Defaults: Options{Duration: 21 * time.Second, Rate: 30, Replicas: 2, Quiet: 2 * time.Second, Seed: 1},
		Hold:     Freeze,
	}
}

// Where single requests are held up, and how many.
var stallsAt = []trap.Step{trap.FirstCommit, trap.Call, trap.SecondCommit}

const stallEvery = 20

// frozen is longer than those leases, and than a sweep takes to come round.
const frozen = 7 * time.Second

// Freeze stops replicas under load, lets them go on, and judges it.
func Freeze(ctx context.Context, o Options) (*Verdict, error) {
	s := stage{settings: hasty, fickle: true}
	stalls := rand.New(rand.NewPCG(o.Seed, 1)) // reproducible on purpose
	s.variant = func(_ string, command *local.Command, _ *local.Environment) {
		point := trap.Point{Step: stallsAt[stalls.IntN(len(stallsAt))], After: stalls.IntN(2) == 0, Nth: stallEvery}
		command.Args = append(command.Args, "--stall-at", point.String(), "--stall-for", frozen.String())
		s.progress("%s holds every %dth request up for %s at %s", command.Name, stallEvery, frozen, point)
	}
	return s.endure(ctx, FreezeName, o, func(ctx context.Context, run *load.Run) error {
		random := rand.New(rand.NewPCG(o.Seed, 0)) // reproducible on purpose
		for end := time.Now().Add(o.Duration); time.Now().Before(end); {
			fleet := []*fleet{s.orders, s.payments}[random.IntN(2)]
			progress := run.Progress()
			s.progress("%d requests sent, %d failed", progress.Sent, progress.Failed)
			if err := s.freeze(ctx, fleet, random.IntN(o.Replicas)); err != nil {
				return err
			}
			if err := pause(ctx, time.Second); err != nil {
				return err
			}
		}
		return nil
	})
}

// freeze stops the replica in a slot until its leases have run out.
func (s *stage) freeze(ctx context.Context, f *fleet, slot int) error {
	r := f.in(slot)
	s.progress("stopping %s for %s", r.Name, frozen)
	if err := r.process.Pause(); err != nil {
		return err
	}
	err := pause(ctx, frozen)
	if goOn := r.process.Continue(); err == nil {
		err = goOn
	}
	s.progress("%s goes on", r.Name)
	return err
}

// in is the replica in a slot.
func (f *fleet) in(slot int) *replica {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.replicas[slot]
}
