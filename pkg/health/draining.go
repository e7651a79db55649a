package health

import "context"

type drainingKey struct{}

// WithDraining returns a context for one stream whose server begins to drain
// when the channel is closed.
func WithDraining(ctx context.Context, draining <-chan struct{}) context.Context {
	return context.WithValue(ctx, drainingKey{}, draining)
}

// Draining returns a channel that is closed when the server that carries this
// stream begins to drain. It is nil, and never ready, outside a server.
func Draining(ctx context.Context) <-chan struct{} {
	draining, _ := ctx.Value(drainingKey{}).(<-chan struct{})
	return draining
}
