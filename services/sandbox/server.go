package sandbox

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/holdfast-dev/holdfast/services/sandbox/llm"
)

// Config is what the sandbox is told by its environment.
type Config struct {
	HTTPAddr  string        `env:"HOLDFAST_HTTP_ADDR" envDefault:":8080" doc:"address of the HTTP API: the processor's, and the model providers'"`
	ProbeAddr string        `env:"HOLDFAST_PROBE_ADDR" envDefault:":8081" doc:"address of the probes"`
	AdminAddr string        `env:"HOLDFAST_ADMIN_ADDR" envDefault:"127.0.0.1:8082" doc:"address of the admin port; loopback only"`
	LameDuck  time.Duration `env:"HOLDFAST_LAME_DUCK" envDefault:"2s" doc:"how long a draining server still accepts"`
	DrainCap  time.Duration `env:"HOLDFAST_DRAIN_CAP" envDefault:"20s" doc:"how long requests in flight may take to finish"`
	DataDir   string        `env:"HOLDFAST_SANDBOX_DATA_DIR" envDefault:"sandbox-data" doc:"directory of the sandbox's ledger and invoice"`
	Horizon   time.Duration `env:"HOLDFAST_SANDBOX_HORIZON" envDefault:"24h" doc:"how long the sandbox remembers an idempotency key"`
}

// Validate reports every setting that could not work.
func (c Config) Validate() error {
	var problems []error
	if c.Horizon <= 0 {
		problems = append(problems, errors.New("HOLDFAST_SANDBOX_HORIZON must be positive"))
	}
	if c.LameDuck < 0 || c.DrainCap <= 0 {
		problems = append(problems, errors.New("HOLDFAST_LAME_DUCK must not be negative and HOLDFAST_DRAIN_CAP must be positive"))
	}
	if c.DataDir == "" {
		problems = append(problems, errors.New("HOLDFAST_SANDBOX_DATA_DIR must not be empty"))
	}
	if host, _, err := net.SplitHostPort(c.AdminAddr); err != nil {
		problems = append(problems, fmt.Errorf("HOLDFAST_ADMIN_ADDR: %w", err))
	} else if ip := net.ParseIP(host); host != "localhost" && (ip == nil || !ip.IsLoopback()) {
		problems = append(problems, errors.New("HOLDFAST_ADMIN_ADDR must be a loopback address"))
	}
	return errors.Join(problems...)
}

// Server is a running sandbox: the API, the probes and the admin port.
type Server struct {
	cfg     Config
	log     *slog.Logger
	ledger  *Ledger
	invoice *llm.Invoice

	api, probe, admin    *http.Server
	apiAt, probeAt, adAt net.Listener
	draining             atomic.Bool
	// hangUp ends requests that a fault holds, so that a drain need not wait
	// for them.
	hangUp func()
}

// errDraining ends held requests and streams: the cause says that it was not
// their client who left.
var errDraining = errors.New("the sandbox is draining")

// Start opens the ledger, the invoice and the three listeners. Whatever fails is closed
// again before the error is returned.
func Start(ctx context.Context, cfg Config, log *slog.Logger) (_ *Server, err error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(cfg.DataDir, 0o700); err != nil {
		return nil, fmt.Errorf("make the data directory: %w", err)
	}
	s := &Server{cfg: cfg, log: log}
	defer func() {
		if err != nil {
			s.close()
		}
	}()
	if s.ledger, err = OpenLedger(filepath.Join(cfg.DataDir, "ledger.db"), cfg.Horizon); err != nil {
		return nil, err
	}
	if s.invoice, err = llm.OpenInvoice(filepath.Join(cfg.DataDir, "llm.db")); err != nil {
		return nil, err
	}
	handler, err := s.routes()
	if err != nil {
		return nil, err
	}
	for _, l := range []struct {
		at      *net.Listener
		purpose string
		addr    string
	}{{&s.apiAt, "API", cfg.HTTPAddr}, {&s.probeAt, "probe", cfg.ProbeAddr}, {&s.adAt, "admin", cfg.AdminAddr}} {
		if *l.at, err = (&net.ListenConfig{}).Listen(ctx, "tcp", l.addr); err != nil {
			return nil, fmt.Errorf("listen for the %s: %w", l.purpose, err)
		}
	}
	held, hangUp := context.WithCancelCause(context.WithoutCancel(ctx))
	s.hangUp = func() { hangUp(errDraining) }
	s.api = &http.Server{
		Handler:     handler,
		BaseContext: func(net.Listener) context.Context { return held },
		// No write timeout: a scripted timeout may hold an answer for long.
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       10 * time.Second,
		IdleTimeout:       75 * time.Second,
		MaxHeaderBytes:    16 << 10,
	}
	s.probe = &http.Server{Handler: s.probes(), ReadHeaderTimeout: 5 * time.Second}
	s.admin = &http.Server{Handler: s.administration(), ReadHeaderTimeout: 5 * time.Second}
	return s, nil
}

