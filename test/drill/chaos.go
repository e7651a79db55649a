package drill

import (
	"context"
	"math/rand/v2"
	"time"
)

// ChaosName is the name of the drill in which everything fails.
const ChaosName = "chaos"

func chaosDrill() Drill {
	return Drill{
		Name:  ChaosName,
		Short: "Everything at once: crashes at every step, freezes, a broken database, network and processor",
		Long: `Starts two replicas each of orders and payments, with a network between all parts;
places orders, sends some of them twice at once, cancels and edits them, with clients
that try again under the same idempotency key. Every replica dies at a step of the
protocol, or holds requests up there, drawn from the seed; one that has died is started
again, for another. Meanwhile
replicas are killed and stopped in their tracks, connections to Postgres end, Postgres
stops as in a power cut, the network is cut, frozen and slowed between any two parts,
and the card processor fails in every way. Then everything that was answered is asked
for again, the history of every key is checked for linearizability, and the invariants
are checked.`,
		Sabotages: []SabotageOf{
			{NoSeal, "that an outcome is unknown is answered without storing the answer first"},
			{NoUniqueConstraint, "the database takes a key twice, and ids are not derived from it"},
			{NoDerivedKeys, "each replica derives keys of its own"},
			{NewProcessorKeys, "the card processor gets a new idempotency key with every request"},
		},
		TakesPrevious: true,
		Rate:          "requests a second",
		Defaults:      Options{Duration: 30 * time.Second, Rate: 10, Replicas: 2, Quiet: 2 * time.Second, Seed: 1},
		Hold:          Chaos,
	}
}

// Chaos breaks everything under load, and judges it.
func Chaos(ctx context.Context, o Options) (*Verdict, error) {
	m := &mayhem{
		stage: &stage{settings: hasty, fickle: true, networked: true, patience: time.Minute}, o: o,
		random: rand.New(rand.NewPCG(o.Seed, 1)), // reproducible on purpose
	}
	m.variant = m.vary
	switch o.Sabotage {
	case NewProcessorKeys:
		m.inFront = withNewKeys
	case NoUniqueConstraint:
		m.schema = "ALTER TABLE idempotency_keys DROP CONSTRAINT idempotency_keys_pkey"
	}
	return m.endure(ctx, ChaosName, o, m.wreak)
}
