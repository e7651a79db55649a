// Command pressure puts pressure on the limits of the container that it runs
// in, and tells what came of it as JSON, on standard output and in the message
// that Kubernetes keeps of a container that has ended. Like a service it is
// fitted to its container by pkg/resources; GOMEMLIMIT=off takes that away.
//
//	pressure garbage    makes garbage beside a live heap: killed, if the limit does not hold the collector
//	pressure requests   computes in bursts that are less than the CPU limit on average: throttled, if there is one
//	pressure wait       waits until its container has been resized
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/holdfast-dev/holdfast/pkg/config"
	"github.com/holdfast-dev/holdfast/pkg/resources"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "pressure:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, stdout io.Writer) error {
	cfg, err := config.Load[resources.Config]()
	if err != nil {
		return err
	}
	if len(args) == 0 {
		return fmt.Errorf("garbage, requests or wait?")
	}
	flags := flag.NewFlagSet("pressure "+args[0], flag.ContinueOnError)
	live := flags.Int64("live", 144, "garbage: MiB that stay in use")
	churn := flags.Int64("churn", 4096, "garbage: MiB that are made and dropped")
	b := burst{}
	flags.Float64Var(&b.rate, "rate", 5, "requests: how many a second")
	flags.IntVar(&b.width, "width", 4, "requests: pieces of work in one, done side by side")
	flags.DurationVar(&b.work, "work", 10*time.Millisecond, "requests: CPU time of a piece")
	flags.DurationVar(&b.length, "for", 20*time.Second, "requests: how long")
	if err := flags.Parse(args[1:]); err != nil {
		return err
	}

	fitted := resources.Fit(cfg, slog.New(slog.NewJSONHandler(os.Stderr, nil)))
	defer fitted.Close()
	var result any
	switch args[0] {
	case "garbage":
		result = makeGarbage(*live<<20, *churn<<20)
	case "requests":
		result = b.run(ctx)
	case "wait":
		result = awaitResize(ctx, fitted)
	default:
		return fmt.Errorf("unknown pressure %q: garbage, requests or wait", args[0])
	}
	return tell(result, stdout)
}

// tell also writes to the file that becomes the container's message, if there
// is one: a log can be rotated away, the status of a pod is there with the pod.
func tell(result any, stdout io.Writer) error {
	text, err := json.Marshal(result)
	if err != nil {
		return fmt.Errorf("telling the result: %w", err)
	}
	const message = "/dev/termination-log"
	if _, err := os.Stat(message); err == nil {
		if err := os.WriteFile(message, text, 0o644); err != nil {
			return fmt.Errorf("telling the result: %w", err)
		}
	}
	_, err = fmt.Fprintf(stdout, "%s\n", text)
	return err
}

// resize is what held before a resize and holds after it.
type resize struct {
	Before resources.Report `json:"before"`
	After  resources.Report `json:"after"`
}

// awaitResize waits until GOMEMLIMIT has changed, or ctx ends.
func awaitResize(ctx context.Context, fitted *resources.Fitted) resize {
	r := resize{Before: fitted.Report()}
	look := time.NewTicker(100 * time.Millisecond)
	defer look.Stop()
	for {
		if r.After = fitted.Report(); r.After.GoMemLimit != r.Before.GoMemLimit {
			return r
		}
		select {
		case <-ctx.Done():
			return r
		case <-look.C:
		}
	}
}
