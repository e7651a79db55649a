package drill

import (
	"cmp"
	"encoding/json"
	"net/http"
)

// steered is a load that somebody steers from outside: see [Visit.Control].
type steered struct {
	// phase names what comes.
	phase func(name string)
	// soFar judges what was seen until now.
	soFar func() *Verdict
	// stop ends the load.
	stop func()
}

// control answers those who steer. Verdict is what the load has found when it is
// over; the answer to /stop waits for it.
func (s steered) control(verdict func() (*Verdict, error)) http.Handler {
	mux := http.NewServeMux()
	answer := func(w http.ResponseWriter, value any) {
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(value) // whoever asked may be gone
	}
	mux.HandleFunc("GET /report", func(w http.ResponseWriter, _ *http.Request) { answer(w, s.soFar()) })
	mux.HandleFunc("POST /phase", func(w http.ResponseWriter, r *http.Request) {
		s.phase(cmp.Or(r.URL.Query().Get("name"), "unnamed"))
		answer(w, s.soFar())
	})
	mux.HandleFunc("POST /stop", func(w http.ResponseWriter, _ *http.Request) {
		s.stop()
		result, err := verdict()
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		answer(w, result)
	})
	return mux
}
