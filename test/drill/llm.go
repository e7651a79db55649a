package drill

import (
	"context"
	_ "embed" // the routes
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"time"

	"github.com/holdfast-dev/holdfast/cmd/holdfast/local"
	"github.com/holdfast-dev/holdfast/pkg/auth"
	"github.com/holdfast-dev/holdfast/test/load"
)

// LLMName is the name of the drill about language models.
const LLMName = "llm"

func llmDrill() Drill {
	return Drill{
		Name:  LLMName,
		Short: "Have providers of language models fail while replicas are replaced and killed: nobody notices, and it is paid for once",
		Long: `Starts two replicas of the LLM gateway and the sandbox's providers; asks for answers in
both protocols, half of them as streams of seconds; has one request in eight fail
before its first content, and replaces every replica: nobody may notice. Then
providers break off in the middle as well, and replicas are killed with SIGKILL: what
is cut must say so. All the while clients of a tenant with a small budget ask for more
than it has. In the end what the ledger has settled must be what the providers charged,
to the nano-dollar.`,
		Sabotages: []SabotageOf{
			{NoDrain, "replicas stop at once when told to"},
			{NoReservation, "what a request may cost is not asked of the budget"},
			{NoReconciler, "nobody asks providers what became of the requests of the dead"},
		},
		Rate:     "requests a second",
		Defaults: Options{Duration: 10 * time.Second, Rate: 20, Replicas: 2, Quiet: 2 * time.Second, Seed: 1},
		Hold:     LLM,
	}
}

// routesOfDrill are two chains and a tenant that has little to spend.
//
//go:embed llm_routes.yaml
var routesOfDrill []byte

// The kinds of traffic of the drill, and its phases.
const (
	askTraffic   = "asking"
	spendTraffic = "spending"

	rolling = "rolling"
	killing = "killing"
)

// spendersPerSecond is how often a burst of clients asks on the small budget, and
// spendersAtOnce how many they are.
const (
	spendersPerSecond = 2
	spendersAtOnce    = 20
)

// LLM has providers fail while replicas are replaced and killed, and judges it.
func LLM(ctx context.Context, o Options) (*Verdict, error) {
	began := time.Now()
	s := stage{settings: map[string]string{
		"HOLDFAST_LLM_LEASE":              "3s",
		"HOLDFAST_LLM_RECONCILE_INTERVAL": "200ms",
		"HOLDFAST_LLM_FIRST_LOOK":         "300ms",
		"HOLDFAST_LLM_HORIZON":            "2s",
		// The bursts of those who spend are for the budget to refuse.
		"HOLDFAST_SHED_ENABLED": "false",
	}}
	if o.Sabotage == NoReconciler {
		s.settings["HOLDFAST_LLM_RECONCILE_INTERVAL"] = "24h"
	}
	defer s.close(ctx)
	gateway, err := s.setLLM(ctx, &o)
	if err != nil {
		return nil, err
	}
	books, err := s.openBooks(ctx)
	if err != nil {
		return nil, err
	}
	askers, spenders := newAskers(s.web, o.Seed, auth.DevelopmentKey), newAskers(s.web, o.Seed+1, auth.DevelopmentKeyOther)

	s.progress("load: %g requests a second; one in eight fails before its first content", o.Rate)
	if err := s.fail(ctx, beforeContent(o.Seed)); err != nil {
		return nil, err
	}
	flows := flows{
		{askTraffic, load.Start(ctx, load.Plan{Rate: o.Rate, Operation: askers.ask, Timeout: time.Minute}, "before")},
		{spendTraffic, load.Start(ctx, load.Plan{Rate: spendersPerSecond, Operation: spenders.burst(spendersAtOnce), Timeout: time.Minute}, "before")},
	}
	err = pause(ctx, o.Quiet)
	if err == nil {
		flows.phase(rolling)
		err = s.rollLLM(ctx, gateway, o)
	}
	if err == nil {
		// What began while replicas were replaced ends before any is killed.
		flows.phase("settling")
		err = pause(ctx, longestAnswer)
	}
	if err == nil {
		flows.phase(killing)
		err = s.killLLM(ctx, gateway, o)
	}
	if err == nil {
		flows.phase("after")
		err = s.fail(ctx, `{"seed":1,"rules":[]}`)
	}
	if err == nil {
		err = pause(ctx, o.Quiet)
	}
	v := newVerdict(LLMName, o)
	flows.stop(v)
	if err != nil {
		return nil, err
	}
	v.Drains = gateway.drains

	s.progress("waiting until everything is decided, then comparing the ledger with the invoice")
	if err := books.judge(ctx, v, s.sandboxURL); err != nil {
		return nil, err
	}
	v.judgeLLM()
	return v.settle(time.Since(began)), nil
}

