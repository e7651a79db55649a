//go:build faults

package faults

import (
	"encoding/json"
	"maps"
	"net/http"
	"slices"

	"github.com/holdfast-dev/holdfast/pkg/apierror"
)

// Route answers /faults on the admin port's mux:
//
//	GET     the rules, the seed, how often each rule was applied
//	PUT     replaces all rules; all of them or, if anything is wrong, none
//	DELETE  turns faults off
//
// The body of a PUT is
//
//	{"seed": 7, "rules": [rule, …]}
//
// Without a seed one is made up, and shown. A rule has a method ("*",
// "/package.Service/*" or "/package.Service/Method"), a percentage of its calls,
// a fault, and what belongs to that:
//
//	{"method": "*", "percent": 10, "fault": "latency", "latency": "200ms", "jitter": "100ms"}
//	{"method": "*", "percent": 1, "fault": "error", "code": "INTERNAL", "when": "after"}
//	{"method": "*", "percent": 0.5, "fault": "reset"}
//	{"method": "/a.Service/Watch", "percent": 100, "fault": "cut", "messages": 3, "with": "reset"}
//
// A latency is the fixed part and, evenly spread, up to the jitter more; it ends
// with the call. Errors, resets and latencies come before the handler, which an
// error or a reset then never reaches, or `after` it: what it did is done, and
// the answer is lost. A cut lets the client have so many messages of a stream
// and ends it with an error or a reset. Where a code may stand, UNAVAILABLE is
// the default.
//
// Each rule decides by itself, in their order; the first error or reset is the
// last.
func (i *Injector) Route(mux *http.ServeMux) {
	if !i.allowed {
		mux.HandleFunc("/faults", func(w http.ResponseWriter, _ *http.Request) {
			http.Error(w, "fault injection needs HOLDFAST_ENV=development, and this process has another", http.StatusNotFound)
		})
		return
	}
	mux.HandleFunc("GET /faults", func(w http.ResponseWriter, _ *http.Request) { i.tell(w) })
	mux.HandleFunc("PUT /faults", i.put)
	mux.HandleFunc("DELETE /faults", func(w http.ResponseWriter, _ *http.Request) {
		if i.active.Swap(nil) != nil {
			i.log.Info("fault injection is off")
		}
		i.tell(w)
	})
}

func (i *Injector) put(w http.ResponseWriter, r *http.Request) {
	known := i.methods.Load()
	if known == nil {
		apierror.WriteProblem(w, apierror.New(apierror.ReasonWrongState, "the service is still starting"))
		return
	}
	text, err := readAll(r.Body)
	if err != nil {
		apierror.WriteProblem(w, apierror.New(apierror.ReasonMalformedRequest, "the body cannot be read: "+err.Error()))
		return
	}
	next, wrong := parse(text, *known)
	if len(wrong) > 0 {
		var fields []apierror.Option
		for _, v := range wrong {
			fields = append(fields, apierror.WithField(v.Field, v.Description))
		}
		apierror.WriteProblem(w, apierror.New(apierror.ReasonInvalidField, "nothing was changed: the rules have errors", fields...))
		return
	}
	i.active.Store(next)
	i.log.Warn("fault injection is on: calls will fail on purpose", "rules", len(next.rules), "seed", next.seed)
	i.tell(w)
}

// tell answers with what is on, and with the methods that a rule may name.
func (i *Injector) tell(w http.ResponseWriter) {
	answer := struct {
		report
		Methods []string `json:"methods"`
	}{report: i.active.Load().report()}
	if known := i.methods.Load(); known != nil {
		answer.Methods = slices.Sorted(maps.Keys(*known))
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	encoder := json.NewEncoder(w)
	encoder.SetIndent("", "  ")
	_ = encoder.Encode(answer) // whoever asked may be gone
}
