package main

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/holdfast-dev/holdfast/test/procfs"
)

// result is what a case came to at each target.
type result struct {
	measured
	at map[string]sample
}

// measure measures every case. Targets take turns, each round in another order, so
// that whatever else the machine does is shared fairly.
func (p plan) measure(ctx context.Context, s *stage, progress io.Writer) ([]result, error) {
	var results []result
	for _, c := range cases() {
		if !strings.Contains(fmt.Sprintf("%s, %d clients", c.name, c.clients), p.only) {
			continue
		}
		fmt.Fprintf(progress, "%s, %d clients\n", c.name, c.clients)
		if err := s.pace(ctx, c.pause); err != nil {
			return nil, err
		}
		found := map[string][]sample{}
		for round := range p.warming + p.rounds {
			targets := s.targets()
			rand.Shuffle(len(targets), func(i, j int) { targets[i], targets[j] = targets[j], targets[i] })
			for _, t := range targets {
				if t.name == proxied && c.said.stream {
					continue // now and then it closes a connection on which a stream still comes
				}
				one, err := p.round(ctx, s, c, t)
				if err != nil {
					return nil, fmt.Errorf("%s, %d clients, %s: %w", c.name, c.clients, t.name, err)
				}
				if round >= p.warming {
					found[t.name] = append(found[t.name], one)
				}
			}
		}
		r := result{c, map[string]sample{}}
		for name, all := range found {
			r.at[name] = median(all)
			fmt.Fprintf(progress, "  %-8s CPU %v, p50 %v, p99 %v\n", name, r.at[name].cpu, r.at[name].p50, r.at[name].p99)
		}
		results = append(results, r)
	}
	return results, nil
}

// warmth are requests that are not counted, for each client: its connection and the
// statements of the ledger are there then.
const warmth = 1

// profiled is how long a profile takes, in seconds: give it as many requests.
const profiled = 15

// round measures a case once.
func (p plan) round(ctx context.Context, s *stage, c measured, t target) (sample, error) {
	clients := newCrowd(c.clients)
	defer clients.leave()
	do, requests := t.ask(c.said.bytes()), max(p.requests/c.share, 1)
	if _, err := clients.each(ctx, warmth*c.clients, do); err != nil {
		return sample{}, err
	}
	var profiling errgroup.Group
	defer func() { _ = profiling.Wait() }() // after an error
	if p.profiles != "" && t.gateway() {
		profiling.Go(func() error {
			return profile(ctx, t.part, profiled, p.profiles, fmt.Sprintf("%s %s %d", t.name, c.name, c.clients))
		})
	}
	before, err := s.read(ctx, t, true)
	if err != nil {
		return sample{}, err
	}
	took, err := clients.each(ctx, requests, do)
	if err != nil {
		return sample{}, err
	}
	after, err := s.read(ctx, t, false)
	if err != nil {
		return sample{}, err
	}
	return after.since(before, requests, took), profiling.Wait()
}

// memory is what the gateway held at one moment.
type memory struct {
	when                string
	resident, anonymous int64
	heap                int64
	goroutines          int64
	descriptors         int64 // open files, which connections are
}

// rest is how long the gateway is left alone before its memory is looked at: longer
// than it keeps connections that nobody uses, and requests that nobody answers for.
const rest = 45 * time.Second

// remember looks at the gateway's memory, after very many requests and very many
// streams that were left. The collector is run before each look, so that garbage
// does not count; pages that it has emptied but not given back do.
func (p plan) remember(ctx context.Context, s *stage, progress io.Writer) ([]memory, error) {
	if p.many == 0 {
		return nil, nil
	}
	settle, clients := rest, 32
	if p.many < 1000 { // a short one
		settle = 100 * time.Millisecond
	}
	var found []memory
	look := func(when string) error {
		fmt.Fprintln(progress, when)
		for _, pause := range []time.Duration{0, settle} {
			if err := sleep(ctx, pause); err != nil {
				return err
			}
			name := when
			if pause > 0 {
				name += fmt.Sprintf(", and %v later", pause)
			}
			m, err := s.memoryOf(ctx, name)
			if err != nil {
				return err
			}
			found = append(found, m)
		}
		return nil
	}
	t := s.targets()[2]
	many := func(times int) error {
		crowd := newCrowd(clients)
		defer crowd.leave()
		_, err := crowd.each(ctx, times, t.ask(conversation{model: "sandbox-small", tokens: 20}.bytes()))
		return err
	}
	leave := func(times int) error {
		crowd := newCrowd(4 * clients)
		defer crowd.leave()
		_, err := crowd.each(ctx, times, t.abandon)
		return err
	}
	if err := s.pace(ctx, 0); err != nil {
		return nil, err
	}
	for _, part := range []int{p.many / 10, p.many - p.many/10} {
		if err := many(part); err != nil {
			return nil, err
		}
		if err := look(fmt.Sprintf("%d more requests", part)); err != nil {
			return nil, err
		}
	}
	if err := s.pace(ctx, time.Millisecond); err != nil {
		return nil, err
	}
	for _, part := range []int{p.abandoned / 10, p.abandoned - p.abandoned/10} {
		if err := leave(part); err != nil {
			return nil, err
		}
		if err := look(fmt.Sprintf("%d more streams that were left", part)); err != nil {
			return nil, err
		}
	}
	return found, nil
}

// memoryOf looks at the gateway.
func (s *stage) memoryOf(ctx context.Context, when string) (memory, error) {
	m := memory{when: when}
	collected, err := get(ctx, "http://"+s.booking.at.Admin+"/debug/pprof/heap?gc=1&debug=1")
	if err != nil {
		return m, err
	}
	collected.Close()
	metrics, err := metricsOf(ctx, &s.booking)
	if err != nil {
		return m, err
	}
	m.heap, m.goroutines, m.descriptors = int64(metrics["go_memstats_heap_inuse_bytes"]), int64(metrics["go_goroutines"]), int64(metrics["process_open_fds"])
	m.resident, m.anonymous, err = procfs.Memory(s.booking.process.PID())
	return m, err
}

func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
