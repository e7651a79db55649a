//go:build faults

package faults

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/holdfast-dev/holdfast/pkg/apierror"
)

// longest is how long one rule may keep a call waiting. A typing error would
// otherwise hold a drain up for ever.
const longest = time.Hour

// parse reads a document of rules; [Injector.Route] has its format. It returns
// everything that is wrong with it, or else a plan.
func parse(text []byte, known methods) (*plan, []apierror.Violation) {
	var problems problems
	document := problems.object("", text)
	seed, given := take[uint64](document, "seed")
	if !given {
		seed = rand.Uint64N(1 << 32) // short enough to be copied by hand
	}
	list, given := take[[]json.RawMessage](document, "rules")
	document.end()
	if given && len(list) == 0 {
		problems.add("rules", "has none; DELETE turns faults off")
	} else if !given && len(problems.found) == 0 {
		problems.add("rules", "is missing")
	}
	rules := make([]*rule, 0, len(list))
	for n, one := range list {
		rules = append(rules, readRule(problems.object(fmt.Sprintf("rules[%d]", n), one), known))
	}
	if len(problems.found) > 0 {
		return nil, problems.found
	}
	return prepare(seed, rules, known), nil
}

// readRule reads one rule. What it returns is of use if no problem was added.
func readRule(o *object, known methods) *rule {
	r := &rule{}
	var given bool
	r.Fault, given = take[string](o, "fault")
	switch kinds := []string{faultLatency, faultError, faultReset, faultCut}; {
	case !given && !o.bad["fault"]:
		o.wrong("fault", "is missing: latency, error, reset or cut")
	case given && !slices.Contains(kinds, r.Fault):
		o.wrong("fault", "is %q, must be latency, error, reset or cut", r.Fault)
	}
	if r.Method, given = take[string](o, "method"); given {
		if problem := known.badMethod(r); problem != "" {
			o.wrong("method", "is %q: %s", r.Method, problem)
		}
	} else if !o.bad["method"] {
		o.wrong("method", "is missing")
	}
	if r.Percent, given = take[float64](o, "percent"); given && (r.Percent <= 0 || r.Percent > 100) {
		o.wrong("percent", "is %v, must be more than 0 and at most 100", r.Percent)
	} else if !given && !o.bad["percent"] {
		o.wrong("percent", "is missing: how many of 100 calls")
	}
	switch r.Fault {
	case faultLatency:
		r.readLatency(o)
		r.readWhen(o)
	case faultError:
		r.readCode(o)
		r.readWhen(o)
	case faultReset:
		r.readWhen(o)
	case faultCut:
		r.readCut(o)
	default:
		return r // what else belongs to it, nobody can say
	}
	o.end()
	return r
}

func (r *rule) readWhen(o *object) {
	r.When = before
	if when, given := take[string](o, "when"); given {
		r.When = when
		if when != before && when != after {
			o.wrong("when", "is %q, must be before or after: the handler, that is", when)
		}
	}
}

func (r *rule) readLatency(o *object) {
	r.latency, r.Latency = o.duration("latency")
	r.jitter, r.Jitter = o.duration("jitter")
	if r.latency == 0 && r.jitter == 0 && !o.bad["latency"] && !o.bad["jitter"] {
		o.wrong("latency", "must be more than nothing, such as \"200ms\"")
	}
}

// duration takes a length of time, which is "" and 0 if it is not given.
func (o *object) duration(name string) (time.Duration, string) {
	text, given := take[string](o, name)
	if !given {
		return 0, ""
	}
	d, err := time.ParseDuration(text)
	switch {
	case err != nil:
		o.wrong(name, "is %q, must be a duration, such as \"200ms\"", text)
	case d < 0 || d > longest:
		o.wrong(name, "is %q, must be from 0 to %s", text, longest)
	}
	return d, text
}

func (r *rule) readCode(o *object) {
	r.Code = defaultCode
	if code, given := take[string](o, "code"); given {
		r.Code = code
	}
	var known bool
	if r.reason, known = reasonOf[r.Code]; !known {
		o.wrong("code", "is %q, must be one that an API answers with: %s", r.Code, strings.Join(codeNames(), ", "))
	}
}

func (r *rule) readCut(o *object) {
	var given bool
	if r.Messages, given = take[int](o, "messages"); given && r.Messages < 1 {
		o.wrong("messages", "is %d, must be 1 or more", r.Messages)
	} else if !given && !o.bad["messages"] {
		o.wrong("messages", "is missing: how many the client gets")
	}
	r.With = faultError
	if with, given := take[string](o, "with"); given {
		r.With = with
	}
	switch r.With {
	case faultError:
		r.readCode(o)
	case faultReset: // has no code
	default:
		o.wrong("with", "is %q, must be error or reset", r.With)
	}
}
