package service

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/http/pprof"
	"time"
)

// adminHandler answers the admin port: /drain, pprof, and what more adds. It
// asks nobody who they are, which is why the port is on loopback, and why it
// turns browsers away: a web page that a developer looks at can reach loopback,
// too.
func adminHandler(drain, undrain func(*http.Request) error, state func() string, more ...func(*http.ServeMux)) http.Handler {
	mux := http.NewServeMux()
	answer := func(w http.ResponseWriter, err error) {
		body := map[string]string{"state": state()}
		code := http.StatusOK
		if err != nil {
			body["problem"] = err.Error()
			code = http.StatusInternalServerError
			if errors.Is(err, errStopping) || errors.Is(err, errNotReady) {
				code = http.StatusConflict
			}
		}
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(code)
		_ = json.NewEncoder(w).Encode(body) // whoever asked may be gone
	}
	mux.HandleFunc("POST /drain", func(w http.ResponseWriter, r *http.Request) { answer(w, drain(r)) })
	mux.HandleFunc("DELETE /drain", func(w http.ResponseWriter, r *http.Request) { answer(w, undrain(r)) })
	mux.HandleFunc("GET /drain", func(w http.ResponseWriter, _ *http.Request) { answer(w, nil) })
	mux.HandleFunc("/debug/pprof/", pprof.Index)
	mux.HandleFunc("/debug/pprof/cmdline", pprof.Cmdline)
	mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("/debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("/debug/pprof/trace", pprof.Trace)
	for _, add := range more {
		add(mux)
	}
	return noBrowsers(mux)
}

// noBrowsers refuses what a web page sends. Requests without Origin and
// Sec-Fetch-Site come from tools.
func noBrowsers(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fromPage := r.Header.Get("Origin") != "" ||
			(r.Header.Get("Sec-Fetch-Site") != "" && r.Header.Get("Sec-Fetch-Site") != "none")
		if fromPage || !isLoopback(r.Host) {
			http.Error(w, "the admin port does not take requests from web pages", http.StatusForbidden)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// newQuietServer is for the ports that operators use: probes and admin. A drain
// and a profile answer when they are done, so there is no write timeout.
func newQuietServer(handler http.Handler) *http.Server {
	return &http.Server{Handler: handler, ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 10 * time.Second, IdleTimeout: 75 * time.Second, MaxHeaderBytes: 16 << 10}
}
