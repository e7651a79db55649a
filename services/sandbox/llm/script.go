package llm

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"sync"
)

// Script is a plan of faults, latencies and limits. It is kept until it is
// replaced, also over a restart; the counts are not.
type Script struct {
	// Seed makes the draws; the same seed meets the same requests with the same
	// faults, in whatever order they arrive.
	Seed uint64 `json:"seed"`
	// Rules are tried in order; the first that strikes decides.
	Rules []Rule `json:"rules"`
	// Latencies are tried in order; the first that matches a model is its profile.
	Latencies []Latency `json:"latencies,omitempty"`
	// Limits are tried in order; the first that matches a key is its limit.
	Limits []Limit `json:"limits,omitempty"`
}

// Rule is one fault and which requests it strikes.
type Rule struct {
	Fault
	// What is left out matches everything.
	Provider Provider `json:"provider,omitempty"`
	Model    string   `json:"model,omitempty"`
	Key      string   `json:"key,omitempty"`
	// Prompt is text in the last user message.
	Prompt string `json:"prompt,omitempty"`
	// Operations limits it to these; left out, it matches answers and no question.
	Operations []Operation `json:"operations,omitempty"`
	// Rate is the probability that it strikes a matching request, from 0 to 1;
	// left out, it always does.
	Rate *float64 `json:"rate,omitempty"`
	// Sends limits it to the first so many times that a request is sent, so that
	// a retry gets through; zero is no limit.
	Sends uint64 `json:"sends,omitempty"`
	// Nth strikes the nth matching request only, counted from 1; zero is any.
	Nth uint64 `json:"nth,omitempty"`
	// Times is how often it strikes in all; zero is no limit.
	Times uint64 `json:"times,omitempty"`
	// Matched and Struck say how often it did; answered, and ignored where a
	// script is set.
	Matched uint64 `json:"matched"`
	Struck  uint64 `json:"struck"`
}

// Operation is what a request is for.
type Operation string

// The operations.
const (
	OperationAnswer Operation = "answer"
	OperationCount  Operation = "count_tokens"
	OperationModels Operation = "models"
	// OperationLookup asks what became of a request: GET /llm/requests/{id}.
	OperationLookup Operation = "lookup"
)

// maxRules bounds a script.
const maxRules = 100

// normal fills in what was left out and refuses what makes no sense.
func (s Script) normal() (Script, error) {
	if len(s.Rules) > maxRules || len(s.Latencies) > maxRules || len(s.Limits) > maxRules {
		return s, fmt.Errorf("a script has at most %d rules, latencies and limits each", maxRules)
	}
	s.Rules = slices.Clone(s.Rules)
	if s.Rules == nil {
		s.Rules = []Rule{}
	}
	for i := range s.Rules {
		if err := s.Rules[i].normalize(); err != nil {
			return s, fmt.Errorf("rule %d: %w", i, err)
		}
	}
	for i, l := range s.Latencies {
		if err := l.validate(); err != nil {
			return s, fmt.Errorf("latency %d: %w", i, err)
		}
	}
	for i, l := range s.Limits {
		if err := l.validate(); err != nil {
			return s, fmt.Errorf("limit %d: %w", i, err)
		}
	}
	return s, nil
}

func (r *Rule) normalize() (err error) {
	if r.Fault, err = r.normal(); err != nil {
		return err
	}
	r.Matched, r.Struck = 0, 0
	if r.Rate != nil && !(*r.Rate >= 0 && *r.Rate <= 1) {
		return fmt.Errorf("rate must be between 0 and 1")
	}
	if r.Provider != "" {
		if err := r.Provider.validate(); err != nil {
			return err
		}
	}
	for _, o := range r.Operations {
		if !slices.Contains([]Operation{OperationAnswer, OperationCount, OperationModels, OperationLookup}, o) {
			return fmt.Errorf("unknown operation %q", o)
		}
	}
	return nil
}

// subject is what a rule looks at.
type subject struct {
	operation Operation
	provider  Provider
	model     string
	key       string
	ask       string
	// identity is the same for the same request sent again.
	identity [sha256.Size]byte
	// sent is how often it was sent, this time included.
	sent uint64
}

func (r *Rule) matches(s subject) bool {
	operation := s.operation == OperationAnswer
	if len(r.Operations) > 0 {
		operation = slices.Contains(r.Operations, s.operation)
	}
	return operation && (r.Provider == "" || r.Provider == s.provider) && (r.Model == "" || r.Model == s.model) &&
		(r.Key == "" || r.Key == s.key) && strings.Contains(s.ask, r.Prompt) && (r.Sends == 0 || s.sent <= r.Sends)
}

// plan is the script in force, and its counts.
type plan struct {
	mu     sync.Mutex
	script Script
}

func (p *plan) set(s Script) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.script = s
}

func (p *plan) get() Script {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := p.script
	s.Rules = slices.Clone(s.Rules)
	return s
}

// strike finds the first rule that strikes, counts it, and answers its fault;
// the zero Fault if none does.
func (p *plan) strike(s subject) Fault {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i := range p.script.Rules {
		r := &p.script.Rules[i]
		if !r.matches(s) {
			continue
		}
		r.Matched++
		if r.Nth > 0 && r.Matched != r.Nth || r.Times > 0 && r.Struck >= r.Times {
			continue
		}
		if r.Rate != nil && draw(p.script.Seed, i, s) >= *r.Rate {
			continue
		}
		r.Struck++
		return r.Fault
	}
	return Fault{}
}

// draw is a number in [0, 1) that depends on nothing but its arguments.
func draw(seed uint64, rule int, s subject) float64 {
	hash := sha256.New()
	_ = binary.Write(hash, binary.BigEndian, []uint64{seed, uint64(rule), s.sent}) // a hash never fails to write
	hash.Write([]byte(s.provider))
	hash.Write(s.identity[:])
	const mantissa = 53 // as many bits as a float64 holds exactly
	return float64(binary.BigEndian.Uint64(hash.Sum(nil))>>(64-mantissa)) / (1 << mantissa)
}

func (p *plan) seed() uint64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.script.Seed
}
