package llm

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
)

// The keys. Any that begins with KeyPrefix is taken; the two others are refused
// always, so that a list of keys can hold one that is bad.
const (
	KeyPrefix = "sandbox-"
	// KeyOutOfCredit begins keys whose account is empty.
	KeyOutOfCredit = "sandbox-out-of-credit"
	// KeyRateLimited begins keys that are over their limit at every moment.
	KeyRateLimited = "sandbox-rate-limited"
)

// Limit is how much a key may send.
type Limit struct {
	Provider          Provider `json:"provider,omitempty"` // left out: every one
	Key               string   `json:"key,omitempty"`      // left out: each, for itself
	RequestsPerMinute int64    `json:"requests_per_minute,omitempty"`
	TokensPerMinute   int64    `json:"tokens_per_minute,omitempty"`
}

// The limits of a key of which a script says nothing: more than one process can
// send, so that the headers are there and nobody is refused.
const (
	defaultRequests = 10_000_000
	defaultTokens   = 100_000_000_000
)

func (l Limit) validate() error {
	if l.Provider != "" {
		if err := l.Provider.validate(); err != nil {
			return err
		}
	}
	if l.RequestsPerMinute < 0 || l.TokensPerMinute < 0 {
		return fmt.Errorf("requests_per_minute and tokens_per_minute must not be negative")
	}
	return nil
}

// limitOf is the limit of a key, by script.
func (p *plan) limitOf(provider Provider, key string) Limit {
	limit := Limit{RequestsPerMinute: defaultRequests, TokensPerMinute: defaultTokens}
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, l := range p.script.Limits {
		if (l.Provider != "" && l.Provider != provider) || (l.Key != "" && l.Key != key) {
			continue
		}
		if l.RequestsPerMinute > 0 {
			limit.RequestsPerMinute = l.RequestsPerMinute
		}
		if l.TokensPerMinute > 0 {
			limit.TokensPerMinute = l.TokensPerMinute
		}
		break
	}
	return limit
}

// remaining is what is left of a key's limits.
type remaining struct {
	limit            Limit
	requests, tokens int64
	reset            time.Time
	resetIn          time.Duration
}

// meter counts what keys send, in windows of a minute that begin with a key's
// first request. The prompt counts; the answer does not, because nobody knows
// its length beforehand.
type meter struct {
	mu   sync.Mutex
	keys map[meteredKey]*window
}

type meteredKey struct {
	provider Provider
	key      string
}

type window struct {
	until            time.Time
	requests, tokens int64
}

// maxMetered bounds the keys that are remembered.
const maxMetered = 10_000

// take counts a request if it is within the limit.
func (m *meter) take(p Provider, key string, tokens int64, limit Limit, now time.Time) (remaining, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.keys == nil || len(m.keys) > maxMetered {
		m.keys = map[meteredKey]*window{}
	}
	w := m.keys[meteredKey{p, key}]
	if w == nil || !now.Before(w.until) {
		w = &window{until: now.Add(time.Minute)}
		m.keys[meteredKey{p, key}] = w
	}
	within := w.requests < limit.RequestsPerMinute && w.tokens+tokens <= limit.TokensPerMinute
	if within {
		w.requests++
		w.tokens += tokens
	}
	return remaining{
		limit: limit, requests: max(limit.RequestsPerMinute-w.requests, 0), tokens: max(limit.TokensPerMinute-w.tokens, 0),
		reset: w.until, resetIn: w.until.Sub(now),
	}, within
}

// refuse is why a key is refused whatever it sends; nil if it is not.
func refuse(provider Provider, key string) *Problem {
	switch {
	case strings.HasPrefix(key, KeyOutOfCredit) && provider == Anthropic:
		return &Problem{Status: http.StatusPaymentRequired, Message: "the account has no credit left"}
	case strings.HasPrefix(key, KeyOutOfCredit):
		return &Problem{Status: http.StatusTooManyRequests, Type: "insufficient_quota", Code: "insufficient_quota", Message: "the account has no credit left"}
	case strings.HasPrefix(key, KeyRateLimited):
		return tooMany(provider, time.Second)
	default:
		return nil
	}
}

// tooMany is the refusal of a key that is over its limit, until it is not.
func tooMany(provider Provider, resetIn time.Duration) *Problem {
	p := &Problem{Status: http.StatusTooManyRequests, Message: "the limit of the key is reached", Header: http.Header{}}
	p.Header.Set("Retry-After", strconv.FormatInt(int64((resetIn+time.Second-1)/time.Second), 10))
	if provider == OpenAI {
		p.Type, p.Code = "requests", "rate_limit_exceeded"
		p.Header.Set("Retry-After-Ms", strconv.FormatInt(resetIn.Milliseconds(), 10))
	}
	return p
}
