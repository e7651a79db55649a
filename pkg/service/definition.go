package service

import (
	"context"
	"io/fs"

	"github.com/grpc-ecosystem/grpc-gateway/v2/runtime"
	"go.uber.org/fx"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	"github.com/holdfast-dev/holdfast/pkg/health"
)

// Definition is all that one service says about itself.
type Definition struct {
	// Name is what the service is called everywhere: `orders`.
	Name string
	// Module provides the service's APIs and workers; see [ProvideAPI] and
	// [ProvideWorker].
	Module fx.Option
	// Migrations are the goose migrations of the service's database, which is
	// named like the service. Nil: it has none.
	Migrations fs.FS
	// Config are the service's own Config structs, by value: what is read from
	// the environment and provided to Module.
	Config []any
	// Defaults are this service's defaults of variables that have others for most,
	// such as HOLDFAST_DRAIN_CAP of one whose calls take minutes. What the
	// environment says wins. A variable that the service does not read is an error
	// at start-up.
	Defaults map[string]string
	// LongCalls says that calls may last longer than HOLDFAST_MAX_CONN_AGE_GRACE. A
	// gRPC connection of age is asked to make way all the same, but what is under
	// way on it goes on until it ends: it is neither told to end nor cut off. That
	// takes calls that end by themselves; a watch, which does not, would stay on
	// one replica for ever.
	LongCalls bool
}

// API is one gRPC service and its form in HTTP.
type API struct {
	// Register registers the service. It is called once for every server that
	// is made, so it must register the same implementation each time.
	Register func(grpc.ServiceRegistrar)
	// Gateway registers the HTTP routes, which call over conn. Nil: no HTTP.
	Gateway func(ctx context.Context, mux *runtime.ServeMux, conn *grpc.ClientConn) error
	// Accepted tells whether an answer is of something still under way, which
	// HTTP says with status 202. Nil: none is.
	Accepted func(proto.Message) bool
}

// Worker is a loop that claims work. It runs while the service is ready: it is
// stopped when the service drains, and Run is called again when a drain is
// undone.
type Worker struct {
	// Name is for logs and metrics.
	Name string
	// Run works until ctx ends, then finishes or releases what it has claimed
	// and returns nil. If it returns an error it is started again after a pause.
	Run func(ctx context.Context) error
}

// ProvideAPI adds an API to the service: constructor returns an [API], and an
// error if it wants to, from whatever the graph has.
func ProvideAPI(constructor any) fx.Option {
	return fx.Provide(fx.Annotate(constructor, fx.ResultTags(`group:"apis"`)))
}

// ProvideWorker adds a worker to the service: constructor returns a [Worker],
// and an error if it wants to.
func ProvideWorker(constructor any) fx.Option {
	return fx.Provide(fx.Annotate(constructor, fx.ResultTags(`group:"workers"`)))
}

// Draining returns a channel that is closed when the server that carries this
// stream begins to drain. Every handler of a stream selects on it and ends the
// stream with a final message or a status with RetryInfo, and a token to resume
// from: nothing else ends a stream at a drain but force.
func Draining(ctx context.Context) <-chan struct{} { return health.Draining(ctx) }
