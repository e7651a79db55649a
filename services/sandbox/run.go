package sandbox

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"runtime"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/holdfast-dev/holdfast/pkg/config"
	"github.com/holdfast-dev/holdfast/pkg/localport"
	"github.com/holdfast-dev/holdfast/pkg/resources"
)

const usage = `sandbox plays a card processor and providers of language models. Configuration comes from the environment.

Usage: sandbox [command]

  (none), serve  serve until SIGTERM, then drain; a second signal forces
  health         succeed if the running sandbox is ready (health live: if it is alive)
  drain          take the running sandbox out of traffic without ending it
  undrain        put it back
  config         print every variable with its default
  version        print the version
`

// Run runs one command of the sandbox, the same as every service has; help
// prints them. Serving lasts until ctx ends. Logs go to logs, and what a
// command was asked for to stdout.
func Run(ctx context.Context, args []string, stdout, logs io.Writer) error {
	var cfg Config
	var size resources.Config
	if err := config.Into([]any{&cfg, &size}); err != nil {
		return err
	}
	switch command := strings.Join(args, " "); command {
	case "", "serve":
		log := slog.New(slog.NewJSONHandler(logs, nil)).With("service", "sandbox")
		defer resources.Fit(size, log).Close()
		s, err := Start(ctx, cfg, log)
		if err != nil {
			return err
		}
		return s.Run(ctx)
	case "health":
		return ask(ctx, http.MethodGet, cfg.ProbeAddr, "/readyz")
	case "health live":
		return ask(ctx, http.MethodGet, cfg.ProbeAddr, "/livez")
	case "drain":
		return ask(ctx, http.MethodPost, cfg.AdminAddr, "/drain")
	case "undrain":
		return ask(ctx, http.MethodDelete, cfg.AdminAddr, "/drain")
	case "config":
		table := tabwriter.NewWriter(stdout, 0, 0, 2, ' ', 0)
		for _, v := range config.Describe(cfg, size) {
			fmt.Fprintf(table, "%s\t%s\t%s\n", v.Name, v.Default, v.Doc)
		}
		return table.Flush()
	case "version":
		_, err := fmt.Fprintf(stdout, "sandbox %s (%s, %s)\n", Version, Commit, runtime.Version())
		return err
	case "help", "-h", "--help":
		_, err := io.WriteString(stdout, usage)
		return err
	default:
		return fmt.Errorf("unknown command %q: sandbox help", command)
	}
}

// ask sends one request to a port of the sandbox on this machine.
func ask(ctx context.Context, method, addr, path string) error {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	code, _, err := localport.Ask(ctx, method, addr, path)
	if err != nil {
		return fmt.Errorf("asking the sandbox: %w", err)
	}
	if code >= 300 {
		return fmt.Errorf("the sandbox answers %d", code)
	}
	return nil
}
