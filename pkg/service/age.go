package service

import (
	"context"
	"sync"
	"time"

	"google.golang.org/grpc/stats"
)

// A gRPC connection that has reached its age is asked to make way for a new one,
// and is cut off when the grace after that is over. gRPC tells handlers of
// neither, and a stream that lives for hours would end in a broken connection
// every few minutes. So a stream is told to end before that, as in a drain, and
// goes on where the client's next connection leads.

// lifespan is how old connections may become, and how long their calls may take
// to finish then. Without a grace they may take for ever.
type lifespan struct{ age, grace time.Duration }

// lifespanOf is that of the connections of a service.
func lifespanOf(def Definition, cfg Config) lifespan {
	if def.LongCalls {
		return lifespan{age: cfg.MaxConnAge}
	}
	return lifespan{cfg.MaxConnAge, cfg.MaxConnAgeGrace}
}

// jitter is the part of the age by which gRPC varies it, either way.
const jitter = 0.1

// left is how long a stream that is opened on a connection of some age may last.
// No stream opens on a connection that was asked to make way: this one was not,
// nor is any before its age less the jitter. From then on there is the grace, of
// which a quarter is kept for ending.
func (l lifespan) left(age time.Duration) time.Duration {
	young := time.Duration(float64(l.age)*(1-jitter)) - age
	return max(young, 0) + l.grace*3/4
}

// leftOf is left for the stream of a context; known is false for one that no
// server of ours carries, or that may last.
func (l lifespan) leftOf(ctx context.Context) (left time.Duration, known bool) {
	began, known := ctx.Value(connectedKey{}).(time.Time)
	return l.left(time.Since(began)), known && l.grace > 0
}

// sooner returns a channel that is closed when the other is, or after a time. The
// caller calls release when nobody waits for it any more.
func sooner(other <-chan struct{}, after time.Duration) (either <-chan struct{}, release func()) {
	ends, over := make(chan struct{}), make(chan struct{})
	var waiting sync.WaitGroup
	waiting.Go(func() {
		timer := time.NewTimer(after)
		defer timer.Stop()
		select {
		case <-other:
			close(ends)
		case <-timer.C:
			close(ends)
		case <-over:
		}
	})
	return ends, func() {
		close(over)
		waiting.Wait()
	}
}

type connectedKey struct{}

// connections has every connection remember when it began: what its streams'
// contexts are made from is made here.
type connections struct{}

var _ stats.Handler = connections{}

// TagConn notes the time.
func (connections) TagConn(ctx context.Context, _ *stats.ConnTagInfo) context.Context {
	return context.WithValue(ctx, connectedKey{}, time.Now())
}

// TagRPC implements stats.Handler.
func (connections) TagRPC(ctx context.Context, _ *stats.RPCTagInfo) context.Context { return ctx }

// HandleRPC implements stats.Handler.
func (connections) HandleRPC(context.Context, stats.RPCStats) {}

// HandleConn implements stats.Handler.
func (connections) HandleConn(context.Context, stats.ConnStats) {}
