package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/holdfast-dev/holdfast/pkg/auth"
)

// target is where requests go.
type target struct {
	name       string
	base       string // of OpenAI's protocol
	messages   string // of Anthropic's
	credential string
	part       *part
}

// The names of targets.
const (
	direct   = "direct"
	booking  = "booking"
	careless = "careless"
	proxied  = "proxied"
)

// targets are the providers, and what can be in front of them.
func (s *stage) targets() []target {
	gateway := func(name string, p *part) target {
		return target{name, "http://" + p.at.HTTP + "/v1", "http://" + p.at.HTTP + "/v1", auth.DevelopmentKey, p}
	}
	providers := "http://" + s.providers.at.HTTP + "/llm/"
	return []target{
		{direct, providers + "openai/v1", providers + "anthropic/v1", "sandbox-key", &s.providers},
		{proxied, "http://" + s.proxy.at.HTTP + "/llm/openai/v1", "http://" + s.proxy.at.HTTP + "/llm/anthropic/v1", "sandbox-key", &s.proxy},
		gateway(booking, &s.booking),
		gateway(careless, &s.careless),
	}
}

// gateway says whether it is one, which can be asked for metrics and profiles.
func (t target) gateway() bool { return t.name == booking || t.name == careless }

// crowd are clients that each send one request after another.
type crowd struct {
	clients int
	http    *http.Client
}

func newCrowd(clients int) *crowd {
	return &crowd{clients, &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: clients, DisableCompression: true}}}
}

// leave closes the connections.
func (c *crowd) leave() { c.http.CloseIdleConnections() }

// each has the clients do something so often in all, and returns how long each took.
// The first error ends it.
func (c *crowd) each(ctx context.Context, times int, do func(ctx context.Context, client *http.Client) error) ([]time.Duration, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	took := make([]time.Duration, times)
	var next atomic.Int64
	var all sync.WaitGroup
	for range c.clients {
		all.Go(func() {
			for n := next.Add(1) - 1; n < int64(times) && ctx.Err() == nil; n = next.Add(1) - 1 {
				began := time.Now()
				if err := do(ctx, c.http); err != nil {
					cancel(err)
					return
				}
				took[n] = time.Since(began)
			}
		})
	}
	all.Wait()
	return took, context.Cause(ctx)
}

// post sends a request; the answer is to be closed, and is one of success.
func (t target) post(ctx context.Context, client *http.Client, url string, body []byte) (*http.Response, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("Authorization", "Bearer "+t.credential)
	request.Header.Set("Anthropic-Version", "2023-06-01")
	response, err := client.Do(request)
	if err != nil {
		return nil, err
	}
	if response.StatusCode != http.StatusOK {
		defer response.Body.Close()
		said, _ := io.ReadAll(response.Body)
		return nil, fmt.Errorf("%s answers %s: %s", t.name, response.Status, said)
	}
	return response, nil
}

// ask sends a request and reads the answer to its end.
func (t target) ask(body []byte) func(context.Context, *http.Client) error {
	return func(ctx context.Context, client *http.Client) error {
		response, err := t.post(ctx, client, t.base+"/chat/completions", body)
		if err != nil {
			return err
		}
		defer response.Body.Close()
		_, err = io.Copy(io.Discard, response.Body)
		return err
	}
}

// abandon begins a stream, in one of the protocols, and leaves at some point of it.
func (t target) abandon(ctx context.Context, client *http.Client) error {
	url, body := t.base+"/chat/completions", conversation{model: "sandbox-small", tokens: 200, stream: true}
	if rand.N(2) == 0 {
		url, body = t.messages+"/messages", conversation{model: "sandbox-large", tokens: 200, stream: true}
	}
	ctx, leave := context.WithCancel(ctx)
	defer leave()
	response, err := t.post(ctx, client, url, body.bytes())
	if err != nil {
		return err
	}
	defer response.Body.Close()
	_, err = io.CopyN(io.Discard, response.Body, rand.Int64N(20_000))
	if errors.Is(err, io.EOF) {
		return nil // it was over before
	}
	return err
}
