package load

import (
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// Report is what a run has found.
type Report struct {
	// Phases are in the order in which they began.
	Phases []PhaseReport
	// Late is how late the worst arrival left. If it is not small against the
	// latencies, the machine that made the load was too slow to judge by it.
	Late time.Duration
	// Examples holds one detail for each kind of failure.
	Examples map[string]string
}

// PhaseReport is what happened to the arrivals of one phase, whenever they were
// answered.
type PhaseReport struct {
	// Name is the phase.
	Name string
	// Sent counts arrivals, however often each was tried.
	Sent int64
	// Failed counts the arrivals whose last attempt failed, by kind.
	Failed map[string]int64
	// Retried counts attempts after the first; Transparent those that the
	// transport made by itself because the server had not looked at the request.
	Retried, Transparent int64
	// Replayed counts stored answers.
	Replayed int64
	// Versions counts answers by the version that gave them.
	Versions map[string]int64
	// P50, P90, P99 and Max are latencies from the time a request was due to its
	// last answer, failures included.
	P50, P90, P99, Max time.Duration
}

// Failures sums what failed in the phase.
func (p PhaseReport) Failures() int64 {
	return sum(maps.Values(p.Failed))
}

// Sent sums the arrivals of all phases.
func (r Report) Sent() int64 {
	return r.total(func(p PhaseReport) int64 { return p.Sent })
}

// Replayed sums the stored answers of all phases.
func (r Report) Replayed() int64 {
	return r.total(func(p PhaseReport) int64 { return p.Replayed })
}

// Retried sums the attempts after the first of all phases.
func (r Report) Retried() int64 {
	return r.total(func(p PhaseReport) int64 { return p.Retried })
}

// Transparent sums the transport's own retries of all phases.
func (r Report) Transparent() int64 {
	return r.total(func(p PhaseReport) int64 { return p.Transparent })
}

// Failed sums the failures of all phases by kind.
func (r Report) Failed() map[string]int64 {
	all := map[string]int64{}
	for _, p := range r.Phases {
		for kind, n := range p.Failed {
			all[kind] += n
		}
	}
	return all
}

// Failures sums all that failed.
func (r Report) Failures() int64 {
	return r.total(PhaseReport.Failures)
}

func (r Report) total(of func(PhaseReport) int64) int64 {
	var n int64
	for _, p := range r.Phases {
		n += of(p)
	}
	return n
}

func sum(values func(func(int64) bool)) int64 {
	var n int64
	for v := range values {
		n += v
	}
	return n
}

// recorder collects what attempts report. One lock is enough: it is held for
// less than a microsecond, thousands of times a second.
type recorder struct {
	mu       sync.Mutex
	order    []string
	phases   map[string]*phase
	late     time.Duration
	examples map[string]string
	nSent    int64
	nFailed  int64
}

type phase struct {
	report  PhaseReport
	latency *hdrhistogram.Histogram
}

func newRecorder() *recorder {
	return &recorder{phases: map[string]*phase{}, examples: map[string]string{}}
}

// Latencies are kept in microseconds, up to an hour, to three digits.
const highestLatency = int64(time.Hour / time.Microsecond)

func (r *recorder) open(name string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if slices.Contains(r.order, name) {
		return
	}
	r.order = append(r.order, name)
	r.phases[name] = &phase{
		report:  PhaseReport{Name: name, Failed: map[string]int64{}, Versions: map[string]int64{}},
		latency: hdrhistogram.New(1, highestLatency, 3),
	}
}

func (r *recorder) sent(name string, late time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.phases[name].report.Sent++
	r.nSent++
	r.late = max(r.late, late)
}

func (r *recorder) done(name string, latency time.Duration, retries int, v Verdict) {
	r.mu.Lock()
	defer r.mu.Unlock()
	p := r.phases[name]
	p.report.Retried += int64(retries)
	p.report.Transparent += int64(v.TransparentRetries)
	if v.Replayed {
		p.report.Replayed++
	}
	if v.Version != "" {
		p.report.Versions[v.Version]++
	}
	if f := v.Failure; f != nil {
		p.report.Failed[f.Kind]++
		r.nFailed++
		if _, seen := r.examples[f.Kind]; !seen {
			r.examples[f.Kind] = f.Detail
		}
		if f.Kind == NotSent {
			return // it has no latency
		}
	}
	// Cannot fail: the value is held inside the histogram's range.
	_ = p.latency.RecordValue(min(max(latency.Microseconds(), 1), highestLatency))
}

func (r *recorder) counts() (sent, failed int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.nSent, r.nFailed
}

func (r *recorder) report() Report {
	r.mu.Lock()
	defer r.mu.Unlock()
	report := Report{Late: r.late, Examples: maps.Clone(r.examples)}
	for _, name := range r.order {
		p := r.phases[name]
		one := p.report
		one.Failed, one.Versions = maps.Clone(one.Failed), maps.Clone(one.Versions)
		one.P50 = microseconds(p.latency.ValueAtQuantile(50))
		one.P90 = microseconds(p.latency.ValueAtQuantile(90))
		one.P99 = microseconds(p.latency.ValueAtQuantile(99))
		one.Max = microseconds(p.latency.Max())
		report.Phases = append(report.Phases, one)
	}
	return report
}

func microseconds(n int64) time.Duration { return time.Duration(n) * time.Microsecond }
