package service

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/holdfast-dev/holdfast/pkg/health"
)

// public is what takes traffic, and how it stops taking it. Shutting down goes
// through these steps; each is there because without it requests are lost:
//
//	1  health says NOT_SERVING, /readyz 503; liveness stays
//	2  lame duck: everything is still accepted, while callers learn of step 1
//	3  streams are told to end, each with a message and a way to resume; those of
//	   gRPC a moment after step 4 has begun, so that who resumes does it elsewhere;
//	   and those that are left when its time is nearly over once more, to end at once
//	4  the HTTP edge and the public gRPC server finish, in parallel; the
//	   gateway's own server after both
//	5  workers stop claiming and release what they have
//	6  the database pool closes              (a stop hook, after this)
//	7  telemetry is flushed, the probe port closes       ([serve])
//
// A drain that does not end the process (POST /drain) is steps 1, 3 and 5, and
// in place of step 4 puts a new server behind the listener; see [door].
type public struct {
	cfg      Config
	log      *slog.Logger
	health   *health.Health
	door     *door
	edge     *edge
	inside   *inside
	workers  *workforce
	drains   *drainMeter
	sabotage Sabotage

	mu       sync.Mutex
	drained  bool          // by POST /drain
	stopping bool          // for good
	ending   chan struct{} // of the streams over HTTP: closed when they should end
	// cutOff is closed when what is left over HTTP is about to be cut off. A drain
	// that does not end the process cuts nothing off there.
	cutOff chan struct{}
}

// endings end what came over HTTP. The first of them is a new one after each drain.
func (p *public) endings() endings {
	p.mu.Lock()
	defer p.mu.Unlock()
	return endings{p.ending, p.cutOff}
}

// shutdown does steps 1 to 5. When ctx ends the rest is forced. It returns an
// error if anything was cut off.
func (p *public) shutdown(ctx context.Context) error {
	began := time.Now()
	p.mu.Lock()
	p.stopping = true
	p.mu.Unlock()
	p.drains.begin(p.cfg.LameDuck + p.cfg.DrainCap)

	if p.sabotage&NoReadinessFlip == 0 {
		p.health.Drain()
		p.edge.leaving.Store(true)
		if p.sabotage&NoDrain == 0 {
			p.lameDuck(ctx)
		}
	}
	p.endStreams()
	forced := p.finishRequests(ctx)

	stopping, cancel := context.WithTimeout(ctx, p.cfg.StopWorkers)
	defer cancel()
	if err := p.workers.stop()(stopping); err != nil {
		p.log.Error("drain: workers were left behind", "error", err)
		forced = true
	}
	p.drains.end(context.WithoutCancel(ctx), forced)
	p.log.Info("drained", "took", time.Since(began).Round(time.Millisecond), "forced", forced)
	if forced {
		return errForced
	}
	return nil
}

// lameDuck waits for callers to notice. There is nothing to wait for but time.
func (p *public) lameDuck(ctx context.Context) {
	p.log.Info("draining", "lame_duck", p.cfg.LameDuck)
	select {
	case <-ctx.Done():
	case <-time.After(p.cfg.LameDuck):
	}
}

// finishRequests is step 4: both public listeners close at once, since a gRPC
// server that waited for HTTP would send its GOAWAY late, and the gateway's
// own server when no HTTP request can need it any more.
func (p *public) finishRequests(ctx context.Context) (forced bool) {
	ctx, cancel := context.WithTimeout(ctx, p.cfg.DrainCap)
	defer cancel()
	if p.sabotage&NoDrain != 0 {
		cancel()
	}
	defer beforeEnd(ctx, p.cfg.cutOffBefore(), func() { close(p.cutOff) })()
	var both sync.WaitGroup
	var edgeForced, doorForced bool
	both.Go(func() { edgeForced = p.edge.close(ctx) })
	both.Go(func() { doorForced = p.door.close(ctx) })
	both.Wait()
	p.inside.close(ctx)
	return edgeForced || doorForced
}

// endStreams tells the gateway's streams to end. The door tells its own.
func (p *public) endStreams() {
	p.mu.Lock()
	defer p.mu.Unlock()
	select {
	case <-p.ending:
	default:
		close(p.ending)
	}
}

// drain empties the process without ending it: callers are told, streams end,
// connections get GOAWAY, workers stop. It goes on answering whoever comes
// anyway. It returns when what was in flight has finished, or with an error
// when that had to be cut off or ctx ended first.
func (p *public) drain(ctx context.Context) error {
	calls, work, err := p.leave(ctx)
	if err != nil {
		return err
	}
	p.drains.begin(p.cfg.DrainCap)
	stopping, cancel := context.WithTimeout(ctx, p.cfg.StopWorkers)
	defer cancel()
	err = work(stopping)
	select {
	case forced := <-calls:
		p.drains.end(ctx, forced)
		if forced {
			err = errors.Join(err, errForced)
		}
	case <-ctx.Done():
		err = errors.Join(err, fmt.Errorf("waiting for requests in flight: %w", ctx.Err()))
	}
	return err
}

// leave turns the process to drained. Calls gives whether what was in flight had
// to be cut off, work waits for the workers. A process that was drained before is
// emptied again: whoever came since, by a route that had not heard of the first
// drain, would stay for as long as the connection lives.
func (p *public) leave(ctx context.Context) (calls <-chan bool, work func(context.Context) error, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.stopping:
		return nil, nil, errStopping
	case p.drained:
		return p.door.swap(ctx, p.cfg.DrainCap), p.workers.stop(), nil
	}
	p.drained = true
	p.health.Drain()
	p.edge.leaving.Store(true)
	close(p.ending)
	p.ending = make(chan struct{})
	return p.door.swap(ctx, p.cfg.DrainCap), p.workers.stop(), nil
}

// undrain puts a drained process back into traffic.
func (p *public) undrain(ctx context.Context) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.stopping:
		return errStopping
	case !p.drained:
		return nil
	}
	p.drained = false
	p.workers.start(ctx)
	p.edge.leaving.Store(false)
	p.health.Undrain()
	return nil
}
