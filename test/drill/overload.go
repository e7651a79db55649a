package drill

import (
	"context"
	"math/rand/v2"
	"time"

	"github.com/holdfast-dev/holdfast/cmd/holdfast/local"
	"github.com/holdfast-dev/holdfast/test/load"
)

// OverloadName is the name of the drill with too much load.
const OverloadName = "overload"

func overloadDrill() Drill {
	return Drill{
		Name:  OverloadName,
		Short: "Ask five times what the database can do: what is critical must not notice",
		Long: `Starts one replica of everything, with a network in between; has the database of
orders become slow, so that it is known what orders can do; sends what is critical
at half of that, and then a flood of what is not, five times of it together; ends
the flood; checks the invariants; and prints a verdict. What is critical must be
answered, what is too much must be refused with a time to come back, and after the
flood all must be as before.`,
		Sabotages: []SabotageOf{
			{NoShedding, "every request is accepted"},
		},
		Rate:     "queries a second that the database is made to do",
		Defaults: Options{Duration: 8 * time.Second, Rate: 50, Replicas: 1, Quiet: 4 * time.Second, Seed: 1},
		Hold:     Overload,
	}
}

// Kinds of traffic of the overload drill.
const (
	critical  = "critical"
	sheddable = "sheddable"
	flood     = "flood"
)

// What is sent, as parts of what the database can do. An order and what is read
// beside it take about queriesOfCritical each.
const (
	partOfCritical    = 0.4
	queriesOfCritical = 2
	partOfSheddable   = 0.2
	timesTooMuch      = 5
)

// patienceOfClient is how long clients of the overload drill wait: an answer
// after that is none.
const patienceOfClient = 3 * time.Second

// untilRecovered is how long the platform may take until all is as it was before
// the flood.
const untilRecovered = 2 * time.Second

// Overload asks more of orders than its database can do, and judges it. The rate
// is how many queries a second the database is made to do: each takes as long as
// it takes the connections of the pool to make so many.
func Overload(ctx context.Context, o Options) (*Verdict, error) {
	began := time.Now()
	s := stage{networked: true}
	if o.Sabotage == NoShedding {
		s.settings = map[string]string{"HOLDFAST_SHED_ENABLED": "false"}
	}
	defer s.close(ctx)
	if err := s.set(ctx, &o); err != nil {
		return nil, err
	}
	shopper, err := s.shopper(o.Seed, everyWay[:2])
	if err != nil {
		return nil, err
	}
	operations, err := s.overloadOperations(o.Seed, shopper)
	if err != nil {
		return nil, err
	}

	v := newVerdict(OverloadName, o)
	all, err := s.flood(ctx, o, operations)
	all.stop(v)
	if err != nil {
		return nil, err
	}
	s.between(withDatabase(local.Orders)).heal()

	s.progress("waiting until everything is decided, then checking the invariants")
	audit, err := s.audit(ctx, shopper.history)
	if err != nil {
		return nil, err
	}
	v.judgeOverload()
	v.audited(audit)
	return v.settle(time.Since(began)), nil
}

// operations are what is sent, by kind of traffic.
type operations map[string]load.Operation

// overloadOperations: critical are orders, and each of them read again some
// times; sheddable is looking around.
func (s *stage) overloadOperations(seed uint64, shopper *shopper) (operations, error) {
	read, err := s.placedBefore(shopper)
	if err != nil {
		return nil, err
	}
	products, err := s.products()
	if err != nil {
		return nil, err
	}
	listed, err := s.listed()
	if err != nil {
		return nil, err
	}
	place := func(ctx context.Context, a load.Arrival, _ *rand.Rand) load.Verdict { return shopper.visit(ctx, a) }
	return operations{
		"":        shopper.visit,
		critical:  mixed(seed, place, read.ask, read.ask, read.ask),
		sheddable: refusedInTime(mixed(seed+1, products.ask, listed.ask)),
		flood:     refusedInTime(mixed(seed+2, products.ask, listed.ask)),
	}, nil
}

// noTimeToComeBack is the failure of a refusal that does not say when to try
// again.
const noTimeToComeBack = "refused without a time to come back"

