package drill

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"time"

	"google.golang.org/grpc/resolver"
)

// Scheme is that of targets which the drill's own resolver resolves:
// `drill:///HOST:PORT`, where an [Endpoints] is served.
const Scheme = "drill"

// RegisterResolver makes this process resolve [Scheme]. A service then finds
// another one's ready replicas as it would by the DNS of a headless service,
// on one machine and with every replica on a port of its own.
func RegisterResolver() { resolver.Register(builder{}) }

type builder struct{}

// Scheme implements resolver.Builder.
func (builder) Scheme() string { return Scheme }

// Build implements resolver.Builder.
func (builder) Build(target resolver.Target, conn resolver.ClientConn, _ resolver.BuildOptions) (resolver.Resolver, error) {
	ctx, cancel := context.WithCancel(context.Background())
	w := &watcher{url: "http://" + target.Endpoint() + "/", conn: conn, cancel: cancel, again: make(chan struct{}, 1)}
	w.work.Go(func() { w.watch(ctx) })
	return w, nil
}

// watcher asks for the addresses again and again.
type watcher struct {
	url    string
	conn   resolver.ClientConn
	cancel context.CancelFunc
	again  chan struct{}
	work   sync.WaitGroup
}

// ResolveNow is gRPC's word that a connection was lost.
func (w *watcher) ResolveNow(resolver.ResolveNowOptions) {
	select {
	case w.again <- struct{}{}:
	default:
	}
}

// Close ends the asking.
func (w *watcher) Close() {
	w.cancel()
	w.work.Wait()
}

func (w *watcher) watch(ctx context.Context) {
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	var known []string
	for {
		addresses, err := w.ask(ctx)
		switch {
		case err != nil && ctx.Err() == nil && known == nil:
			w.conn.ReportError(err)
		case err == nil && !slices.Equal(addresses, known):
			known = addresses
			state := resolver.State{}
			for _, address := range addresses {
				state.Addresses = append(state.Addresses, resolver.Address{Addr: address})
			}
			_ = w.conn.UpdateState(state) // an empty list is refused, and asked for again
		}
		select {
		case <-tick.C:
		case <-w.again:
			select { // lost connections come in flocks
			case <-time.After(20 * time.Millisecond):
			case <-ctx.Done():
				return
			}
		case <-ctx.Done():
			return
		}
	}
}

func (w *watcher) ask(ctx context.Context) ([]string, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, w.url, http.NoBody)
	if err != nil {
		return nil, err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, fmt.Errorf("ask for the addresses: %w", err)
	}
	defer response.Body.Close()
	var addresses []string
	if err := json.NewDecoder(response.Body).Decode(&addresses); err != nil {
		return nil, fmt.Errorf("ask for the addresses: %w", err)
	}
	return addresses, nil
}
