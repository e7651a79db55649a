package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/holdfast-dev/holdfast/cmd/holdfast/local"
	sandbox "github.com/holdfast-dev/holdfast/services/sandbox/llm"
)

// stage is what is measured, running.
type stage struct {
	data              *local.Data
	providers         part
	booking, careless part // the gateway, with its ledger and without
	proxy             part // the yardstick
	closers           []func(context.Context) error
}

// part is a process, and where it answers.
type part struct {
	name    string
	process *local.Process
	at      local.Addresses
}

// startBound is how long a process may take until it is ready.
const startBound = time.Minute

// set builds and starts everything.
func set(ctx context.Context, progress io.Writer) (_ *stage, err error) {
	s := &stage{}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.close(ctx))
		}
	}()
	if s.data, err = local.TemporaryData(); err != nil {
		return nil, err
	}
	s.closers = append(s.closers, func(context.Context) error { s.data.Close(); return nil })
	fmt.Fprintln(progress, "building the gateway and the sandbox")
	for _, name := range []string{"llm-gateway", "sandbox"} {
		if err := s.build(ctx, name); err != nil {
			return nil, err
		}
	}
	fmt.Fprintln(progress, "starting Postgres, the sandbox and two gateways")
	postgres, err := local.StartPostgres(ctx, local.PostgresOptions{
		Dir: s.data.PostgresDir(), Ephemeral: true, Log: slog.New(slog.DiscardHandler),
		Progress: func(message string) { fmt.Fprintln(progress, "Postgres:", message) },
	})
	if err != nil {
		return nil, err
	}
	s.closers = append(s.closers, postgres.Stop)
	if err := postgres.CreateDatabases(ctx, "booking", "careless"); err != nil {
		return nil, err
	}
	if s.providers, err = s.start(ctx, "sandbox", "sandbox", local.Environment{SandboxDir: s.data.SandboxDir()}); err != nil {
		return nil, err
	}
	if s.proxy, err = s.startProxy(ctx); err != nil {
		return nil, err
	}
	for name, to := range map[string]*part{"booking": &s.booking, "careless": &s.careless} {
		if *to, err = s.startGateway(ctx, name, postgres.Database(name)); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// build builds a service as it is built for production.
func (s *stage) build(ctx context.Context, name string) error {
	build := exec.CommandContext(ctx, "go", "build", "-trimpath", "-o", s.executable(name), //nolint:gosec // the name is ours
		"github.com/holdfast-dev/holdfast/services/"+name+"/cmd/"+name)
	if said, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("building %s: %w: %s", name, err, said)
	}
	return nil
}

func (s *stage) executable(name string) string { return filepath.Join(s.data.Dir, "bin", name) }

// startGateway starts one with its ledger, or careless of it. Limits are out of the
// way: all clients here are one, and should be let in.
func (s *stage) startGateway(ctx context.Context, name, database string) (part, error) {
	files := map[string]string{"routes.yaml": strings.ReplaceAll(routes, "{sandbox}", "http://"+s.providers.at.HTTP), "prices.yaml": prices()}
	for file, text := range files {
		if err := os.WriteFile(filepath.Join(s.data.Dir, file), []byte(text), 0o600); err != nil {
			return part{}, err
		}
	}
	extra := map[string]string{
		"HOLDFAST_DATABASE_URL":       database,
		"HOLDFAST_LLM_LEDGER":         fmt.Sprint(name == "booking"),
		"HOLDFAST_LLM_ROUTES_FILE":    filepath.Join(s.data.Dir, "routes.yaml"),
		"HOLDFAST_LLM_PRICES_FILE":    filepath.Join(s.data.Dir, "prices.yaml"),
		"HOLDFAST_RATE_ADDRESS":       "1000000",
		"HOLDFAST_RATE_TENANT_WRITES": "1000000",
		"HOLDFAST_RATE_TENANT_READS":  "1000000",
		"HOLDFAST_SHED_MIN":           "512",
		"HOLDFAST_SHED_INITIAL":       "512",
		"HOLDFAST_SHED_MAX":           "512",
		"HOLDFAST_MAX_STREAMS":        "1024",
		"SANDBOX_KEY":                 "sandbox-key",
	}
	environment := local.Environment{Extra: extra, DatabaseURL: func(string) string { return database }}
	migrate := exec.CommandContext(ctx, s.executable("llm-gateway"), "migrate") //nolint:gosec // built above
	migrate.Env = environment.For("llm-gateway", local.Addresses{})
	if said, err := migrate.CombinedOutput(); err != nil {
		return part{}, fmt.Errorf("migrating the database %s: %w: %s", name, err, said)
	}
	return s.start(ctx, name, "llm-gateway", environment)
}

