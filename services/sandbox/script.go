package sandbox

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
)

// Script is a plan of faults, kept in the ledger until it is replaced.
type Script struct {
	// Seed makes the draws; the same seed meets the same keys with the same
	// faults.
	Seed uint64 `json:"seed"`
	// Rules are tried in order; the first that strikes decides.
	Rules []Rule `json:"rules"`
}

// Rule is one fault and which requests it strikes.
type Rule struct {
	Fault
	// Rate is the probability that it strikes a matching request, from 0 to 1;
	// left out, it always does.
	Rate *float64 `json:"rate,omitempty"`
	// Operations limits it to these kinds; left out, it matches every kind of
	// operation and no lookup.
	Operations []Kind `json:"operations,omitempty"`
	// Reference limits it to references that start so.
	Reference string `json:"reference,omitempty"`
	// Sends limits it to the first so many times a key is sent, so that a retry
	// gets through; zero is no limit.
	Sends uint64 `json:"sends,omitempty"`
	// Times is how often it strikes in all; zero is no limit.
	Times uint64 `json:"times,omitempty"`
	// Struck is how often it has struck; answered by GET /faults, ignored in
	// POST /faults.
	Struck uint64 `json:"struck"`
}

// normal fills in what was left out and refuses what makes no sense.
func (s Script) normal() (Script, error) {
	if len(s.Rules) > 100 {
		return s, fmt.Errorf("a script has at most 100 rules")
	}
	rules := slices.Clone(s.Rules)
	for i := range rules {
		fault, err := rules[i].normal()
		if err != nil {
			return s, fmt.Errorf("rule %d: %w", i, err)
		}
		rules[i].Fault, rules[i].Struck = fault, 0
		if rate := rules[i].Rate; rate != nil && !(*rate >= 0 && *rate <= 1) {
			return s, fmt.Errorf("rule %d: rate must be between 0 and 1", i)
		}
		for _, kind := range rules[i].Operations {
			if !slices.Contains([]Kind{KindAuthorize, KindCapture, KindVoid, KindCharge, KindRefund, KindLookup}, kind) {
				return s, fmt.Errorf("rule %d: unknown operation %q", i, kind)
			}
		}
	}
	s.Rules = rules
	return s, nil
}

// strike finds the first rule that strikes this send of a key, counts it, and
// answers its fault; the zero Fault if none does.
func (s *Script) strike(kind Kind, reference, key string, sent uint64) Fault {
	for i := range s.Rules {
		r := &s.Rules[i]
		if !r.matches(kind, reference, sent) || draw(s.Seed, i, key, sent) >= r.rate() {
			continue
		}
		r.Struck++
		return r.Fault
	}
	return Fault{}
}

func (r Rule) matches(kind Kind, reference string, sent uint64) bool {
	operation := kind != KindLookup
	if len(r.Operations) > 0 {
		operation = slices.Contains(r.Operations, kind)
	}
	return operation && strings.HasPrefix(reference, r.Reference) &&
		(r.Sends == 0 || sent <= r.Sends) && (r.Times == 0 || r.Struck < r.Times)
}

func (r Rule) rate() float64 {
	if r.Rate == nil {
		return 1
	}
	return *r.Rate
}

// draw is a number in [0, 1) that depends on nothing but its arguments.
func draw(seed uint64, rule int, key string, sent uint64) float64 {
	hash := sha256.New()
	_ = binary.Write(hash, binary.BigEndian, []uint64{seed, uint64(rule), sent}) // a hash never fails to write
	hash.Write([]byte(key))
	const mantissa = 53 // as many bits as a float64 holds exactly
	return float64(binary.BigEndian.Uint64(hash.Sum(nil))>>(64-mantissa)) / (1 << mantissa)
}
