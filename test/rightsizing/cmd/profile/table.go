package main

import (
	"fmt"
	"io"
	"maps"
	"runtime"
	"slices"
	"time"

	"github.com/holdfast-dev/holdfast/test/drill"
)

// table is all that was measured.
type table []stage

// stage is one part of the measurement.
type stage struct {
	name    string
	rows    []row
	verdict *drill.Verdict // nil if there was no load of the drills
}

func (t *table) add(name string, rows []row) { *t = append(*t, stage{name: name, rows: rows}) }

// annotate says how the load of the last stage fared.
func (t table) annotate(v *drill.Verdict) { t[len(t)-1].verdict = v }

// write prints the table in Markdown. Held is the highest rate that was served
// well, 0 if none was.
func (t table) write(w io.Writer, held float64) error {
	const mib = 1 << 20
	fmt.Fprintf(w, "%s, %d CPUs, %s/%s, %s. The highest rate that held: %g a second.\n\n",
		time.Now().UTC().Format(time.DateOnly), runtime.NumCPU(), runtime.GOOS, runtime.GOARCH, runtime.Version(), held)
	fmt.Fprintln(w, "| stage | service | CPU (cores) | cores for 100/s | resident (MiB) | of it anonymous | heap (MiB) | goroutines |")
	fmt.Fprintln(w, "| --- | --- | --: | --: | --: | --: | --: | --: |")
	for _, s := range t {
		for _, r := range s.rows {
			each := "" // per 100 requests a second that were really sent
			if s.verdict != nil {
				if sent := float64(s.verdict.Sent) / s.verdict.Took; sent > 0 {
					each = fmt.Sprintf("%.3f", r.cores/sent*100)
				}
			}
			anonymous, heap, goroutines := "", "", ""
			if r.anonymous > 0 {
				anonymous = fmt.Sprintf("%.1f", float64(r.anonymous)/mib)
			}
			if r.heap > 0 {
				heap, goroutines = fmt.Sprintf("%.1f", float64(r.heap)/mib), fmt.Sprint(r.goroutines)
			}
			fmt.Fprintf(w, "| %s | %s | %.3f | %s | %.1f | %s | %s | %s |\n",
				s.name, r.service, r.cores, each, float64(r.resident)/mib, anonymous, heap, goroutines)
		}
	}
	fmt.Fprintln(w, "\n| rate | requests | failed | p50 | p99 | max | generator late |")
	fmt.Fprintln(w, "| --- | --: | --: | --: | --: | --: | --: |")
	for _, s := range t {
		if s.verdict == nil {
			continue
		}
		p := s.verdict.Phases[0]
		fmt.Fprintf(w, "| %s | %d | %d | %.0f ms | %.0f ms | %.0f ms | %.0f ms |\n",
			s.name, p.Sent, p.Failed, p.P50*1000, p.P99*1000, p.Max*1000, s.verdict.Late*1000)
		for _, kind := range slices.Sorted(maps.Keys(s.verdict.Failed)) {
			fmt.Fprintf(w, "| | | %d %s | | | | |\n", s.verdict.Failed[kind], kind)
		}
	}
	return nil
}
