package drill

import (
	"context"
	"fmt"
	"path/filepath"
	"sync"
	"time"

	"github.com/holdfast-dev/holdfast/cmd/holdfast/local"
)

// fleet is the replicas of one service.
type fleet struct {
	service     string
	environment local.Environment
	sabotage    Sabotage
	data        *local.Data
	endpoints   *Endpoints
	// behind, if there is one, puts something in front of each replica's gRPC port and
	// returns where that is reached then.
	behind func(ctx context.Context, address string) (string, error)
	// variant, if there is one, is what the next replica has that others have not.
	variant func(*local.Command, *local.Environment)

	mu       sync.Mutex
	started  int
	replicas []*replica // by slot
	drains   []Drain
}

// replica is one process of a fleet.
type replica struct {
	Replica
	process *local.Process
	log     string
}

// Drain is one replica's end.
type Drain struct {
	// Replica is its name.
	Replica string `json:"replica"`
	// Took is the time from SIGTERM to its exit, in seconds.
	Took float64 `json:"took_seconds"`
	// Problem says why it did not exit with 0, if it did not.
	Problem string `json:"problem,omitempty"`
}

// Bounds of one replacement. They are far above what a replica needs.
const (
	startBound = 30 * time.Second
	drainBound = 30 * time.Second
)

// start starts replicas for that many slots, all at once, and waits until they
// are published as ready.
func (f *fleet) start(ctx context.Context, slots int) error {
	f.replicas = make([]*replica, slots)
	errs := make(chan error, slots)
	for slot := range slots {
		go func() { // awaited below
			r, err := f.launch(ctx)
			f.mu.Lock()
			f.replicas[slot] = r
			f.mu.Unlock()
			errs <- err
		}()
	}
	var first error
	for range slots {
		if err := <-errs; err != nil && first == nil {
			first = err
		}
	}
	return first
}

// launch starts one replica. The replica is returned with an error too, if its
// process runs.
func (f *fleet) launch(ctx context.Context) (*replica, error) {
	f.mu.Lock()
	f.started++
	name := fmt.Sprintf("%s-%d", f.service, f.started)
	f.mu.Unlock()

	at, err := local.FreeAddresses(ctx)
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	log, err := openLog(filepath.Join(f.data.Dir, "logs", name+".log"))
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	defer func() { _ = log.Close() }() // the process has its own handle
	args := append([]string{"serve", f.service}, f.sabotage.arguments()...)
	reached := at.GRPC
	command, environment := local.Command{Name: name, Args: args, Output: log}, f.environment
	if f.variant != nil {
		f.variant(&command, &environment)
	}
	command.Env = environment.For(f.service, at)
	process, err := local.Start(command)
	if err != nil {
		return nil, err
	}
	if f.behind != nil {
		if reached, err = f.behind(ctx, at.GRPC); err != nil {
			process.Kill()
			return nil, err
		}
	}
	r := &replica{
		Replica: Replica{Name: name, GRPC: reached, HTTP: at.HTTP, ReadyURL: at.ReadyURL(), Admin: at.Admin},
		process: process,
		log:     log.Name(),
	}
	ctx, cancel := context.WithTimeout(ctx, startBound)
	defer cancel()
	go func() { // ends with either
		select {
		case <-process.Exited(): // nobody is waited for who is gone
			cancel()
		case <-ctx.Done():
		}
	}()
	if err := local.AwaitReady(ctx, r.ReadyURL, process); err != nil {
		return r, fmt.Errorf("start %s: %w; its log ends with: %s", name, err, local.WhyItEndedIn(r.log, 0))
	}
	f.endpoints.Add(r.Replica)
	if err := f.endpoints.Await(ctx, name); err != nil {
		return r, err
	}
	return r, nil
}

// replace replaces the replica in a slot as a rolling deploy with maxSurge 1
// and maxUnavailable 0 does: a new one is ready before the old one is told to
// go. How the old one went is recorded, whatever it was.
func (f *fleet) replace(ctx context.Context, slot int) error {
	next, err := f.launch(ctx)
	if err != nil {
		if next != nil {
			next.process.Kill()
		}
		return err
	}
	f.mu.Lock()
	old := f.replicas[slot]
	f.replicas[slot] = next
	f.mu.Unlock()
	drain := old.stop(ctx)
	f.endpoints.Remove(old.Name)
	f.mu.Lock()
	f.drains = append(f.drains, drain)
	f.mu.Unlock()
	return nil
}

// stop drains a replica and says how it went.
func (r *replica) stop(ctx context.Context) Drain {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), drainBound)
	defer cancel()
	began := time.Now()
	err := r.process.Stop(ctx)
	drain := Drain{Replica: r.Name, Took: time.Since(began).Seconds()}
	if err != nil {
		drain.Problem = err.Error()
	}
	return drain
}

// stop drains every replica, all at once.
func (f *fleet) stop(ctx context.Context) {
	var work sync.WaitGroup
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, r := range f.replicas {
		if r != nil {
			work.Go(func() { r.stop(ctx) })
		}
	}
	work.Wait()
}
