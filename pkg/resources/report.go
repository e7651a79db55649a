package resources

import (
	"context"
	"math"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
)

// Report is what holds now, and who said so, for people and /statusz.
type Report struct {
	// MemoryLimit is the container's, in bytes; 0 if there is none.
	MemoryLimit     int64  `json:"memory_limit"`
	MemoryLimitFrom string `json:"memory_limit_from"`
	// GoMemLimit is GOMEMLIMIT in bytes; 0 if it is off.
	GoMemLimit     int64  `json:"gomemlimit"`
	GoMemLimitFrom string `json:"gomemlimit_from"`
	GoMaxProcs     int    `json:"gomaxprocs"`
	GoMaxProcsFrom string `json:"gomaxprocs_from"`
	// Problem says why the limit could not be read when that was last tried.
	Problem string `json:"problem,omitempty"`
}

// Report says what holds now.
func (f *Fitted) Report() Report {
	f.mu.Lock()
	defer f.mu.Unlock()
	r := Report{
		MemoryLimit: f.limit.Bytes, MemoryLimitFrom: f.limit.String(),
		GoMemLimit: f.machine.memoryLimit(-1), GoMemLimitFrom: "nothing",
		GoMaxProcs: f.machine.maxProcs(0), GoMaxProcsFrom: "the Go runtime",
		Problem: f.problem,
	}
	if r.GoMemLimit == math.MaxInt64 {
		r.GoMemLimit = 0
	}
	switch {
	case f.cfg.MemoryLimit != "":
		r.GoMemLimitFrom = "GOMEMLIMIT"
	case f.limit.Limited():
		r.GoMemLimitFrom = "90 % of the memory limit"
	}
	switch {
	case f.cfg.MaxProcs != "":
		r.GoMaxProcsFrom = "GOMAXPROCS"
	case f.cfg.CPURequest > 0:
		r.GoMaxProcsFrom = "HOLDFAST_CPU_REQUEST"
	}
	return r
}

// measure publishes the limit, and returns how to stop:
//
//	holdfast_memory_limit_bytes{source}   what the container may use; absent if nothing limits it
//
// GOMEMLIMIT and GOMAXPROCS are metrics of every Go program already:
// go_gc_gomemlimit_bytes and go_sched_gomaxprocs_threads.
func (f *Fitted) measure() (stop func() error) {
	meter := otel.Meter("github.com/holdfast-dev/holdfast/pkg/resources")
	limit, _ := meter.Int64ObservableGauge("holdfast_memory_limit_bytes",
		metric.WithDescription("Memory that the container may use before it is killed."))
	registration, err := meter.RegisterCallback(func(_ context.Context, o metric.Observer) error {
		f.mu.Lock()
		defer f.mu.Unlock()
		if f.limit.Limited() {
			source := map[int]string{1: "cgroup v1", 2: "cgroup v2"}[f.limit.Version]
			o.ObserveInt64(limit, f.limit.Bytes, metric.WithAttributes(attribute.String("source", source)))
		}
		return nil
	}, limit)
	if err != nil { // only for a name that breaks the rules
		otel.Handle(err)
		return func() error { return nil }
	}
	return registration.Unregister
}
