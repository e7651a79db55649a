package shed

import "maps"

// Report is what /statusz shows.
type Report struct {
	// Shedding says whether calls were refused in the last few seconds.
	Shedding bool `json:"shedding"`
	// Limit is how many calls may be in flight.
	Limit int `json:"limit"`
	// InFlight is how many are.
	InFlight int `json:"in_flight"`
	// Queued is how many wait for their turn.
	Queued int `json:"queued"`
	// Calls counts calls since the start by criticality, and those that were
	// refused by the reason too.
	Calls map[string]map[string]int64 `json:"calls"`
}

// Report tells the state now. Criticalities without a call are left out.
func (s *Shedder) Report() Report {
	r := s.read()
	report := Report{Shedding: r.shedding, Limit: r.limit, InFlight: r.inFlight, Queued: r.queued, Calls: map[string]map[string]int64{}}
	for l := range levels {
		calls := map[string]int64{}
		for i, n := range r.counts[l] {
			name := labels[i].outcome
			if name == "shed" {
				name += "_" + labels[i].reason
			}
			calls[name] += n
		}
		maps.DeleteFunc(calls, func(_ string, n int64) bool { return n == 0 })
		if len(calls) > 0 {
			report.Calls[levels[l].name] = calls
		}
	}
	return report
}

// reading is the state at one moment.
type reading struct {
	shedding                bool
	limit, inFlight, queued int
	counts                  [len(levels)][outcomes]int64
}

func (s *Shedder) read() reading {
	s.mu.Lock()
	defer s.mu.Unlock()
	return reading{
		shedding: s.episode.on,
		limit:    s.limit.calls(), inFlight: s.inFlight, queued: s.queue.length,
		counts: s.counts,
	}
}
