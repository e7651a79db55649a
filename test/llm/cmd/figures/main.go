// Command figures measures what the LLM gateway costs: the CPU of its process for a
// request, for a piece of a stream and for a long prompt, with its ledger and
// without; the latency that it adds; and the memory that it holds after very many
// requests and very many streams that their clients left.
//
//	go run ./test/llm/cmd/figures
//
// Everything runs on this machine, which must be Linux: the gateway as it is built
// for production, Postgres, the sandbox's model providers as a process of their own,
// and the clients in this one. In each round the same requests go to the providers
// directly, through the gateway, and through the standard library's reverse proxy,
// which is what any gateway takes that is built of net/http; what is printed, in
// Markdown, are medians of the rounds. CPU is user and system time of one process.
//
// Latency is only worth reading if nothing else runs. So is the sandbox's disk if it
// is one that waits: TMPDIR=/dev/shm has it write to memory.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	if len(os.Args) == 4 && os.Args[1] == proxyCommand {
		fmt.Fprintln(os.Stderr, "figures:", serveProxy(os.Args[2], os.Args[3]))
		os.Exit(1)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout, os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, "figures:", err)
		os.Exit(1)
	}
}

// plan is how much is measured.
type plan struct {
	warming   int // rounds that do not count
	rounds    int
	requests  int // of a case in a round; of streams and long prompts a part of it
	many      int // after which the memory is looked at
	abandoned int // streams
	profiles  string
	only      string
}

func parse(args []string, stderr io.Writer) (plan, error) {
	p := plan{warming: 1}
	var short bool
	flags := flag.NewFlagSet("figures", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.IntVar(&p.rounds, "rounds", 5, "rounds, of which medians are taken")
	flags.IntVar(&p.requests, "requests", 4000, "requests of a case in a round")
	flags.IntVar(&p.many, "many", 100_000, "requests before the memory is looked at; 0: it is not")
	flags.IntVar(&p.abandoned, "abandoned", 10_000, "streams that are left before it is looked at again")
	flags.StringVar(&p.profiles, "profiles", "", "folder for a CPU profile of the gateway for each case, which makes it slower")
	flags.StringVar(&p.only, "only", "", "cases to measure: those whose name has this text")
	flags.BoolVar(&short, "short", false, "so little that the figures mean nothing")
	if err := flags.Parse(args); err != nil {
		return plan{}, err
	}
	if short {
		p.warming, p.rounds, p.requests, p.many, p.abandoned = 0, 1, 60, 200, 40
	}
	if p.rounds < 1 || p.requests < 1 || p.many < 0 || p.abandoned < 0 {
		return plan{}, errors.New("-rounds and -requests must be at least 1, -many and -abandoned at least 0")
	}
	return p, nil
}

func run(ctx context.Context, args []string, stdout, progress io.Writer) (err error) {
	p, err := parse(args, progress)
	if err != nil {
		return err
	}
	s, err := set(ctx, progress)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.close(ctx)) }()
	results, err := p.measure(ctx, s, progress)
	if err != nil {
		return err
	}
	memory, err := p.remember(ctx, s, progress)
	if err != nil {
		return err
	}
	return write(stdout, results, memory)
}
