package llm

import (
	"crypto/sha256"
	"sync"
)

// sends counts how often the same request was sent. It forgets what was not
// sent for long: two generations, of which the older goes when the younger is
// full.
type sends struct {
	mu         sync.Mutex
	young, old map[sendKey]uint64
}

type sendKey struct {
	provider Provider
	identity [sha256.Size]byte
}

// maxGeneration is how much one generation remembers.
const maxGeneration = 1 << 15

// count counts this send and answers how many there were.
func (s *sends) count(p Provider, identity [sha256.Size]byte) uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	key := sendKey{p, identity}
	n, known := s.young[key]
	if !known {
		n = s.old[key]
	}
	if s.young == nil || len(s.young) >= maxGeneration {
		s.young, s.old = make(map[sendKey]uint64), s.young
	}
	s.young[key] = n + 1
	return n + 1
}
