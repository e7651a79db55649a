package drill

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"time"

	"github.com/holdfast-dev/holdfast/test/load"
)

// ProcessorName is the name of the drill in which the card processor fails.
const ProcessorName = "processor"

func processorDrill() Drill {
	return Drill{
		Name:  ProcessorName,
		Short: "Have the card processor fail in every way: our books must equal its",
		Long: `Starts two replicas each of orders and payments; places orders; has the card
processor fail in one way after another, in an order drawn from the seed: it is
away, takes the money and does not answer, gets requests twice, answers late, wants
to be left alone; checks the invariants; and prints a verdict. Every order must be
accepted, and our ledger must equal the processor's.`,
		Sabotages: []SabotageOf{
			{NewProcessorKeys, "the card processor gets a new idempotency key with every request"},
			{NoCompleter, "nobody finds out what became of a charge without an answer"},
		},
		Rate:     "requests a second",
		Defaults: Options{Duration: 20 * time.Second, Rate: 30, Replicas: 2, Quiet: 2 * time.Second, Seed: 1},
		Hold:     Processor,
	}
}

// trouble is a way in which the processor fails, as its script says it.
type trouble struct {
	name string
	rule map[string]any
}

// troubles are those of services/sandbox. Each strikes half of what is sent, so
// that what is tried again gets through.
var troubles = []trouble{
	{"answers 503", map[string]any{"kind": "unavailable"}},
	{"answers 500", map[string]any{"kind": "error"}},
	takesAndFails,
	{"hangs up", map[string]any{"kind": "drop"}},
	{"takes the money, and hangs up", map[string]any{"kind": "drop", "when": "after"}},
	{"resets the connection", map[string]any{"kind": "reset"}},
	{"takes the money, and resets the connection", map[string]any{"kind": "reset", "when": "after"}},
	{"takes the money, and does not answer", map[string]any{"kind": "timeout", "when": "after", "delay": "5s"}},
	{"does not answer", map[string]any{"kind": "timeout", "delay": "5s"}},
	{"gets requests twice", map[string]any{"kind": "duplicate"}},
	{"decides later", map[string]any{"kind": "settle_later", "delay": "1s"}},
	{"wants to be left alone", map[string]any{"kind": "rate_limit", "delay": "1s"}},
}

const partStruck = 0.5

// takesAndFails leaves an outcome unknown that the processor knows.
var takesAndFails = trouble{"takes the money, and answers 500", map[string]any{"kind": "error", "when": "after"}}

// strikes is the trouble as a rule for a part of what is sent.
func (t trouble) strikes() map[string]any {
	rule := map[string]any{"rate": partStruck}
	maps.Copy(rule, t.rule)
	return rule
}

// Processor has the card processor fail under load, and judges it.
func Processor(ctx context.Context, o Options) (*Verdict, error) {
	s := stage{}
	switch o.Sabotage {
	case NewProcessorKeys:
		s.inFront = withNewKeys
	case NoCompleter:
		s.settings = withoutCompleter
	}
	return s.endure(ctx, ProcessorName, o, func(ctx context.Context, run *load.Run) error {
		order := rand.New(rand.NewPCG(o.Seed, 0)).Perm(len(troubles)) // reproducible on purpose
		for _, n := range order {
			progress := run.Progress()
			s.progress("the processor %s (%d sent, %d failed)", troubles[n].name, progress.Sent, progress.Failed)
			if err := s.script(ctx, o.Seed, troubles[n].strikes()); err != nil {
				return err
			}
			if err := pause(ctx, o.Duration/time.Duration(len(troubles))); err != nil {
				return err
			}
		}
		return s.script(ctx, o.Seed)
	})
}

// script tells the sandbox how to fail: by these rules from now on.
func (s *stage) script(ctx context.Context, seed uint64, rules ...map[string]any) error {
	body, err := json.Marshal(map[string]any{"seed": seed, "rules": append([]map[string]any{}, rules...)})
	if err != nil {
		return err
	}
	return s.tellSandbox(ctx, "/faults", body)
}

// tellSandbox posts something to the sandbox that is not for what it plays.
func (s *stage) tellSandbox(ctx context.Context, path string, body []byte) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, s.sandboxURL+path, bytes.NewReader(body))
	if err != nil {
		return err
	}
	request.Header.Set("Content-Type", "application/json")
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return fmt.Errorf("tell the sandbox how to fail: %w", err)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("tell the sandbox how to fail: it answered %s", response.Status)
	}
	return nil
}
