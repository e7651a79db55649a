package service

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"runtime"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/holdfast-dev/holdfast/pkg/config"
	"github.com/holdfast-dev/holdfast/pkg/localport"
	"github.com/holdfast-dev/holdfast/pkg/postgres"
)

const usage = `%[1]s serves the %[1]s service. Configuration comes from the environment.

Usage: %[1]s [command]

  (none), serve  serve until SIGTERM, then drain; a second signal forces
  health         succeed if the running service is ready (health live: if it is alive)
  drain          empty the running service without ending it; wait until it is
  undrain        put it back into traffic
  migrate        bring its database to the schema this version needs
  config         print every variable with its default
  version        print the version
`

// Main is the main function of a service's own binary. What is wrong is
// printed, a line each, and the exit code is 1.
func Main(def Definition) {
	if err := Run(context.Background(), def, os.Args[1:], os.Stdout); err != nil {
		for line := range strings.Lines(err.Error()) {
			fmt.Fprintf(os.Stderr, "%s: %s\n", def.Name, strings.TrimSpace(line))
		}
		os.Exit(1)
	}
}

// Run runs one command of a service; see the usage text, which `help` prints.
//
// Serving ends when ctx does, or with SIGTERM or SIGINT, and then drains. The
// error of a drain that had to cut something off is not nil. Logs go to
// standard error; stdout gets what a command was asked for.
func Run(ctx context.Context, def Definition, args []string, stdout io.Writer, opts ...Option) error {
	var o options
	for _, opt := range opts {
		opt(&o)
	}
	command, rest := "serve", []string(nil)
	if len(args) > 0 {
		command, rest = args[0], args[1:]
	}
	if len(rest) > 0 && (command != "health" || len(rest) > 1) {
		return fmt.Errorf("%s takes no arguments: %s help", command, def.Name)
	}
	switch command {
	case "serve":
		return serve(ctx, def, o, o.logs)
	case "health":
		return runHealth(ctx, def, o, rest)
	case "drain":
		return runDrain(ctx, def, o, http.MethodPost, stdout)
	case "undrain":
		return runDrain(ctx, def, o, http.MethodDelete, stdout)
	case "migrate":
		return runMigrate(ctx, def, o)
	case "config":
		return printConfig(def, stdout)
	case "version":
		_, err := fmt.Fprintf(stdout, "%s %s (%s, %s)\n", def.Name, Version, Commit, runtime.Version())
		return err
	case "help", "-h", "--help":
		_, err := fmt.Fprintf(stdout, usage, def.Name)
		return err
	default:
		return fmt.Errorf("unknown command %q: %s help", command, def.Name)
	}
}

func runMigrate(ctx context.Context, def Definition, o options) error {
	if def.Migrations == nil {
		return fmt.Errorf("%s has no database", def.Name)
	}
	s, err := readSettings(def, o.environ)
	if err != nil {
		return err
	}
	drain, _, stop := interrupts(ctx)
	defer stop()
	t, err := newTelemetry(ctx, def, s, o.logs)
	if err != nil {
		return err
	}
	err = migrate(drain, setting[postgres.Config](s), databaseOf(def), def.Migrations, t.Logger)
	return errors.Join(err, t.Shutdown(context.WithoutCancel(ctx)))
}

func printConfig(def Definition, stdout io.Writer) error {
	table := tabwriter.NewWriter(stdout, 0, 0, 2, ' ', 0)
	for _, v := range def.Variables() {
		doc := v.Doc
		if v.Secret {
			doc += " (secret)"
		}
		fmt.Fprintf(table, "%s\t%s\t%s\n", v.Name, v.Default, doc)
	}
	return table.Flush()
}

// runHealth asks the running service, on this machine, whether it is ready.
func runHealth(ctx context.Context, def Definition, o options, args []string) error {
	path := "/readyz"
	if len(args) > 0 {
		if args[0] != "live" {
			return fmt.Errorf("unknown argument %q: %s health [live]", args[0], def.Name)
		}
		path = "/livez"
	}
	cfg, err := config.Load[Config](def.environment(o.environ))
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	code, body, err := localport.Ask(ctx, http.MethodGet, cfg.ProbeAddr, path)
	if err != nil {
		return err
	}
	if code != http.StatusOK {
		return fmt.Errorf("not healthy: %s", strings.TrimSpace(string(body)))
	}
	return nil
}

// runDrain asks the running service, on this machine, to drain or undrain, and
// waits for it.
func runDrain(ctx context.Context, def Definition, o options, method string, stdout io.Writer) error {
	cfg, err := config.Load[Config](def.environment(o.environ))
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, cfg.DrainCap+cfg.StopWorkers+stopMargin)
	defer cancel()
	code, body, err := localport.Ask(ctx, method, cfg.AdminAddr, "/drain")
	if err != nil {
		return err
	}
	var answer struct{ State, Problem string }
	if err := json.Unmarshal(body, &answer); err != nil {
		return fmt.Errorf("the admin port answered %d and not what was expected", code)
	}
	if code != http.StatusOK {
		return fmt.Errorf("the service is %s: %s", answer.State, answer.Problem)
	}
	_, err = fmt.Fprintf(stdout, "%s is %s\n", def.Name, answer.State)
	return err
}
