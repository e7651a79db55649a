//go:build faults

package faults

import (
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/holdfast-dev/holdfast/pkg/apierror"
)

// What a rule does.
const (
	faultLatency = "latency"
	faultError   = "error"
	faultReset   = "reset"
	faultCut     = "cut"
)

// When it does it. A cut has a time of its own.
const (
	before = "before"
	after  = "after"
)

// plan is a document of rules, made ready. A nil plan has no rules.
type plan struct {
	seed     uint64
	rules    []*rule
	byMethod map[string][]*rule
}

// rule is one rule and what became of it. The JSON is how GET shows it.
type rule struct {
	Method   string  `json:"method"`
	Percent  float64 `json:"percent"`
	Fault    string  `json:"fault"`
	When     string  `json:"when,omitempty"`
	Latency  string  `json:"latency,omitempty"`
	Jitter   string  `json:"jitter,omitempty"`
	Messages int     `json:"messages,omitempty"`
	With     string  `json:"with,omitempty"`
	Code     string  `json:"code,omitempty"`

	latency, jitter time.Duration
	reason          apierror.Reason

	calls, applied atomic.Int64

	mu     sync.Mutex
	random *rand.Rand
}

// fault is a rule that hits one call.
type fault struct {
	rule  *rule
	delay time.Duration // of a latency
}

// prepare gives every rule its randomness, and finds the rules of each method.
// Rules have a sequence each: the fate of the nth call that a rule looks at
// depends on the seed and nothing else, however the calls of others interleave.
func prepare(seed uint64, rules []*rule, known methods) *plan {
	p := &plan{seed: seed, rules: rules, byMethod: map[string][]*rule{}}
	for n, r := range rules {
		r.random = rand.New(rand.NewPCG(seed, uint64(n)))
		for name, streaming := range known {
			if r.covers(name, streaming) {
				p.byMethod[name] = append(p.byMethod[name], r)
			}
		}
	}
	return p
}

// draw decides which faults a call has, in the order of the rules. Each rule
// decides by itself.
func (p *plan) draw(method string) (drawn []fault) {
	if p == nil {
		return nil
	}
	for _, r := range p.byMethod[method] {
		if f, hit := r.draw(); hit {
			drawn = append(drawn, f)
		}
	}
	return drawn
}

func (r *rule) draw() (fault, bool) {
	r.calls.Add(1)
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.random.Float64()*100 >= r.Percent {
		return fault{}, false
	}
	f := fault{rule: r, delay: r.latency}
	if r.jitter > 0 {
		f.delay += time.Duration(r.random.Int64N(int64(r.jitter) + 1))
	}
	return f, true
}

// err is the error that the rule answers, in the shape of every other one.
func (r *rule) err() error {
	return apierror.New(r.reason, "an injected fault: the admin port has the rules, at /faults")
}

// report is what GET and /statusz show.
type report struct {
	Seed  *uint64      `json:"seed,omitempty"` // none while faults are off
	Rules []ruleReport `json:"rules"`
}

type ruleReport struct {
	*rule
	// Calls is how many calls the rule could have hit, Applied how many had its
	// fault.
	Calls   int64 `json:"calls"`
	Applied int64 `json:"applied"`
}

func (p *plan) report() report {
	if p == nil {
		return report{Rules: []ruleReport{}}
	}
	told := report{Seed: &p.seed, Rules: make([]ruleReport, len(p.rules))}
	for n, r := range p.rules {
		told.Rules[n] = ruleReport{rule: r, Calls: r.calls.Load(), Applied: r.applied.Load()}
	}
	return told
}
