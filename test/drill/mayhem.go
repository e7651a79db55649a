package drill

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	randv2 "math/rand/v2"
	"os"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/holdfast-dev/holdfast/cmd/holdfast/local"
	"github.com/holdfast-dev/holdfast/test/load"
	"github.com/holdfast-dev/holdfast/test/trap"
)

// mayhem breaks a stage in every way that the other drills break one, all at once.
type mayhem struct {
	*stage

	o Options

	drawing  sync.Mutex
	random   *randv2.Rand
	armed    bool           // new replicas die or stall at a step
	launched map[string]int // by service
}

// draw returns a number below n.
func (m *mayhem) draw(n int) int {
	m.drawing.Lock()
	defer m.drawing.Unlock()
	return m.random.IntN(n)
}

// vary makes the next replica what it is: one of the release before, or one that
// dies or stalls at a step; and by the sabotage, one that derives keys of its own.
func (m *mayhem) vary(service string, command *local.Command, environment *local.Environment) {
	m.drawing.Lock()
	defer m.drawing.Unlock()
	if m.launched == nil {
		m.launched = map[string]int{}
	}
	m.launched[service]++
	if m.o.Sabotage == NoDerivedKeys || m.o.Sabotage == NoUniqueConstraint {
		secret := make([]byte, 32)
		_, _ = rand.Read(secret) // never fails
		environment.DerivationSecrets = "v1:" + hex.EncodeToString(secret)
	}
	if m.o.Previous != "" && m.launched[service]%2 == 0 {
		command.Path, command.Args = m.o.Previous, []string{"serve", service}
		return
	}
	if m.armed {
		point := trap.Point{
			Step:  trap.Steps[m.random.IntN(len(trap.Steps))],
			After: m.random.IntN(2) == 0,
			Nth:   1 + m.random.Int64N(mostPassages),
		}
		if m.random.IntN(3) == 0 {
			command.Args = append(command.Args, "--stall-at", point.String(), "--stall-for", frozen.String())
			m.progress("%s will stall at %s", command.Name, point)
			return
		}
		command.Args = append(command.Args, "--die-at", point.String())
		m.progress("%s will die at %s", command.Name, point)
	}
}

// mostPassages is how often a replica passes a step at most before it dies there.
const mostPassages = 40

// wreak breaks everything until the drill's time is over, and leaves everything
// whole.
func (m *mayhem) wreak(ctx context.Context, run *load.Run) error {
	wild, cancel := context.WithTimeout(ctx, m.o.Duration)
	defer cancel()
	m.arm(true)
	var work errgroup.Group
	work.Go(func() error { return m.revive(wild) })
	work.Go(func() error { return m.freezeOne(wild) })
	work.Go(func() error { return m.strike(wild, run) })
	err := work.Wait()
	if ctx.Err() != nil {
		return ctx.Err()
	}
	m.arm(false)
	m.progress("everything is whole again")
	for _, f := range []*fleet{m.payments, m.orders} { // those that are armed go
		for slot := range m.o.Replicas {
			if e := f.crash(ctx, slot); err == nil {
				err = e
			}
		}
	}
	return err
}

func (m *mayhem) arm(armed bool) {
	m.drawing.Lock()
	m.armed = armed
	m.drawing.Unlock()
}

// revive starts a replica in the place of each that has died, until ctx ends.
func (m *mayhem) revive(ctx context.Context) error {
	for pause(ctx, pollEvery) == nil {
		for _, f := range []*fleet{m.payments, m.orders} {
			for slot := range m.o.Replicas {
				r := f.in(slot)
				select {
				case <-r.process.Exited():
				default:
					continue
				}
				m.progress("%s has died", r.Name)
				// One that dies before it is ready is found dead the next time.
				if err := f.crash(context.WithoutCancel(ctx), slot); err != nil && !f.dead(slot) {
					return err
				}
			}
		}
	}
	return nil
}

// dead reports whether the replica in a slot is gone.
func (f *fleet) dead(slot int) bool {
	select {
	case <-f.in(slot).process.Exited():
		return true
	default:
		return false
	}
}

// freezeOne stops one replica after another in its tracks, until ctx ends. One
// that dies meanwhile is somebody else's business.
func (m *mayhem) freezeOne(ctx context.Context) error {
	for pause(ctx, time.Duration(m.draw(2000))*time.Millisecond) == nil {
		f := []*fleet{m.orders, m.payments}[m.draw(2)]
		err := m.freeze(ctx, f, m.draw(m.o.Replicas))
		if err != nil && ctx.Err() == nil && !errors.Is(err, os.ErrProcessDone) {
			return err
		}
	}
	return nil
}

// strike breaks the database, the network and the processor, and kills replicas,
// one after another until ctx ends. What it breaks it mends.
func (m *mayhem) strike(ctx context.Context, run *load.Run) error {
	for pause(ctx, time.Duration(200+m.draw(600))*time.Millisecond) == nil {
		if err := m.deed(context.WithoutCancel(ctx), run); err != nil {
			return err
		}
	}
	return nil
}

// deed does one of the bad things.
func (m *mayhem) deed(ctx context.Context, run *load.Run) error {
	switch m.draw(5) {
	case 0:
		f, slot := []*fleet{m.orders, m.payments}[m.draw(2)], m.draw(m.o.Replicas)
		m.progress("killing %s", f.in(slot).Name)
		f.in(slot).process.Kill() // revived by the other
		return nil
	case 1:
		return m.strikePostgres(ctx, run, m.draw(3) > 0)
	case 2, 3:
		p := m.pairs[m.draw(len(m.pairs))]
		do := []func(*pair){(*pair).cut, (*pair).freeze, func(p *pair) { p.slow(lateBy) }}[m.draw(3)]
		m.progress("breaking the network between %s", p.name)
		do(p)
		defer p.heal()
		return pause(ctx, time.Duration(200+m.draw(1300))*time.Millisecond)
	default:
		trouble := troubles[m.draw(len(troubles))]
		m.progress("the processor %s", trouble.name)
		if err := m.script(ctx, m.o.Seed, trouble.strikes()); err != nil {
			return err
		}
		if err := pause(ctx, time.Duration(500+m.draw(1500))*time.Millisecond); err != nil {
			return err
		}
		return m.script(ctx, m.o.Seed)
	}
}