// refusedInTime has a refusal that says nothing about when to come back fail as
// what it is.
func refusedInTime(operation load.Operation) load.Operation {
	return func(ctx context.Context, a load.Arrival) load.Verdict {
		verdict := operation(ctx, a)
		if f := verdict.Failure; f != nil && f.Reason == overloaded && f.RetryAfter <= 0 {
			verdict.Failure = &load.Failure{Kind: noTimeToComeBack, Detail: f.Detail}
		}
		return verdict
	}
}

// overloaded is the reason with which a server sheds.
const overloaded = "OVERLOADED"

// flood makes the database slow, and floods it.
func (s *stage) flood(ctx context.Context, o Options, send operations) (all flows, err error) {
	start := func(traffic string, rate float64, phase string) {
		plan := load.Plan{Rate: rate, Operation: send[traffic], Timeout: patienceOfClient}
		all = append(all, flow{traffic, load.Start(ctx, plan, phase)})
	}
	s.progress("placing some orders, to be read")
	first := load.Start(ctx, load.Plan{Rate: 20, Operation: send[""]}, "")
	err = pause(ctx, time.Second)
	if failed := first.Stop().Failures(); err == nil && failed > 0 {
		s.progress("%d of them failed", failed)
	}
	if err != nil {
		return all, err
	}

	query := time.Duration(poolSize / o.Rate * float64(time.Second))
	s.progress("the database of orders becomes slow: a query takes %s, and %d connections do %g a second", query, poolSize, o.Rate)
	s.between(withDatabase(local.Orders)).slow(query)
	start(critical, o.Rate*partOfCritical/queriesOfCritical, "before")
	start(sheddable, o.Rate*partOfSheddable, "before")
	if err := pause(ctx, o.Quiet); err != nil {
		return all, err
	}

	s.progress("a flood: %d times what it can do (%d failed so far)", timesTooMuch, all.progress().Failed)
	all.phase("during")
	start(flood, o.Rate*(timesTooMuch-partOfCritical-partOfSheddable), "during")
	err = pause(ctx, o.Duration)
	all[len(all)-1].End()
	if err != nil {
		return all, err
	}

	s.progress("the flood is over (%d failed so far)", all.progress().Failed)
	all[:2].phase("recovering")
	if err := pause(ctx, untilRecovered); err != nil {
		return all, err
	}
	all[:2].phase("after")
	return all, pause(ctx, o.Quiet)
}

// What must hold of critical requests in the flood: nine of ten of those that
// were answered before are, and nine of ten within so many times as long.
const (
	keptAtLeast  = 0.9
	slowerAtMost = 4
)

func (v *Verdict) judgeOverload() {
	before, during, after := v.phase(critical, "before"), v.phase(critical, "during"), v.phase(critical, "after")
	shed := v.phase(flood, "during")
	kept := 0.0
	if before.answered() > 0 {
		kept = during.answered() / before.answered()
	}
	v.must("critical requests go on being answered, 0.9 of before or more", kept >= keptAtLeast,
		"%.2f (%d of %d)", kept, during.Sent-during.Failed, during.Sent)
	v.must("and soon: p90 at most four times that of before", during.P90 <= slowerAtMost*before.P90, "%s, was %s", seconds(during.P90), seconds(before.P90))
	v.must("it was an overload: of the flood most is refused", 2*shed.Failed > shed.Sent, "%d of %d", shed.Failed, shed.Sent)
	others := int64(0)
	for _, traffic := range []string{sheddable, flood} {
		for kind, n := range v.phase(traffic, "during").Kinds {
			if !isShed(kind) {
				others += n
			}
		}
	}
	v.must("each refusal is one, and says when to come back", others == 0, "%d failed otherwise", others)
	left := after.Failed + v.phase(sheddable, "after").Failed
	v.must("two seconds after the flood all is as before", left == 0 && after.P90 <= 2*before.P90,
		"%d failed, critical p90 %s, was %s", left, seconds(after.P90), seconds(before.P90))
}

// isShed reports whether a kind of failure is a server's word that it has too
// much to do.
func isShed(kind string) bool {
	return kind == "grpc UNAVAILABLE "+overloaded || kind == "http 503 "+overloaded
}
