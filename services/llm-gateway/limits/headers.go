package limits

import (
	"net/http"
	"strconv"
	"time"
)

// longestReset bounds what a provider may say of its reset. A key that rests for
// longer rests because somebody's clock or header is wrong.
const longestReset = time.Hour

// observed reads what a provider says of a key's limits, of requests and of tokens;
// nil where it says nothing that can be used. See
// https://platform.openai.com/docs/guides/rate-limits (x-ratelimit-…, resets as
// durations: 1s, 6m0s) and https://docs.anthropic.com/en/api/rate-limits
// (anthropic-ratelimit-…, resets in RFC 3339).
//
// Of several counts of tokens the one with the least left counts. Anthropic's of
// output does not, unless it has run out: it counts what was answered, while what a
// request reserves is the longest that its answer may be.
func observed(h http.Header, now time.Time) (requests, tokens *observation) {
	openAI := func(of string) *observation {
		return read(h.Get("X-Ratelimit-Remaining-"+of), h.Get("X-Ratelimit-Limit-"+of), h.Get("X-Ratelimit-Reset-"+of), now)
	}
	anthropic := func(of string) *observation {
		return read(h.Get("Anthropic-Ratelimit-"+of+"-Remaining"), h.Get("Anthropic-Ratelimit-"+of+"-Limit"), h.Get("Anthropic-Ratelimit-"+of+"-Reset"), now)
	}
	output := anthropic("Output-Tokens")
	if output != nil && output.left > 0 {
		output = nil
	}
	requests = least(openAI("Requests"), anthropic("Requests"))
	tokens = least(openAI("Tokens"), anthropic("Tokens"), anthropic("Input-Tokens"), output)
	return requests, tokens
}

// read makes an observation of three headers; nil if what is left or the reset is
// not said, or not to be understood, or over.
func read(remaining, limit, reset string, now time.Time) *observation {
	left, err := strconv.ParseInt(remaining, 10, 64)
	if err != nil || left < 0 {
		return nil
	}
	at, ok := resetTime(reset, now)
	if !ok || !at.After(now) {
		return nil
	}
	if longest := now.Add(longestReset); at.After(longest) {
		at = longest
	}
	full, err := strconv.ParseInt(limit, 10, 64)
	if err != nil || full < left {
		full = 0 // unknown
	}
	return newObservation(left, full, now, at)
}

// resetTime reads a duration, a time, or, as some servers have it, seconds.
func resetTime(text string, now time.Time) (time.Time, bool) {
	if d, err := time.ParseDuration(text); err == nil {
		return now.Add(d), true
	}
	if at, err := time.Parse(time.RFC3339, text); err == nil {
		return at, true
	}
	if seconds, err := strconv.ParseFloat(text, 64); err == nil && seconds >= 0 && seconds < longestReset.Seconds() {
		return now.Add(time.Duration(seconds * float64(time.Second))), true
	}
	return time.Time{}, false
}

// least is the observation with the least left; nil if there is none.
func least(all ...*observation) *observation {
	var found *observation
	for _, o := range all {
		if o != nil && (found == nil || o.left < found.left) {
			found = o
		}
	}
	return found
}
