package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/holdfast-dev/holdfast/cmd/holdfast/local"
	"github.com/holdfast-dev/holdfast/pkg/auth"
	"github.com/holdfast-dev/holdfast/pkg/telemetry/logtest"
	"github.com/holdfast-dev/holdfast/test/drill"
)

// platform is something to measure.
type platform interface {
	services() []observed
	// visit puts the drills' load on orders, with client retries off.
	visit(ctx context.Context, rate float64, length time.Duration) (*drill.Verdict, error)
	// orders is where orders answers this process; false if it does not.
	orders() (at service, reachable bool)
	stop() error
}

// localPlatform is `holdfast up` as a process, and what that has started.
type localPlatform struct {
	up     *exec.Cmd
	output *logtest.Buffer
	all    []observed
	front  service
}

func (p *localPlatform) services() []observed { return p.all }

func (p *localPlatform) orders() (service, bool) { return p.front, true }

func (p *localPlatform) visit(ctx context.Context, rate float64, length time.Duration) (*drill.Verdict, error) {
	options := drill.DefaultOptions()
	options.Rate, options.Watches = rate, 0 // streams are measured apart
	target := drill.Target{GRPC: p.front.grpc, HTTP: p.front.http, Credential: auth.DevelopmentKey}
	v, err := drill.StartVisit(ctx, target, options, 0)
	if err != nil {
		return nil, err
	}
	bounded, cancel := context.WithTimeout(ctx, length)
	defer cancel()
	return v.Wait(bounded)
}

// service is a process to look at.
type service struct {
	name       string
	pid        int
	grpc, http string
	probe      string // "" if it has no metrics
}

// startPlatform returns when everything is ready.
func startPlatform(ctx context.Context, holdfast, goMemLimit string) (_ *localPlatform, err error) {
	p := &localPlatform{output: &logtest.Buffer{}}
	p.up = exec.Command(holdfast, "up", "--ephemeral", "--port", "0") //nolint:noctx // it is drained, not killed
	p.up.Stdout, p.up.Stderr = p.output, p.output
	// A database of its own; and two threads, as in a pod with a request of one
	// CPU, however many this machine has.
	p.up.Env = append(os.Environ(), "HOLDFAST_DATABASE_URL=", "HOLDFAST_CPU_REQUEST=1000", "GOMAXPROCS=", "GOMEMLIMIT="+goMemLimit)
	if err := p.up.Start(); err != nil {
		return nil, fmt.Errorf("starting the platform: %w", err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, p.stop())
		}
	}()
	data := regexp.MustCompile(`data, logs\s+(\S+)`)
	for began := time.Now(); !strings.Contains(p.output.String(), "Ctrl-C drains"); {
		if time.Since(began) > 2*time.Minute {
			return nil, fmt.Errorf("the platform was not ready in time: %s", p.output)
		}
		if err := sleep(ctx, 100*time.Millisecond); err != nil {
			return nil, err
		}
	}
	found := data.FindStringSubmatch(p.output.String())
	if found == nil {
		return nil, fmt.Errorf("the platform does not say where its data is: %s", p.output)
	}
	for _, name := range local.StartOrder {
		s, err := readService(found[1], name)
		if err != nil {
			return nil, err
		}
		p.all = append(p.all, s)
		if name == local.Orders {
			p.front = s
		}
	}
	return p, nil
}

// readService finds a process by its PID file and its addresses in its log.
func readService(data, name string) (service, error) {
	pid, err := os.ReadFile(filepath.Join(data, "run", name+".pid"))
	if err != nil {
		return service{}, fmt.Errorf("finding %s: %w", name, err)
	}
	s := service{name: name}
	if s.pid, err = strconv.Atoi(strings.TrimSpace(string(pid))); err != nil {
		return service{}, fmt.Errorf("finding %s: %w", name, err)
	}
	log, err := os.ReadFile(filepath.Join(data, "logs", name+".log"))
	if err != nil {
		return service{}, fmt.Errorf("finding %s: %w", name, err)
	}
	for line := range bytes.Lines(log) {
		var ready struct{ Msg, GRPC, HTTP, Probe string }
		if json.Unmarshal(line, &ready) == nil && ready.Msg == "ready" { // the sandbox says otherwise, and has no metrics
			s.grpc, s.http, s.probe = ready.GRPC, ready.HTTP, ready.Probe
		}
	}
	return s, nil
}

// stop drains the platform.
func (p *localPlatform) stop() error {
	_ = p.up.Process.Signal(syscall.SIGTERM) // it may be gone: Wait says so
	if err := p.up.Wait(); err != nil {
		return fmt.Errorf("the platform ended badly: %w: %s", err, p.output)
	}
	return nil
}
