package health

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"
)

// Handler answers the probes, from memory:
//
//	/startupz  200 once started
//	/livez     200 unless a heart is silent; a drain does not matter
//	/readyz    200 while ready
//	/statusz   everything, as JSON, for people
func (h *Health) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /startupz", h.probe(func() (bool, string) { return h.started, h.state() }))
	mux.HandleFunc("GET /readyz", h.probe(func() (bool, string) { return h.ready(), h.state() }))
	mux.HandleFunc("GET /livez", h.probe(func() (bool, string) {
		if stuck := h.stuck(); len(stuck) > 0 {
			return false, "stuck: " + strings.Join(stuck, ", ")
		}
		return true, "alive"
	}))
	mux.HandleFunc("GET /statusz", h.statusz)
	return mux
}

// probe answers one question, asked under the lock.
func (h *Health) probe(ask func() (ok bool, why string)) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		h.mu.Lock()
		ok, why := ask()
		h.mu.Unlock()
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		w.Header().Set("Cache-Control", "no-store")
		if !ok {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
		fmt.Fprintln(w, why)
	}
}

// report is the body of /statusz.
type report struct {
	About        map[string]string  `json:"about,omitempty"`
	State        string             `json:"state"`
	Since        time.Time          `json:"since"`
	Uptime       string             `json:"uptime"`
	Stuck        []string           `json:"stuck,omitempty"`
	Services     []string           `json:"services,omitempty"`
	Dependencies []dependencyReport `json:"dependencies,omitempty"`
	Details      map[string]any     `json:"details,omitempty"`
}

type dependencyReport struct {
	Name    string    `json:"name"`
	State   string    `json:"state"`
	Since   time.Time `json:"since,omitzero"`
	Checked time.Time `json:"checked,omitzero"`
	Problem string    `json:"problem,omitempty"`
}

func (h *Health) statusz(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	encoder := json.NewEncoder(w)
	encoder.SetIndent("", "  ")
	report, details := h.report()
	for section, tell := range details {
		report.Details[section] = tell()
	}
	_ = encoder.Encode(report) // whoever asked may be gone
}

// report is what h knows, and who tells the details.
func (h *Health) report() (r report, details map[string]func() any) {
	h.mu.Lock()
	defer h.mu.Unlock()
	now := h.now()
	r = report{
		Details:  map[string]any{},
		About:    h.about,
		State:    h.state(),
		Since:    h.since,
		Uptime:   now.Sub(h.began).Round(time.Second).String(),
		Stuck:    h.stuck(),
		Services: slices.Sorted(maps.Keys(h.services)),
	}
	for _, name := range slices.Sorted(maps.Keys(h.dependencies)) {
		d := h.dependencies[name]
		r.Dependencies = append(r.Dependencies, dependencyReport{
			Name: name, State: d.word(now), Since: d.since, Checked: d.checked, Problem: d.problem,
		})
	}
	return r, maps.Clone(h.details)
}

// word is the state of a dependency, for people.
func (w *watched) word(now time.Time) string {
	switch {
	case !w.known || w.stale(now):
		return "unknown"
	case w.serving:
		return "up"
	default:
		return "down"
	}
}
