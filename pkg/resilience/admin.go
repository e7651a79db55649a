package resilience

import (
	"encoding/json"
	"net/http"
)

// maxAdminBody is more than any order to a breaker.
const maxAdminBody = 4 << 10

// Register adds to the admin port:
//
//	GET    /breakers          every dependency and its breaker
//	PUT    /breakers/{name}   {"mode": "forced_open" | "forced_closed" | "automatic"}
//	DELETE /breakers/{name}   the same as automatic
//
// A forced breaker stays so until it is told otherwise, or the process ends.
func (r *Registry) Register(mux *http.ServeMux) {
	mux.HandleFunc("GET /breakers", func(w http.ResponseWriter, _ *http.Request) { writeJSON(w, http.StatusOK, r.Status()) })
	mux.HandleFunc("PUT /breakers/{name}", func(w http.ResponseWriter, request *http.Request) {
		var order struct {
			Mode string `json:"mode"`
		}
		decoder := json.NewDecoder(http.MaxBytesReader(w, request.Body, maxAdminBody))
		decoder.DisallowUnknownFields()
		if err := decoder.Decode(&order); err != nil {
			writeProblem(w, http.StatusBadRequest, "the body is not an order to a breaker: "+err.Error())
			return
		}
		for m, name := range modes {
			if name == order.Mode {
				r.force(w, request.PathValue("name"), m)
				return
			}
		}
		writeProblem(w, http.StatusBadRequest, "mode must be forced_open, forced_closed or automatic")
	})
	mux.HandleFunc("DELETE /breakers/{name}", func(w http.ResponseWriter, request *http.Request) {
		r.force(w, request.PathValue("name"), automatic)
	})
}

func (r *Registry) force(w http.ResponseWriter, name string, m mode) {
	r.mu.Lock()
	d, ok := r.known[name]
	r.mu.Unlock()
	if !ok {
		writeProblem(w, http.StatusNotFound, "there is no dependency of this name")
		return
	}
	d.breaker.force(m)
	r.log.Warn("a circuit breaker was told what to do", "dependency", name, "mode", m.String())
	writeJSON(w, http.StatusOK, d.Status())
}

func writeProblem(w http.ResponseWriter, code int, text string) {
	writeJSON(w, code, map[string]string{"problem": text})
}

func writeJSON(w http.ResponseWriter, code int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(body) // whoever asked may be gone
}