// setLLM starts what the drill needs: Postgres, the sandbox, the gateway, and a
// balancer in front of it.
func (s *stage) setLLM(ctx context.Context, o *Options) (gateway *fleet, err error) {
	if err := s.prepare(o); err != nil {
		return nil, err
	}
	if err := s.startPostgres(ctx); err != nil {
		return nil, err
	}
	routes := filepath.Join(s.data.Dir, "routes.yaml")
	if err := os.WriteFile(routes, routesOfDrill, 0o600); err != nil {
		return nil, fmt.Errorf("write the routes: %w", err)
	}
	environment, err := s.environment()
	if err != nil {
		return nil, err
	}
	environment.Extra["HOLDFAST_LLM_ROUTES_FILE"] = routes
	s.progress("migrating the database")
	if err := s.postgres.CreateDatabases(ctx, local.LLMGateway); err != nil {
		return nil, err
	}
	if err := local.Migrate(local.LLMGateway, environment.For(local.LLMGateway, local.Addresses{})); err != nil {
		return nil, err
	}
	s.progress("starting the sandbox and %d of llm-gateway", o.Replicas)
	if err := s.startSandbox(ctx, &environment); err != nil {
		return nil, err
	}
	if gateway, err = s.startFleet(ctx, local.LLMGateway, environment, *o); err != nil {
		return nil, err
	}
	balancer, err := NewBalancer(ctx, gateway.endpoints, func(r Replica) string { return r.HTTP }, o.Seed)
	if err != nil {
		return nil, err
	}
	s.onClose(func(context.Context) { balancer.Close() })
	s.web = balancer.Addr()
	return gateway, nil
}

// rollLLM replaces one replica after another until the duration is over and every
// one was replaced.
func (s *stage) rollLLM(ctx context.Context, gateway *fleet, o Options) error {
	end := time.Now().Add(o.Duration)
	for n := 0; n < o.Replicas || time.Now().Before(end); n++ {
		s.progress("replacing replica %d", n%o.Replicas+1)
		if err := gateway.replace(ctx, n%o.Replicas); err != nil {
			return err
		}
	}
	return nil
}

// killLLM kills a replica again and again, while providers also break off in the
// middle.
func (s *stage) killLLM(ctx context.Context, gateway *fleet, o Options) error {
	if err := s.fail(ctx, anywhere(o.Seed)); err != nil {
		return err
	}
	random := rand.New(rand.NewPCG(o.Seed, 0)) // reproducible on purpose
	for end := time.Now().Add(o.Duration); time.Now().Before(end); {
		slot := random.IntN(o.Replicas)
		s.progress("killing %s", gateway.in(slot).Name)
		if err := gateway.crash(ctx, slot); err != nil {
			return err
		}
		if err := pause(ctx, time.Duration(random.Int64N(int64(time.Second)))); err != nil {
			return err
		}
	}
	return nil
}

// beforeContent has providers fail in every way that a gateway can hide.
func beforeContent(seed uint64) string {
	return fmt.Sprintf(`{"seed":%d,"rules":[%s]%s}`, seed, hidden, unhurried)
}

// anywhere has them break off in the middle as well.
func anywhere(seed uint64) string {
	return fmt.Sprintf(`{"seed":%d,"rules":[%s,
{"kind":"cut","chunks":3,"end":"clean","rate":0.06},{"kind":"cut","chunks":2,"end":"reset","rate":0.06},
{"kind":"error","chunks":4,"rate":0.06},{"kind":"drop","when":"after","rate":0.03},{"kind":"no_usage","rate":0.03}]%s}`, seed, hidden, unhurried)
}

// Whether a request meets a fault is drawn from what it asks, so that a fault stays
// with it; these let it go the second time.
const hidden = `{"kind":"status","status":503,"rate":0.03,"sends":1},{"kind":"status","status":429,"header":{"Retry-After":"1"},"rate":0.01,"sends":1},
{"kind":"status","status":500,"rate":0.02,"sends":1},{"kind":"drop","rate":0.02,"sends":1},{"kind":"error","rate":0.02,"sends":1},
{"kind":"cut","bytes":60,"rate":0.02,"sends":1}`

// unhurried is how fast models write: a stream of 40 tokens lasts two seconds.
const unhurried = `,"latencies":[{"first_token":"100ms","chunk":"50ms"}]`

// longestAnswer is more than an answer takes.
const longestAnswer = 4 * time.Second

// fail gives the providers a script.
func (s *stage) fail(ctx context.Context, script string) error {
	return s.tellSandbox(ctx, "/llm/faults", []byte(script))
}

// judgeLLM judges what clients saw.
func (v *Verdict) judgeLLM() {
	kinds := func(phase string, kind string) (n int64) {
		for _, p := range v.Phases {
			if p.Traffic == askTraffic && (phase == "" || p.Name == phase) {
				n += p.Kinds[kind]
			}
		}
		return n
	}
	v.must("no stream is cut without a word", kinds("", cutSilently) == 0, "%d were", kinds("", cutSilently))
	calm := v.phase(askTraffic, "before").Failed + v.phase(askTraffic, rolling).Failed
	v.must("neither a failing provider nor a leaving replica is noticed", calm == 0, "%d requests failed", calm)
	v.must("what broke off in the middle said so", kinds(killing, interrupted) > 0, "%d streams did", kinds(killing, interrupted))
	refused := v.phase(spendTraffic, "before").Kinds[refusedByBudget] + v.phase(spendTraffic, rolling).Kinds[refusedByBudget]
	v.must("who asks for more than the budget has is refused", refused > 0, "%d bursts were", refused)
	v.must("every replica that leaves drains and exits with 0", len(v.problems()) == 0, "%d of %d did not", len(v.problems()), len(v.Drains))
}
