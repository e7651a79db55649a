package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/holdfast-dev/holdfast/test/procfs"
)

// sample is what one round of a case came to, for a request.
type sample struct {
	cpu         time.Duration // of the target: the gateway's, or the providers'
	providers   time.Duration // CPU of theirs
	clients     time.Duration // CPU of this process
	allocations float64       // of the target; 0: it does not tell
	allocated   float64       // bytes
	p50, p99    time.Duration
}

// median is one of each.
func median(all []sample) sample {
	pick := func(of func(sample) float64) float64 {
		values := make([]float64, 0, len(all))
		for _, s := range all {
			values = append(values, of(s))
		}
		slices.Sort(values)
		return values[len(values)/2]
	}
	long := func(of func(sample) time.Duration) time.Duration {
		return time.Duration(pick(func(s sample) float64 { return float64(of(s)) }))
	}
	return sample{
		cpu:         long(func(s sample) time.Duration { return s.cpu }),
		providers:   long(func(s sample) time.Duration { return s.providers }),
		clients:     long(func(s sample) time.Duration { return s.clients }),
		allocations: pick(func(s sample) float64 { return s.allocations }),
		allocated:   pick(func(s sample) float64 { return s.allocated }),
		p50:         long(func(s sample) time.Duration { return s.p50 }),
		p99:         long(func(s sample) time.Duration { return s.p99 }),
	}
}

// meter is how far everything had come at one moment.
type meter struct {
	target, providers, clients time.Duration
	metrics                    map[string]float64
}

// read looks at the processes. Metrics are read outside of what they would disturb:
// before it, when the load is still to come, and after it otherwise.
func (s *stage) read(ctx context.Context, t target, before bool) (m meter, err error) {
	scrape := func() error {
		if !t.gateway() {
			return nil
		}
		m.metrics, err = metricsOf(ctx, t.part)
		return err
	}
	if before {
		if err := scrape(); err != nil {
			return m, err
		}
	}
	for process, to := range map[int]*time.Duration{
		t.part.process.PID(): &m.target, s.providers.process.PID(): &m.providers, os.Getpid(): &m.clients,
	} {
		if *to, err = procfs.CPU(process); err != nil {
			return m, fmt.Errorf("looking at a process: %w", err)
		}
	}
	if t.name == direct {
		m.providers = m.target
	}
	if !before {
		return m, scrape()
	}
	return m, nil
}

// since is what so many requests cost, each.
func (m meter) since(before meter, requests int, took []time.Duration) sample {
	each := func(now, then time.Duration) time.Duration { return (now - then) / time.Duration(requests) }
	counted := func(name string) float64 { return (m.metrics[name] - before.metrics[name]) / float64(requests) }
	slices.Sort(took)
	return sample{
		cpu: each(m.target, before.target), providers: each(m.providers, before.providers), clients: each(m.clients, before.clients),
		allocations: counted("go_memstats_mallocs_total"), allocated: counted("go_memstats_alloc_bytes_total"),
		p50: took[len(took)/2], p99: took[len(took)*99/100],
	}
}

// metricsOf scrapes a process, for what has no labels.
func metricsOf(ctx context.Context, p *part) (map[string]float64, error) {
	body, err := get(ctx, "http://"+p.at.Probe+"/metrics")
	if err != nil {
		return nil, err
	}
	defer body.Close()
	values := map[string]float64{}
	lines := bufio.NewScanner(body)
	for lines.Scan() {
		name, value, found := strings.Cut(lines.Text(), " ")
		if number, err := strconv.ParseFloat(value, 64); found && err == nil {
			values[name] = number
		}
	}
	return values, lines.Err()
}

// profile writes a CPU profile of a process to a file, which takes so many seconds.
func profile(ctx context.Context, p *part, seconds int, folder, name string) error {
	body, err := get(ctx, fmt.Sprintf("http://%s/debug/pprof/profile?seconds=%d", p.at.Admin, seconds))
	if err != nil {
		return err
	}
	defer body.Close()
	file, err := os.Create(filepath.Join(folder, strings.ReplaceAll(name, " ", "-")+".pprof"))
	if err != nil {
		return err
	}
	if _, err := io.Copy(file, body); err != nil {
		return err
	}
	return file.Close()
}

func get(ctx context.Context, url string) (io.ReadCloser, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return nil, err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, err
	}
	if response.StatusCode != http.StatusOK {
		response.Body.Close()
		return nil, fmt.Errorf("%s answers %s", url, response.Status)
	}
	return response.Body, nil
}
