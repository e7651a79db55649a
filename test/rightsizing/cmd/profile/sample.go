package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/holdfast-dev/holdfast/test/procfs"
)

// usage is what a process uses at one moment.
type usage struct {
	cpu        time.Duration // since it started
	resident   int64         // as its cgroup counts it: pages of its executable included
	anonymous  int64         // of these, what the kernel cannot drop and read again
	heap       int64         // in use, garbage that is not collected yet included
	goroutines int64
}

// row is what a process used in a stage.
type row struct {
	service string
	cores   float64
	// The most that was seen of each.
	resident, anonymous, heap, goroutines int64
}

// look is how often processes are looked at.
const look = 250 * time.Millisecond

// observed is a service that can be looked at.
type observed interface {
	String() string
	usage(ctx context.Context) (usage, error)
}

// watch looks at every service while something is done.
func watch(ctx context.Context, services []observed, do func(context.Context) error) ([]row, error) {
	rows := make([]row, len(services))
	first := make([]usage, len(services))
	began := time.Now()
	for n, s := range services {
		var err error
		if first[n], err = s.usage(ctx); err != nil {
			return nil, err
		}
		rows[n].service = s.String()
	}
	done := make(chan error, 1)
	go func() { done <- do(ctx) }() // waited for below
	tick := time.NewTicker(look)
	defer tick.Stop()
	var lookErr error
	for {
		select {
		case err := <-done:
			if err == nil {
				err = lookErr
			}
			return rows, err
		case <-tick.C:
		}
		for n, s := range services {
			now, err := s.usage(ctx)
			if err != nil {
				lookErr = err
				continue
			}
			rows[n].cores = (now.cpu - first[n].cpu).Seconds() / time.Since(began).Seconds()
			rows[n].resident = max(rows[n].resident, now.resident)
			rows[n].anonymous = max(rows[n].anonymous, now.anonymous)
			rows[n].heap = max(rows[n].heap, now.heap)
			rows[n].goroutines = max(rows[n].goroutines, now.goroutines)
		}
	}
}

// String is the service's name.
func (s service) String() string { return s.name }

func (s service) usage(ctx context.Context) (usage, error) {
	var u usage
	var err error
	if u.cpu, err = procfs.CPU(s.pid); err != nil {
		return usage{}, fmt.Errorf("looking at %s: %w", s.name, err)
	}
	if u.resident, u.anonymous, err = procfs.Memory(s.pid); err != nil {
		return usage{}, fmt.Errorf("looking at %s: %w", s.name, err)
	}
	if s.probe == "" {
		return u, nil
	}
	metrics, err := s.metrics(ctx)
	if err != nil {
		return usage{}, fmt.Errorf("looking at %s: %w", s.name, err)
	}
	u.heap, u.goroutines = int64(metrics["go_memstats_heap_inuse_bytes"]), int64(metrics["go_goroutines"])
	return u, nil
}

// metrics scrapes a service, for what has no labels.
func (s service) metrics(ctx context.Context) (map[string]float64, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+s.probe+"/metrics", http.NoBody)
	if err != nil {
		return nil, err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	return parseMetrics(response.Body)
}

// parseMetrics reads what a scrape returned, as far as it has no labels.
func parseMetrics(text io.Reader) (map[string]float64, error) {
	values := map[string]float64{}
	lines := bufio.NewScanner(text)
	for lines.Scan() {
		name, value, found := strings.Cut(lines.Text(), " ")
		if number, err := strconv.ParseFloat(value, 64); found && err == nil {
			values[name] = number
		}
	}
	return values, lines.Err()
}
