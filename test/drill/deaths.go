package drill

import (
	"context"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/holdfast-dev/holdfast/cmd/holdfast/local"
	"github.com/holdfast-dev/holdfast/test/trap"
)

// deaths has a replica of each service die at each step of the protocol.
type deaths struct {
	*stage

	o      Options
	next   *trap.Point // where the next replica that is started dies
	missed []string    // where none has died
}

// vary sets the trap for the next replica.
func (d *deaths) vary(_ string, command *local.Command, _ *local.Environment) {
	if d.next != nil {
		command.Args = append(command.Args, "--die-at", d.next.String())
	}
}

// dyingBound is how long a replica is waited for that is to die: longer than a
// lease, which is what those wait for that die when they take something over.
const dyingBound = 10 * time.Second

// dieEverywhere visits every point of both services, in an order drawn from the
// seed. Half of the charges are answered with an error after they were made, so
// that there is something to seal, and to take over.
func (d *deaths) dieEverywhere(ctx context.Context) error {
	if err := d.script(ctx, d.o.Seed, takesAndFails.strikes()); err != nil {
		return err
	}
	random := rand.New(rand.NewPCG(d.o.Seed, 2)) // reproducible on purpose
	points := trap.All()
	for _, n := range random.Perm(2 * len(points)) {
		f := []*fleet{d.orders, d.payments}[n%2]
		if err := d.die(ctx, f, points[n/2]); err != nil {
			return err
		}
	}
	return d.script(ctx, d.o.Seed)
}

// die puts a replica in the first slot that dies at the point, waits until it has,
// and puts one there that lives.
func (d *deaths) die(ctx context.Context, f *fleet, at trap.Point) error {
	d.progress("%s dies at %s", f.service, at)
	d.next = &at
	err := f.crash(ctx, 0)
	d.next = nil
	switch {
	case f.dead(0): // it got no further
	case err != nil:
		return err
	default:
		bounded, cancel := context.WithTimeout(ctx, dyingBound)
		defer cancel()
		select {
		case <-f.in(0).process.Exited():
		case <-bounded.Done():
			d.missed = append(d.missed, f.service+" "+at.String())
		}
	}
	return f.crash(ctx, 0)
}

// judge notes whether every step was died at.
func (d *deaths) judge(v *Verdict) {
	found := "at all"
	if len(d.missed) > 0 {
		found = "none at " + strings.Join(d.missed, ", ")
	}
	v.must("a replica died at every step of the protocol", len(d.missed) == 0, "%s", found)
}
