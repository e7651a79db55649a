package service

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"mime"
	"net"
	"net/http"
	"net/netip"
	"runtime/debug"
	"sync/atomic"
	"unicode/utf8"

	"github.com/google/uuid"

	"github.com/holdfast-dev/holdfast/pkg/apierror"
	"github.com/holdfast-dev/holdfast/pkg/linger"
	"github.com/holdfast-dev/holdfast/pkg/ratelimit"
)

// edge is the public HTTP server: everything that must be true of a request
// before it may become a call.
type edge struct {
	server  *http.Server
	address string
	limits  *ratelimit.Limits
	served  chan struct{}
	ends    func() endings
	routes  *routes
	// leaving asks clients to come back on another connection: each answer
	// closes its own.
	leaving atomic.Bool
}

// openEdge serves handler on the listener.
func openEdge(listener net.Listener, cfg Config, limits *ratelimit.Limits, handler http.Handler, beside *routes, ends func() endings, log *slog.Logger) *edge {
	e := &edge{address: listener.Addr().String(), limits: limits, routes: beside, ends: ends, served: make(chan struct{})}
	e.server = &http.Server{
		Handler:           e.guard(handler, int64(cfg.MaxMessage), log),
		ReadHeaderTimeout: cfg.ReadHeaderTimeout,
		ReadTimeout:       cfg.ReadTimeout,
		WriteTimeout:      cfg.WriteTimeout,
		IdleTimeout:       cfg.IdleTimeout,
		MaxHeaderBytes:    cfg.MaxHeader,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelDebug), // what clients do wrong on the wire
	}
	go serveHTTP(e.server, listener, e.served, log)
	return e
}

// close lets requests in flight finish and closes all connections. When ctx
// ends, what is left is cut off and close reports true.
func (e *edge) close(ctx context.Context) (forced bool) {
	e.leaving.Store(true)
	e.server.SetKeepAlivesEnabled(false)
	forced = e.server.Shutdown(ctx) != nil
	_ = e.server.Close() // whatever Shutdown left
	<-e.served
	if forced {
		e.routes.abandon()
	}
	return forced
}

// guard is what every HTTP request passes.
func (e *edge) guard(next http.Handler, maxBody int64, log *slog.Logger) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		to := reception{next: next, maxBody: maxBody, refuse: func(w http.ResponseWriter, _ *http.Request, err error) { apierror.WriteProblem(w, err) }}
		if route := e.routes.find(r); route != nil {
			to = reception{next: e.routes.mux, maxBody: route.maxBody, refuse: route.refuse}
		}
		defer to.recover(w, r, log)
		finish := linger.Watch(w, r)
		e.serve(w, r, to)
		finish()
	})
}

// serve answers a request, if it may pass.
func (e *edge) serve(w http.ResponseWriter, r *http.Request, to reception) {
	id := requestID(r.Header.Get(headerRequestID))
	r.Header.Set(headerRequestID, id)
	w.Header().Set(headerRequestID, id)
	w.Header().Set(headerVersion, Version)
	w.Header().Set("X-Content-Type-Options", "nosniff")
	if e.leaving.Load() {
		// Idle connections are closed later, when their clients have left:
		// closing one just as a request is on its way loses the request.
		w.Header().Set("Connection", "close")
	}
	client := e.limits.Client(remoteOf(r), r.Header.Values("X-Forwarded-For"))
	if d := e.limits.Address(client); !d.Allowed {
		to.deny(w, r, d)
		return
	}
	if err := acceptable(r, to.maxBody); err != nil {
		e.reject(w, r, to, client, err)
		return
	}
	r.Body = http.MaxBytesReader(w, r.Body, to.maxBody)
	to.next.ServeHTTP(w, r.WithContext(withClient(e.ends().in(r.Context()), client)))
}

// reject answers a request that is not acceptable. A credential that cannot be
// one counts as one that was tried.
func (e *edge) reject(w http.ResponseWriter, r *http.Request, to reception, client netip.Addr, err error) {
	if ratelimit.Unauthenticated(err) {
		if d := e.limits.MayAuthenticate(client); !d.Allowed {
			to.deny(w, r, d)
			return
		}
		e.limits.AuthenticationFailed(client)
	}
	to.refuse(w, r, err)
}

// reception is where a request is going: to the gateway, or to a route, which has
// its own way of refusing one.
type reception struct {
	next    http.Handler
	maxBody int64
	refuse  func(http.ResponseWriter, *http.Request, error)
}

// deny answers a request that is one too many.
func (to reception) deny(w http.ResponseWriter, r *http.Request, d ratelimit.Decision) {
	d.SetHeaders(w.Header())
	to.refuse(w, r, d.Err())
}

// acceptable answers what can be said without reading the body.
func acceptable(r *http.Request, maxBody int64) error {
	if !utf8.ValidString(r.URL.Path) {
		return apierror.New(apierror.ReasonMalformedRequest, "the path is not valid UTF-8")
	}
	if r.ContentLength > maxBody {
		return tooLargeFault(maxBody).typed()
	}
	if r.ContentLength != 0 {
		if media, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || media != "application/json" {
			return apierror.New(apierror.ReasonUnsupportedMediaType, "the body must be JSON: send Content-Type: application/json")
		}
	}
	if err := cleanHeaders(r.Header); err != nil {
		return err
	}
	return nil
}

// requestID returns the client's id for a request if it can be logged as it is,
// or a new one.
func requestID(sent string) string {
	if sent == "" || len(sent) > 128 || !visible(sent) {
		return uuid.NewString()
	}
	return sent
}

// recover turns a panic above the interceptors into an answer.
func (to reception) recover(w http.ResponseWriter, r *http.Request, log *slog.Logger) {
	p := recover()
	if p == nil {
		return
	}
	if err, ok := p.(error); ok && errors.Is(err, http.ErrAbortHandler) {
		panic(p) // how a handler asks for the connection to be cut
	}
	to.refuse(w, r, typed(r.Context(), log, fmt.Errorf("panic: %v\n%s", p, debug.Stack())))
}

// serveHTTP serves until the server is closed, then closes served.
func serveHTTP(server *http.Server, listener net.Listener, served chan<- struct{}, log *slog.Logger) {
	defer close(served)
	if err := server.Serve(listener); err != nil && !errors.Is(err, http.ErrServerClosed) {
		log.Error("an HTTP server ended", "address", listener.Addr().String(), "error", err)
	}
}
