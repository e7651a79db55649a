package dispatch

import (
	"fmt"
	"time"

	"github.com/holdfast-dev/holdfast/services/llm-gateway/wire"
)

// fault is how an attempt failed.
type fault struct {
	reason   Reason              // of an attempt without an answer
	provider *wire.ProviderError // of one that was answered with an error, or broken off by one
	hint     Hint
	err      error // what was seen, for people; never a secret
}

// text says what happened, for people.
func (f *fault) text() string {
	switch {
	case f.provider != nil && f.provider.Code != "":
		return fmt.Sprintf("status %d, %s: %s", f.provider.Status, f.provider.Code, f.provider.Message)
	case f.provider != nil:
		return fmt.Sprintf("status %d, %s: %s", f.provider.Status, f.provider.Type, f.provider.Message)
	case f.err != nil:
		return f.err.Error()
	default:
		return string(f.reason)
	}
}

// judgement is what a fault means for the rest of the request.
type judgement struct {
	rule
	// again says whether the same target, with the same key, may be asked once
	// more during this request.
	again bool
	// pause is how long to wait before that, and how long a key rests that does
	// so as hinted.
	pause time.Duration
}

// judge finds a fault in the table, and lets the provider overrule it. It is the
// request's nth attempt.
func (o Options) judge(p wire.Protocol, f *fault, n int) judgement {
	var j judgement
	if f.provider != nil {
		j.rule = ruleOf(p, f.provider)
	} else {
		j.rule = ending(f.reason)
	}
	refused := f.hint.Should != nil && !*f.hint.Should
	if f.hint.Should != nil && *f.hint.Should && j.verdict == Never {
		j.verdict = Here
	}
	// What is too large once is so again, and is paid for again.
	j.again = j.verdict != Never && j.rest != long && j.reason != TooLarge && !refused
	j.pause = o.backoff(n)
	if f.hint.Said {
		j.pause = f.hint.After
	}
	return j
}
