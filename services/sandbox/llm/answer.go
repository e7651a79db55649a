package llm

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
)

// answer is what a model says to a request, already cut to its length.
type answer struct {
	choices []choice
	// reasoning is how many tokens were thought before the first choice, shown or
	// not.
	reasoning int64
	thoughts  []string // the tokens of the reasoning, where it is shown
}

// choice is one of the answers to a request.
type choice struct {
	text    []string // tokens, whose sequence is the text
	calls   []call
	finish  finish
	stopped string // the stop sequence that was met
}

// call is a call of a tool.
type call struct {
	id, name  string
	named     int64    // tokens of its name
	arguments []string // tokens, whose sequence is the JSON
}

// finish is why an answer ended.
type finish int

const (
	finishDone finish = iota
	finishLength
	finishStop
	finishCalls
	finishRefused
)

// words are all that a model says. Each is one token.
var words = strings.Fields(`ahoy aft boom bow brig buoy calm cape clew crew deck dock ebb fog foot gale
	gust hank haul helm hold hull isle jib keel knot lash lead lee log luff mast mate mist moor oar pier
	port prow quay raft rail reef rig rope rove sail sea ship slip spar star surf swab tack tide trim tug
	veer wake wave west wind yard yaw`)

// compose answers a request. The same request is answered the same.
func compose(r *request, m Model) answer {
	fingerprint := r.fingerprint()
	wanted := readDirectives(r.ask)
	var a answer
	left := r.maxTokens
	if left == 0 {
		left = maxAnswer
	}
	draw := rand.New(rand.NewPCG(binary.BigEndian.Uint64(fingerprint[:8]), binary.BigEndian.Uint64(fingerprint[8:])))
	if m.Reasons {
		a.reasoning = min(8+draw.Int64N(25), left)
		left -= a.reasoning
		if r.thinking {
			a.thoughts = babble(draw, a.reasoning)
		}
	}
	for i := range max(r.choices, 1) {
		c := choose(r, wanted, draw, fingerprint, i)
		if a.reasoning > 0 && left == 0 {
			c = choice{finish: finishLength}
		}
		c.cut(r.stop, left)
		a.choices = append(a.choices, c)
	}
	return a
}

// choose makes one choice, of whatever length.
func choose(r *request, wanted directives, draw *rand.Rand, fingerprint [32]byte, index int) choice {
	switch {
	case wanted.refuse:
		return choice{text: split("I won't help with that."), finish: finishRefused}
	case !r.answered:
		if calls := callsOf(r, wanted, draw, fingerprint, index); len(calls) > 0 {
			return choice{calls: calls, finish: finishCalls}
		}
	}
	switch {
	case wanted.say != nil:
		return choice{text: split(*wanted.say)}
	case r.schema != nil:
		return choice{text: split(string(example(*r.schema, draw)))}
	case wanted.tokens > 0:
		return choice{text: babble(draw, wanted.tokens)}
	default:
		return choice{text: babble(draw, 16+draw.Int64N(17))}
	}
}

// callsOf are the tools that a request makes the model call: those that it must,
// those that a directive names, or the first whose name the user mentions.
func callsOf(r *request, wanted directives, draw *rand.Rand, fingerprint [32]byte, index int) []call {
	if len(r.tools) == 0 || r.choice.mode == "none" {
		return nil
	}
	names := wanted.calls
	if len(names) == 0 {
		switch r.choice.mode {
		case "named":
			names = []asked{{name: r.choice.name}}
		case "any":
			names = []asked{{name: r.tools[0].name}}
		default:
			for _, t := range r.tools {
				if strings.Contains(r.ask, t.name) {
					names = []asked{{name: t.name}}
					break
				}
			}
		}
	}
	var calls []call
	for _, n := range names {
		for _, t := range r.tools {
			if t.name != n.name {
				continue
			}
			arguments := n.arguments
			if !json.Valid([]byte(arguments)) {
				arguments = string(example(t.schema, draw))
			}
			calls = append(calls, call{
				id: fmt.Sprintf("%x%02d%02d", fingerprint[:8], index, len(calls)), name: t.name,
				named: countTokens(t.name), arguments: split(arguments),
			})
		}
	}
	return calls
}

// cut ends a choice where a stop sequence begins, and after so many tokens.
func (c *choice) cut(stop []string, left int64) {
	text := strings.Join(c.text, "")
	end, met := len(text), ""
	for _, sequence := range stop {
		if at := strings.Index(text, sequence); sequence != "" && at >= 0 && at < end {
			end, met = at, sequence
		}
	}
	if met != "" {
		c.text, c.finish, c.stopped = split(text[:end]), finishStop, met
	}
	if int64(len(c.text)) > left {
		c.text, c.finish, c.stopped = c.text[:left], finishLength, ""
	}
	left -= int64(len(c.text))
	for i := range c.calls {
		k := &c.calls[i]
		if k.named > left {
			c.calls, c.finish = c.calls[:i], finishLength
			return
		}
		left -= k.named
		if int64(len(k.arguments)) > left {
			k.arguments, c.finish = k.arguments[:left], finishLength
			c.calls = c.calls[:i+1]
			return
		}
		left -= int64(len(k.arguments))
	}
}

// tokens is what the choice costs.
func (c *choice) tokens() int64 {
	n := int64(len(c.text))
	for _, k := range c.calls {
		n += k.tokens()
	}
	return n
}

func (k *call) tokens() int64 { return k.named + int64(len(k.arguments)) }

// tokens is what the answer costs, reasoning included.
func (a *answer) tokens() int64 {
	n := a.reasoning
	for i := range a.choices {
		n += a.choices[i].tokens()
	}
	return n
}

// babble says so many words.
func babble(draw *rand.Rand, n int64) []string {
	said := make([]string, n)
	for i := range said {
		said[i] = words[draw.IntN(len(words))]
		if i > 0 {
			said[i] = " " + said[i]
		}
	}
	return said
}
