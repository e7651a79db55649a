package drill

import (
	"context"
	"time"

	"github.com/holdfast-dev/holdfast/test/load"
)

// SlowName is the name of the drill with a slow dependency.
const SlowName = "slow"

func slowDrill() Drill {
	return Drill{
		Name:  SlowName,
		Short: "Have payments answer too late: orders must not become slow with it",
		Long: `Starts one replica of everything, with a network in between; places orders and
reads them; has what comes back from payments arrive later than anybody waits for
it; lets it recover; checks the invariants; and prints a verdict. What needs no
payments must not notice, and orders are accepted all the time: they are paid when
payments is back.`,
		Sabotages: []SabotageOf{
			{NoBulkhead, "any number of calls wait for payments at once"},
			{NoBreaker, "payments is asked again and again, however long it has not answered"},
		},
		Rate:     "orders a second",
		Defaults: Options{Duration: 12 * time.Second, Rate: 30, Replicas: 1, Quiet: 3 * time.Second, Seed: 1},
		Hold:     Slow,
	}
}

// Kinds of traffic of the slow drill.
const (
	placing = "orders placed"
	reading = "reads"
)

// readsOfOrders is how many reads there are for each order.
const readsOfOrders = 1

// untilOpen is how long a breaker may take to open from when its dependency
// became slow: the longest call, and time for some of them to have ended.
const untilOpen = chargeTimeout + 2*time.Second

// chargeTimeout is how long payments may work on a charge; a call of it is given
// up then. TestTheSlowDrillKnowsHowLongAChargeTakes holds it to the policy.
const chargeTimeout = 4 * time.Second

// Slow has payments answer too late under load, and judges it. The rate is that
// of orders; they are placed over HTTP, so that they share the one connection of
// the gateway with the reads.
func Slow(ctx context.Context, o Options) (*Verdict, error) {
	began := time.Now()
	s := stage{networked: true, settings: slowSettings(o.Sabotage)}
	defer s.close(ctx)
	if err := s.set(ctx, &o); err != nil {
		return nil, err
	}
	shopper, err := s.shopper(o.Seed, []way{{false, load.Reused}})
	if err != nil {
		return nil, err
	}
	products, err := s.products()
	if err != nil {
		return nil, err
	}
	read, err := s.placedBefore(shopper)
	if err != nil {
		return nil, err
	}

	v := newVerdict(SlowName, o)
	breaker := watchBreaker(ctx, s.orders.replicas[0].Replica, "payments")
	s.progress("load: %g orders a second and %g reads, client retries off", o.Rate, o.Rate*readsOfOrders)
	all := flows{{placing, load.Start(ctx, load.Plan{Rate: o.Rate, Operation: shopper.visit}, "before")}}
	// The first order is there to be read when the reads begin.
	err = pause(ctx, time.Second)
	all = append(all, flow{reading, load.Start(ctx, load.Plan{
		Rate: o.Rate * readsOfOrders, Operation: mixed(o.Seed, products.ask, read.ask),
	}, "before")})
	if err == nil {
		err = s.slowDown(ctx, o, all)
	}
	all.stop(v)
	opened, last := breaker.stop()
	if err != nil {
		return nil, err
	}

	s.progress("waiting until everything is decided, then checking the invariants")
	audit, err := s.audit(ctx, shopper.history)
	if err != nil {
		return nil, err
	}
	v.judgeSlow(opened, last)
	v.audited(audit)
	return v.settle(time.Since(began)), nil
}

// slowSettings are those of a small replica, a quarter of what is usual, so that
// it takes few orders to fill it; and what takes a safeguard away.
func slowSettings(sabotage Sabotage) map[string]string {
	settings := map[string]string{
		"HOLDFAST_MAX_STREAMS":             "64",
		"HOLDFAST_SHED_MAX":                "32",
		"HOLDFAST_PAYMENTS_MAX_CONCURRENT": "32",
	}
	switch sabotage {
	case NoBulkhead:
		settings["HOLDFAST_PAYMENTS_MAX_CONCURRENT"] = "100000"
	case NoBreaker:
		settings["HOLDFAST_PAYMENTS_BREAKER_MIN_CALLS"] = "1000000000"
	}
	return settings
}

// tooLate is by how much answers of payments are late: nobody waits as long.
const tooLate = chargeTimeout + 2*time.Second

// Phases of the slow drill beside before and after.
const (
	whileUnknown = "slow, closed"  // the breaker has not noticed yet
	whileOpen    = "slow, open"    // it has
	whileHealing = "payments back" // and probes
)

func (s *stage) slowDown(ctx context.Context, o Options, all flows) error {
	if err := pause(ctx, o.Quiet); err != nil {
		return err
	}
	s.progress("payments answers %s late", tooLate)
	all.phase(whileUnknown)
	s.between(ordersPayments).slow(tooLate)
	if err := pause(ctx, untilOpen); err != nil {
		return err
	}
	s.progress("the breaker has had time to open (%d failed)", all.progress().Failed)
	all.phase(whileOpen)
	if err := pause(ctx, max(o.Duration-untilOpen, time.Second)); err != nil {
		return err
	}
	s.progress("payments answers at once again")
	all.phase(whileHealing)
	s.between(ordersPayments).heal()
	// A breaker that has just opened stays so for 5 s and a fifth, and probes.
	if err := pause(ctx, 7*time.Second); err != nil {
		return err
	}
	all.phase("after")
	return pause(ctx, o.Quiet)
}

// judgeSlow says what must hold. Times are judged by how late payments was, which
// no machine is too slow for.
func (v *Verdict) judgeSlow(opened bool, last string) {
	var failedReads, failedOrders int64
	var slowest float64
	for _, p := range v.Phases {
		switch p.Traffic {
		case reading:
			failedReads += p.Failed
			slowest = max(slowest, p.P99)
		case placing:
			failedOrders += p.Failed
		}
	}
	v.must("what needs no payments does not fail", failedReads == 0, "%d reads failed", failedReads)
	v.must("and is not slow: a read's p99 is under a tenth of how late payments is", slowest < tooLate.Seconds()/10,
		"%s of %s", seconds(slowest), tooLate)
	v.must("every order is accepted, to be paid later", failedOrders == 0, "%d failed", failedOrders)
	v.must("the breaker opens, and closes when payments is back", opened && last == "closed", "opened: %t, at the end: %s", opened, last)
	open := v.phase(placing, whileOpen)
	v.must("while it is open, nine of ten orders are accepted in a quarter of that time", open.P90 < tooLate.Seconds()/4, "%s", seconds(open.P90))
}
