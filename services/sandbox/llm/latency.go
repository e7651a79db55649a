package llm

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"
)

// Latency is how fast a model is. Left out, it answers at once.
type Latency struct {
	Provider Provider `json:"provider,omitempty"` // left out: every one
	Model    string   `json:"model,omitempty"`    // left out: every one
	// FirstToken is the time to the first token, Chunk that before each further
	// one.
	FirstToken Duration `json:"first_token,omitempty"`
	Chunk      Duration `json:"chunk,omitempty"`
	// Jitter is up to how much of each is added, drawn from the seed and the
	// request: 0.5 is up to half as much again.
	Jitter float64 `json:"jitter,omitempty"`
}

func (l Latency) validate() error {
	if l.Provider != "" {
		if err := l.Provider.validate(); err != nil {
			return err
		}
	}
	if l.FirstToken < 0 || l.FirstToken > maxDelay || l.Chunk < 0 || l.Chunk > maxDelay || !(l.Jitter >= 0 && l.Jitter <= 10) {
		return fmt.Errorf("first_token and chunk must be between 0 and 1h, and jitter between 0 and 10")
	}
	return nil
}

// latencyOf is the profile of a model, by script.
func (p *plan) latencyOf(provider Provider, model string) Latency {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, l := range p.script.Latencies {
		if (l.Provider == "" || l.Provider == provider) && (l.Model == "" || l.Model == model) {
			return l
		}
	}
	return Latency{}
}

// pace says how long to wait before each chunk.
type pace struct {
	latency Latency
	jitter  *rand.Rand
	fault   Fault
	begun   bool
}

// next is how long to wait before the next chunk.
func (p *pace) next() time.Duration {
	d := p.latency.Chunk
	if !p.begun {
		d = p.latency.FirstToken
	}
	if p.latency.Jitter > 0 {
		d += Duration(float64(d) * p.latency.Jitter * p.jitter.Float64())
	}
	switch {
	case p.fault.Kind == FaultFirstToken && !p.begun, p.fault.Kind == FaultSlow:
		d += p.fault.Delay
	}
	p.begun = true
	return time.Duration(d)
}

// wait waits for so long and answers whether the request is still wanted.
func wait(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return ctx.Err() == nil
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
