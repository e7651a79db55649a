// Command profile measures what the services use, so that requests and limits
// are numbers that somebody has seen: CPU, memory, heap and goroutines when idle,
// with many open streams, under the drills' load at several rates, with large
// bodies, and idle again.
//
//	go run ./test/rightsizing/cmd/profile -holdfast bin/holdfast
//	go run ./test/rightsizing/cmd/profile -kubernetes holdfast -image holdfast/holdfast:dev
//
// The first starts the platform with `holdfast up --ephemeral`, on this machine,
// and reads /proc and the services' metrics (so it needs Linux). The load comes
// from this very process: a rate that the machine does not hold is as much the
// load's doing as the services'. The second measures what runs in a namespace,
// with the load in a pod beside it. Both print a table in Markdown.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/holdfast-dev/holdfast/pkg/auth"
	"github.com/holdfast-dev/holdfast/test/drill"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout, os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, "profile:", err)
		os.Exit(1)
	}
}

// plan is what is measured.
type plan struct {
	holdfast string
	cluster  cluster
	rates    []float64
	step     float64
	length   time.Duration
	limit    string
	streams  int
	bodies   int
}

func parse(args []string, stderr io.Writer) (plan, error) {
	var p plan
	var rates string
	flags := flag.NewFlagSet("profile", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.StringVar(&p.holdfast, "holdfast", "bin/holdfast", "the holdfast command")
	flags.StringVar(&p.cluster.namespace, "kubernetes", "", "measure what runs in this namespace, and start nothing")
	flags.StringVar(&p.cluster.image, "image", "holdfast/holdfast:dev", "image of the load, with -kubernetes")
	flags.StringVar(&rates, "rates", "50,200", "requests a second, one stage each")
	flags.Float64Var(&p.step, "step", 100, "after these, the rate is raised by so much until it is not held")
	flags.DurationVar(&p.length, "for", 20*time.Second, "length of a stage")
	flags.StringVar(&p.limit, "gomemlimit", "", "GOMEMLIMIT of the services, such as 230MiB; without it the heap grows as it likes")
	flags.IntVar(&p.streams, "streams", 500, "connections with an open stream each")
	flags.IntVar(&p.bodies, "bodies", 64, "requests of 1 MB at once")
	if err := flags.Parse(args); err != nil {
		return plan{}, err
	}
	for text := range strings.SplitSeq(rates, ",") {
		rate, err := strconv.ParseFloat(text, 64)
		if err != nil || rate <= 0 {
			return plan{}, fmt.Errorf("-rates has %q, want requests a second such as 50,200", text)
		}
		p.rates = append(p.rates, rate)
	}
	if p.step <= 0 || p.length < time.Second {
		return plan{}, errors.New("-step must be positive and -for at least 1s")
	}
	return p, nil
}

func run(ctx context.Context, args []string, stdout, progress io.Writer) (err error) {
	p, err := parse(args, progress)
	if err != nil {
		return err
	}
	platform, err := p.start(ctx, progress)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, platform.stop()) }()
	orders, reachable := platform.orders()

	t := table{}
	stage := func(name string, do func(context.Context) error) error {
		fmt.Fprintln(progress, name)
		rows, err := watch(ctx, platform.services(), do)
		if err == nil {
			t.add(name, rows)
		}
		return err
	}
	pause := func(ctx context.Context) error { return sleep(ctx, p.length) }
	if err := stage("idle", pause); err != nil {
		return err
	}
	// Before any load, so that what they add to the idle process is seen.
	if reachable {
		if err := stage(fmt.Sprintf("%d streams", p.streams), func(ctx context.Context) error {
			return openStreams(ctx, orders.grpc, p.streams, p.length/2)
		}); err != nil {
			return err
		}
	}
	held, rate := 0.0, 0.0
	for n := 0; ; n++ {
		if n < len(p.rates) {
			rate = p.rates[n]
		} else {
			rate += p.step
		}
		var verdict *drill.Verdict
		if err := stage(fmt.Sprintf("%g/s", rate), func(ctx context.Context) (err error) {
			verdict, err = platform.visit(ctx, rate, p.length)
			return err
		}); err != nil {
			return err
		}
		t.annotate(verdict)
		if holds(verdict) {
			held = max(held, rate)
		}
		if n+1 >= len(p.rates) && held < rate {
			break // what was asked for is measured whether it is held or not
		}
	}
	if reachable {
		if err := stage(fmt.Sprintf("%d bodies of 1 MB", p.bodies), func(ctx context.Context) error {
			return sendBodies(ctx, orders.http, p.bodies, p.length/2)
		}); err != nil {
			return err
		}
	}
	if err := stage("idle again", pause); err != nil {
		return err
	}
	return t.write(stdout, held)
}

// start returns what is to be measured, running.
func (p plan) start(ctx context.Context, progress io.Writer) (platform, error) {
	if p.cluster.namespace != "" {
		return startCluster(ctx, p.cluster)
	}
	fmt.Fprintln(progress, "starting the platform")
	return startPlatform(ctx, p.holdfast, p.limit)
}

// holds reports whether a rate was served well: nothing failed, half of all
// answers came at once, and nearly all came within two seconds. (One in seven
// orders is paid with a card that takes one second.)
func holds(v *drill.Verdict) bool {
	p := v.Phases[0]
	return p.Failed == 0 && p.P50 < 0.25 && p.P99 < 2
}

func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// credential is that of the tenant whose key development knows.
const credential = "Bearer " + auth.DevelopmentKey