func (s *stage) start(ctx context.Context, name, executable string, environment local.Environment) (part, error) {
	at, err := local.FreeAddresses(ctx)
	if err != nil {
		return part{}, err
	}
	return s.launch(ctx, name, at, local.Command{Name: name, Path: s.executable(executable), Env: environment.For(executable, at)})
}

// startProxy starts this very command as the yardstick.
func (s *stage) startProxy(ctx context.Context) (part, error) {
	at, err := local.FreeAddresses(ctx)
	if err != nil {
		return part{}, err
	}
	at.Probe = at.HTTP
	return s.launch(ctx, "proxy", at, local.Command{
		Name: "proxy", Args: []string{proxyCommand, at.HTTP, "http://" + s.providers.at.HTTP}, Env: os.Environ(),
	})
}

// launch starts a process and waits until it is ready.
func (s *stage) launch(ctx context.Context, name string, at local.Addresses, command local.Command) (part, error) {
	output, err := os.Create(s.data.LogFile(name))
	if err != nil {
		return part{}, err
	}
	defer func() { _ = output.Close() }() // the process has its own handle
	p := part{name: name, at: at}
	command.Output = output
	if p.process, err = local.Start(command); err != nil {
		return part{}, err
	}
	s.closers = append(s.closers, func(context.Context) error { p.process.Kill(); return nil })
	bounded, cancel := context.WithTimeout(ctx, startBound)
	defer cancel()
	if err := local.AwaitReady(bounded, at.ReadyURL(), p.process); err != nil {
		return part{}, fmt.Errorf("starting %s: %w; its log ends with: %s", name, err, local.WhyItEndedIn(output.Name(), 0))
	}
	return p, nil
}

// close stops everything, last to first.
func (s *stage) close(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), startBound)
	defer cancel()
	var problems []error
	for len(s.closers) > 0 {
		last := len(s.closers) - 1
		problems = append(problems, s.closers[last](ctx))
		s.closers = s.closers[:last]
	}
	return errors.Join(problems...)
}

// pace has the providers take so long for each token; 0: they answer at once.
func (s *stage) pace(ctx context.Context, pause time.Duration) error {
	script := fmt.Sprintf(`{"seed": 1, "rules": [], "latencies": [{"first_token": %q, "chunk": %q}]}`, pause, pause)
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+s.providers.at.HTTP+"/llm/faults", strings.NewReader(script))
	if err != nil {
		return err
	}
	request.Header.Set("Content-Type", "application/json")
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode/100 != 2 {
		said, _ := io.ReadAll(response.Body)
		return fmt.Errorf("the sandbox does not take its script: %s: %s", response.Status, said)
	}
	return nil
}

// routes are what the gateway is told: one provider, and a budget that is never
// spent.
const routes = `
defaults:
  timeouts: {connect: 5s, first_token: 30s, idle: 30s, total: 5m}
providers:
  openai:
    protocol: openai
    base_url: "{sandbox}/llm/openai/v1"
    lookup_url: "{sandbox}/llm/requests/{id}"
    keys: [{name: a, secret: "env:SANDBOX_KEY", max_concurrent: 1000}]
  anthropic:
    protocol: anthropic
    base_url: "{sandbox}/llm/anthropic"
    lookup_url: "{sandbox}/llm/requests/{id}"
    keys: [{name: a, secret: "env:SANDBOX_KEY", max_concurrent: 1000}]
routes:
  - {name: small, models: [sandbox-small], chain: [{provider: openai}]}
  - {name: large, models: [sandbox-large], chain: [{provider: anthropic}]}
budgets:
  - {name: daily, period: day, limit_usd: "1000000"}
  - {name: monthly, period: month, limit_usd: "1000000"}
`

// prices are those that the sandbox charges.
func prices() string {
	var b strings.Builder
	b.WriteString("prices:\n")
	dollars := func(nanos int64) string { return fmt.Sprintf("%d.%09d", nanos/1e9, nanos%1e9) }
	for _, m := range sandbox.Models {
		for _, provider := range m.Providers {
			fmt.Fprintf(&b, "  - {provider: %s, model: %s, from: 2026-01-01, input: %q, cache_read: %q, cache_write: %q, cache_write_1h: %q, output: %q, reasoning: %q}\n",
				provider, m.Name, dollars(m.Price.Input), dollars(m.Price.CacheRead), dollars(m.Price.CacheWrite), dollars(m.Price.CacheWrite1h),
				dollars(m.Price.Output), dollars(m.Price.Reasoning))
		}
	}
	return b.String()
}
