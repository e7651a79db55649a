package llm

import (
	"hash/maphash"
	"sync"
	"time"
)

// minCached is the shortest prefix that is cached, in tokens. Providers begin at
// a thousand or more; here, prompts of tests are to meet the cache.
const minCached = 64

// maxBreakpoints is how many parts of a prompt Anthropic lets a client mark.
const maxBreakpoints = 4

// automaticKeep is how long a prompt is cached where nobody asks for it.
const automaticKeep = 5 * time.Minute

// promptCache remembers prefixes of prompts, by the bytes of their blocks: a
// gateway that says the same in other bytes misses it, sooner than it would with
// a provider. What belongs to one key and model is not found by another. It does
// not outlive the process, and forgets by generations, as [sends] does.
type promptCache struct {
	seed maphash.Seed

	mu         sync.Mutex
	young, old map[uint64]time.Time // until when
}

func newPromptCache() *promptCache { return &promptCache{seed: maphash.MakeSeed()} }

// prefix is the prompt up to the end of one block.
type prefix struct {
	sum    uint64
	tokens int64
	keep   time.Duration
}

func (c *promptCache) prefixes(p Provider, key string, r *request) []prefix {
	var hash maphash.Hash
	hash.SetSeed(c.seed)
	for _, part := range []string{string(p), key, r.model} {
		_, _ = hash.WriteString(part) // a hash never fails to write
		_ = hash.WriteByte(0)
	}
	prefixes := make([]prefix, len(r.blocks))
	var tokens int64
	for i, b := range r.blocks {
		_, _ = hash.Write(b.raw)
		_ = hash.WriteByte(0)
		tokens += b.tokens
		prefixes[i] = prefix{hash.Sum64(), tokens, b.keep}
	}
	return prefixes
}

// automatic is the usage of a prompt whose provider caches by itself: what it
// has seen is read, and writing is free. One token is always new: the model must read
// something.
func (c *promptCache) automatic(p Provider, key string, r *request, now time.Time) Usage {
	total := r.promptTokens()
	var read int64
	prefixes := c.prefixes(p, key, r)
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, f := range prefixes {
		if f.tokens < minCached {
			continue
		}
		if c.has(f.sum, now) {
			read = min(f.tokens, total-1)
		}
		c.put(f.sum, now.Add(automaticKeep))
	}
	return Usage{Input: total - read, CacheRead: read}
}

// marked is the usage of a prompt that marks what is to be cached: up to the
// last mark, what was kept before is read and the rest is written, for as long
// as the next mark says.
func (c *promptCache) marked(p Provider, key string, r *request, now time.Time) Usage {
	u := Usage{Input: r.promptTokens()}
	prefixes := c.prefixes(p, key, r)
	last := -1
	for i, f := range prefixes {
		if f.keep > 0 {
			last = i
		}
	}
	if last < 0 || prefixes[last].tokens < minCached {
		return u
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, f := range prefixes[:last+1] {
		if c.has(f.sum, now) {
			u.CacheRead = f.tokens
		}
	}
	done := u.CacheRead
	for _, f := range prefixes[:last+1] {
		if f.keep == 0 || f.tokens < minCached {
			continue
		}
		if f.tokens > done {
			if f.keep > automaticKeep {
				u.CacheWrite1h += f.tokens - done
			} else {
				u.CacheWrite += f.tokens - done
			}
			done = f.tokens
		}
		c.put(f.sum, now.Add(f.keep)) // what is read is kept for as long again
	}
	u.Input -= done
	return u
}

func (c *promptCache) has(sum uint64, now time.Time) bool {
	until, known := c.young[sum]
	if !known {
		until, known = c.old[sum]
	}
	return known && now.Before(until)
}

func (c *promptCache) put(sum uint64, until time.Time) {
	if c.young == nil || len(c.young) >= maxGeneration {
		c.young, c.old = make(map[uint64]time.Time), c.young
	}
	c.young[sum] = until
}
