package llmgateway

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/holdfast-dev/holdfast/pkg/apierror"
	"github.com/holdfast-dev/holdfast/services/llm-gateway/ledger"
)

// settler writes what answers cost. The client waits for it a little, so that what
// it was told is booked; if the database is not there, the answer goes out and the
// settler goes on trying. What it does not get written in the end, the reconciler
// asks the provider about.
type settler struct {
	patience time.Duration // of the client
	log      *slog.Logger
	behind   sync.WaitGroup // writes that clients do not wait for
	ctx      context.Context
	stop     context.CancelFunc // of those
}

// newSettler returns a settler whose clients wait so long.
func newSettler(ctx context.Context, patience time.Duration, log *slog.Logger) *settler {
	s := &settler{patience: patience, log: log}
	s.ctx, s.stop = context.WithCancel(context.WithoutCancel(ctx)) // close ends it
	return s
}

// write writes, and returns when it is written or the client should not wait longer.
func (s *settler) write(ctx context.Context, b *books, write func(context.Context) error) {
	bounded, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.patience)
	err := write(bounded)
	cancel()
	if s.decided(ctx, b, err) {
		return
	}
	s.log.WarnContext(ctx, "what an answer cost is not written yet", "request", b.ask.id, "error", err)
	s.behind.Go(func() { //nolint:contextcheck // it goes on when the request is over
		pause := time.NewTicker(time.Second)
		defer pause.Stop()
		for {
			select {
			case <-s.ctx.Done():
				s.log.ErrorContext(s.ctx, "what an answer cost was not written; the reconciler will ask for it", "request", b.ask.id)
				return
			case <-pause.C:
			}
			bounded, cancel := context.WithTimeout(s.ctx, s.patience)
			err := write(bounded)
			cancel()
			if s.decided(s.ctx, b, err) {
				return
			}
		}
	})
}

// decided reports whether there is nothing more to write, or no sense in trying: what
// does not pass with time is the reconciler's.
func (s *settler) decided(ctx context.Context, b *books, err error) bool {
	switch {
	case err == nil:
		return true
	case errors.Is(err, ledger.ErrFenced):
		s.log.WarnContext(ctx, "a request was taken for abandoned before it was booked; the reconciler has it", "request", b.ask.id)
		return true
	case apierror.From(err).Reason() == apierror.ReasonInternal:
		s.log.ErrorContext(ctx, "what an answer cost cannot be written; the reconciler will ask for it", "request", b.ask.id, "error", err)
		return true
	default:
		return false
	}
}

// close gives what is behind until ctx ends.
func (s *settler) close(ctx context.Context) {
	defer context.AfterFunc(ctx, s.stop)()
	s.behind.Wait()
	s.stop()
}