// routes puts the processor and the model providers on one port.
func (s *Server) routes() (http.Handler, error) {
	providers, err := llm.NewHandler(s.invoice, s.log)
	if err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	mux.Handle("/llm/", providers)
	mux.Handle("/", NewAPI(s.ledger, s.log).Handler())
	return mux, nil
}

// URL is where the API answers.
func (s *Server) URL() string { return "http://" + s.apiAt.Addr().String() }

// ProbeURL is where the probes answer.
func (s *Server) ProbeURL() string { return "http://" + s.probeAt.Addr().String() }

// Run serves until the context ends, then drains in this order: readiness off,
// lame duck, requests in flight, the ledger and the invoice, and the probes last. It returns
// an error if the drain had to be forced.
func (s *Server) Run(ctx context.Context) error {
	failed := make(chan error, 3)
	for _, l := range []struct {
		server *http.Server
		at     net.Listener
	}{{s.api, s.apiAt}, {s.probe, s.probeAt}, {s.admin, s.adAt}} {
		go func() { failed <- l.server.Serve(l.at) }() // ends when close closes the server
	}
	s.log.Info("sandbox ready", "url", s.URL(), "probes", s.ProbeURL(), "data", s.cfg.DataDir)

	select {
	case err := <-failed:
		s.close()
		return fmt.Errorf("serve: %w", err)
	case <-ctx.Done():
	}
	s.log.Info("draining", "lame_duck", s.cfg.LameDuck)
	s.draining.Store(true)
	time.Sleep(s.cfg.LameDuck) // a lame duck waits for nothing but time
	s.hangUp()
	bounded, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.cfg.DrainCap)
	defer cancel()
	s.api.SetKeepAlivesEnabled(false)
	err := s.api.Shutdown(bounded)
	s.close()
	if err != nil {
		return fmt.Errorf("drain forced: %w", err)
	}
	s.log.Info("drained")
	return nil
}

// close closes what is open, the probes last.
func (s *Server) close() {
	if s.hangUp != nil {
		s.hangUp()
	}
	for _, server := range []*http.Server{s.api, s.admin} {
		if server != nil {
			_ = server.Close()
		}
	}
	if s.invoice != nil {
		if err := s.invoice.Close(); err != nil {
			s.log.Error("close the invoice", "error", err)
		}
	}
	if s.ledger != nil {
		if err := s.ledger.Close(); err != nil {
			s.log.Error("close the ledger", "error", err)
		}
	}
	if s.probe != nil {
		_ = s.probe.Close()
	}
	for _, l := range []net.Listener{s.apiAt, s.probeAt, s.adAt} {
		if l != nil {
			_ = l.Close() // closed by its server already, unless that never served
		}
	}
}

// probes answers liveness always and readiness unless draining; it never asks
// anything else.
func (s *Server) probes() http.Handler {
	ok := func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") }
	mux := http.NewServeMux()
	mux.HandleFunc("GET /livez", ok)
	mux.HandleFunc("GET /startupz", ok)
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, r *http.Request) {
		if s.draining.Load() {
			http.Error(w, "draining", http.StatusServiceUnavailable)
			return
		}
		ok(w, r)
	})
	return mux
}

// administration takes the sandbox out of traffic and back without stopping it.
func (s *Server) administration() http.Handler {
	set := func(draining bool) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			s.draining.Store(draining)
			s.api.SetKeepAlivesEnabled(!draining)
			w.WriteHeader(http.StatusNoContent)
		}
	}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /drain", set(true))
	mux.HandleFunc("DELETE /drain", set(false))
	return mux
}
