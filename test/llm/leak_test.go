package llm

import (
	"context"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/holdfast-dev/holdfast/pkg/auth"
	sandbox "github.com/holdfast-dev/holdfast/services/sandbox/llm"
)

// TestStreamsThatClientsLeaveLeaveNothingBehind: no goroutine, no memory that grows
// with their number, and no request upstream. Clients leave at points drawn at
// random, before the first byte and after the last included.
func TestStreamsThatClientsLeaveLeaveNothingBehind(t *testing.T) {
	const (
		streams = 1000
		clients = 50
		leaked  = streams / 20 // or more would be said to leak: fewer come and go by themselves
	)
	p := start(t, "", "HOLDFAST_SHED_MIN", "512", "HOLDFAST_SHED_INITIAL", "512", "HOLDFAST_SHED_MAX", "512",
		"HOLDFAST_MAX_STREAMS", "1024", "HOLDFAST_RATE_TENANT_WRITES", "1000000", "HOLDFAST_RATE_TENANT_READS", "1000000")
	require.NoError(t, p.providers.SetScript(sandbox.Script{Latencies: []sandbox.Latency{{FirstToken: sandbox.Duration(5 * time.Millisecond), Chunk: sandbox.Duration(2 * time.Millisecond)}}}))
	transport := &http.Transport{MaxIdleConnsPerHost: clients}
	client := &http.Client{Transport: transport}

	leave := func(times int) {
		var left atomic.Int64
		var all sync.WaitGroup
		for range clients {
			all.Go(func() {
				for left.Add(1) <= int64(times) {
					abandon(t.Context(), client, p.gateway.HTTPURL)
				}
			})
		}
		all.Wait()
		transport.CloseIdleConnections()
	}
	// What the first ones make stays: connections of the pool, statements, labels.
	leave(streams / 5)
	before := p.atRest()
	leave(streams)
	rows, _, err := p.providers.Invoice().Rows(sandbox.Selection{Limit: 2 * streams})
	require.NoError(t, err)
	require.Greater(t, len(rows), streams/4, "that a provider saw begin")
	var after footprint
	require.Eventually(t, func() bool {
		after = p.atRest()
		return after.goroutines <= before.goroutines+leaked && after.heap <= before.heap+leaked*(32<<10)
	}, 30*time.Second, 200*time.Millisecond, "%+v became %+v", before, &after)
	require.Equal(t, http.StatusOK, p.ask(openAI, said(openAI, "sandbox-small", "still there?")).status)
}

// abandon begins a stream in one of the protocols, reads some of it, and leaves.
func abandon(ctx context.Context, client *http.Client, at string) {
	path, model := openAI, "sandbox-small"
	if rand.N(2) == 0 {
		path, model = anthropic, "sandbox-large"
	}
	patience := 20 * time.Second
	if rand.N(4) == 0 { // it leaves by time, likely before anything came
		patience = rand.N(50 * time.Millisecond)
	}
	ctx, leave := context.WithTimeout(ctx, patience)
	defer leave()
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, at+path, strings.NewReader(said(path, model, "[[tokens 30]]", asStream)))
	if err != nil {
		return // a test that is over
	}
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("Authorization", "Bearer "+auth.DevelopmentKey)
	response, err := client.Do(request)
	if err != nil {
		return // it left
	}
	defer response.Body.Close()
	_, _ = io.CopyN(io.Discard, response.Body, rand.Int64N(8000)) // or less, if it leaves before
}

// footprint is what the process holds.
type footprint struct {
	goroutines int
	heap       uint64
}

// atRest waits until no provider is asked any more, and looks.
func (p *platform) atRest() footprint {
	p.t.Helper()
	require.Eventually(p.t, func() bool { return p.upstream.busy() == 0 }, time.Minute, 20*time.Millisecond, "a provider still answers nobody")
	runtime.GC()
	runtime.GC() // what pools kept over the first
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return footprint{runtime.NumGoroutine(), m.HeapAlloc}
}

// connections are those of a server, by their state.
type connections struct {
	mu     sync.Mutex
	states map[net.Conn]http.ConnState
}

// see is told of every change; see [http.Server.ConnState].
func (c *connections) see(conn net.Conn, state http.ConnState) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.states == nil {
		c.states = map[net.Conn]http.ConnState{}
	}
	if c.states[conn] = state; state == http.StateClosed || state == http.StateHijacked {
		delete(c.states, conn)
	}
}

// busy is how many a request is on.
func (c *connections) busy() (n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, state := range c.states {
		if state == http.StateActive {
			n++
		}
	}
	return n
}
