package main

import (
	"fmt"
	"io"
	"runtime"
	"time"
)

// write prints all figures in Markdown.
func write(w io.Writer, results []result, memories []memory) error {
	fmt.Fprintf(w, "%s, %d CPUs, %s/%s, %s.\n\n", time.Now().UTC().Format(time.DateOnly), runtime.NumCPU(), runtime.GOOS, runtime.GOARCH, runtime.Version())
	fmt.Fprintln(w, "| CPU of the gateway | clients | with the ledger | aim | without | aim | a bare reverse proxy | allocations | without the ledger | providers' | clients' |")
	fmt.Fprintln(w, "| --- | --: | --: | --: | --: | --: | --: | --: | --: | --: | --: |")
	for _, r := range results {
		with, without := r.at[booking], r.at[careless]
		fmt.Fprintf(w, "| %s | %d | %s | %s | %s | %s | %s | %.0f, %.1f KB | %.0f, %.1f KB | %s | %s |\n", r.name, r.clients,
			short(with.cpu), short(r.aim), short(without.cpu), short(r.aimCareless), short(r.at[proxied].cpu),
			with.allocations, with.allocated/1000, without.allocations, without.allocated/1000, short(with.providers), short(with.clients))
	}
	for _, of := range [][3]string{{"a piece", shortStream, longStream}, {"a piece that comes alone", shortTrickle, longTrickle}} {
		name := of[0]
		brief, long, found := pair(results, of[1], of[2])
		if !found {
			continue
		}
		each := func(t string) time.Duration {
			return (long.at[t].cpu - brief.at[t].cpu) / (longPieces - shortPieces)
		}
		made := func(t string) float64 {
			return (long.at[t].allocations - brief.at[t].allocations) / (longPieces - shortPieces)
		}
		fmt.Fprintf(w, "| %s | %d | %s | %s | %s | | %s | %.1f | %.1f | | |\n", name, long.clients,
			short(each(booking)), short(aimOfPiece), short(each(careless)), short(each(proxied)), made(booking), made(careless))
	}
	fmt.Fprintln(w, "\n| latency | clients | direct p50 | p99 | added p50 | p99 | without the ledger p50 | p99 | a bare reverse proxy p50 | p99 | direct to through p50 |")
	fmt.Fprintln(w, "| --- | --: | --: | --: | --: | --: | --: | --: | --: | --: | --: |")
	for _, r := range results {
		if r.said.stream {
			continue // theirs is the provider's
		}
		straight, with, without := r.at[direct], r.at[booking], r.at[careless]
		fmt.Fprintf(w, "| %s | %d | %s | %s | %s | %s | %s | %s | %s | %s | %.2f |\n", r.name, r.clients, short(straight.p50), short(straight.p99),
			short(with.p50-straight.p50), short(with.p99-straight.p99), short(without.p50-straight.p50), short(without.p99-straight.p99),
			short(r.at[proxied].p50-straight.p50), short(r.at[proxied].p99-straight.p99), float64(with.p50)/float64(straight.p50))
	}
	if len(memories) == 0 {
		return nil
	}
	const mb = 1e6
	fmt.Fprintf(w, "\n| memory after | resident (MB; aim %.0f) | of it anonymous | heap | goroutines | descriptors |\n", float64(aimOfMemory)/mb)
	fmt.Fprintln(w, "| --- | --: | --: | --: | --: | --: |")
	for _, m := range memories {
		fmt.Fprintf(w, "| %s | %.1f | %.1f | %.1f | %d | %d |\n", m.when,
			float64(m.resident)/mb, float64(m.anonymous)/mb, float64(m.heap)/mb, m.goroutines, m.descriptors)
	}
	return nil
}

// pair finds two cases.
func pair(results []result, briefName, longName string) (brief, long result, found bool) {
	for _, r := range results {
		switch r.name {
		case briefName:
			brief = r
		case longName:
			long = r
		}
	}
	return brief, long, brief.at != nil && long.at != nil
}

// short is a time as people read it.
func short(d time.Duration) string {
	switch us := float64(d) / float64(time.Microsecond); {
	case us == 0: // it was not measured
		return ""
	case us >= 9999.5 || us <= -9999.5:
		return fmt.Sprintf("%.1f ms", us/1000)
	case us >= 100 || us <= -100:
		return fmt.Sprintf("%.0f µs", us)
	default:
		return fmt.Sprintf("%.1f µs", us)
	}
}
