package drill

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/holdfast-dev/holdfast/test/load"
)

// PromptTarget is an llm-gateway that somebody else has started, whose models the
// sandbox plays.
type PromptTarget struct {
	// GRPC and HTTP are where it answers, as host:port.
	GRPC, HTTP string
	// Credential is an API key with the scope llm.generate.
	Credential string
}

// PromptOptions are how many generations there are.
type PromptOptions struct {
	// Streams is how many are open at a time, on average.
	Streams int
	// Shortest and Longest bound how long each takes.
	Shortest, Longest time.Duration
	// Seed makes what is drawn repeatable.
	Seed uint64
}

// DefaultPromptOptions are generations long enough to outlast any step of a deploy.
func DefaultPromptOptions() PromptOptions {
	return PromptOptions{Streams: 20, Shortest: 20 * time.Second, Longest: 40 * time.Second, Seed: 1}
}

// Validate reports what could not work.
func (o PromptOptions) Validate() error {
	var problems []error
	if o.Streams < 1 || o.Streams > 10_000 {
		problems = append(problems, fmt.Errorf("%d streams, it must be 1 to 10,000", o.Streams))
	}
	if o.Shortest <= 0 || o.Longest < o.Shortest || o.Longest > time.Hour {
		problems = append(problems, fmt.Errorf("generations take %s to %s, it must be above 0 and at most 1h", o.Shortest, o.Longest))
	}
	return errors.Join(problems...)
}

// rate keeps the streams open: arrivals times how long each stays (Little's law).
func (o PromptOptions) rate() float64 {
	return float64(o.Streams) / ((o.Shortest + o.Longest) / 2).Seconds()
}

// Prompting is generations that go on while somebody else does something to the
// gateway, and names the phases. They are opened all the time, whatever becomes of
// those before, and none is tried again.
type Prompting struct {
	options  PromptOptions
	prompter *prompter
	run      *load.Run
	began    time.Time
	stop     chan struct{}
	once     sync.Once
}

// generations is the traffic's name in a verdict.
const generations = "generations"

// StartPrompting puts generations on the target.
func StartPrompting(ctx context.Context, t PromptTarget, o PromptOptions) (*Prompting, error) {
	if err := o.Validate(); err != nil {
		return nil, err
	}
	if t.GRPC == "" || t.HTTP == "" {
		return nil, errors.New("the target needs the gRPC and the HTTP address of llm-gateway")
	}
	p, err := newPrompter(t, o)
	if err != nil {
		return nil, err
	}
	// Nobody is cut off by ourselves: a generation that stalls is a failure, and one
	// that is late is not.
	plan := load.Plan{Rate: o.rate(), Operation: p.prompt, Timeout: 2*o.Longest + time.Minute}
	return &Prompting{options: o, prompter: p, run: load.Start(ctx, plan, "before"), began: time.Now(), stop: make(chan struct{})}, nil
}

// Stop ends the arrivals. It may be called more than once.
func (p *Prompting) Stop() { p.once.Do(func() { close(p.stop) }) }

// Wait waits until the load is stopped or ctx ends, then for the generations that
// are under way, and judges.
func (p *Prompting) Wait(ctx context.Context) (*Verdict, error) {
	select {
	case <-p.stop:
	case <-ctx.Done():
	}
	p.run.Stop()
	p.prompter.close()
	return p.judge(), nil
}

// judge judges what was seen so far.
func (p *Prompting) judge() *Verdict {
	report := p.run.Report()
	v := newVerdict("load", Options{Seed: p.options.Seed})
	v.add(generations, report)
	v.must("every generation ends as its protocol ends", report.Failures() == 0, "%d of %d did not", report.Failures(), report.Sent())
	return v.settle(time.Since(p.began))
}

// Control lets whoever acts on the gateway steer the load, as [Visit.Control] does.
func (p *Prompting) Control(verdict func() (*Verdict, error)) http.Handler {
	return steered{phase: p.run.Phase, soFar: p.judge, stop: p.Stop}.control(verdict)
}
