package drill

import (
	"context"
	"encoding/json"
	"net/http"
	"sync"
	"time"
)

// breakerWatch notes the states in which a circuit breaker was seen.
type breakerWatch struct {
	cancel context.CancelFunc
	work   sync.WaitGroup

	mu   sync.Mutex
	seen map[string]bool
	last string
}

// watchBreaker asks a replica again and again for its breaker of a dependency.
func watchBreaker(ctx context.Context, r Replica, dependency string) *breakerWatch {
	ctx, cancel := context.WithCancel(ctx)
	w := &breakerWatch{cancel: cancel, seen: map[string]bool{}}
	w.work.Go(func() {
		tick := time.NewTicker(pollEvery)
		defer tick.Stop()
		for {
			if state, ok := breakerOf(ctx, r, dependency); ok {
				w.mu.Lock()
				w.seen[state], w.last = true, state
				w.mu.Unlock()
			}
			select {
			case <-tick.C:
			case <-ctx.Done():
				return
			}
		}
	})
	return w
}

// stop ends the watching, and returns whether the breaker was ever open and in
// which state it was last.
func (w *breakerWatch) stop() (opened bool, last string) {
	w.cancel()
	w.work.Wait()
	return w.seen["open"], w.last
}

// breakerOf asks a replica's admin port; not ok if it did not say.
func breakerOf(ctx context.Context, r Replica, dependency string) (state string, ok bool) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+r.Admin+"/breakers", http.NoBody)
	if err != nil {
		return "", false
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return "", false
	}
	defer response.Body.Close()
	var all []struct {
		Dependency string `json:"dependency"`
		Breaker    string `json:"breaker"`
	}
	if json.NewDecoder(response.Body).Decode(&all) != nil {
		return "", false
	}
	for _, one := range all {
		if one.Dependency == dependency {
			return one.Breaker, true
		}
	}
	return "", false
}
