package service

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"

	"github.com/grpc-ecosystem/grpc-gateway/v2/runtime"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/test/bufconn"
	"google.golang.org/protobuf/proto"

	"github.com/holdfast-dev/holdfast/pkg/apierror"
	"github.com/holdfast-dev/holdfast/pkg/faults"
)

// inside is what the HTTP API calls, within the process: HTTP requests pass the
// same interceptors as gRPC ones. It is apart from the public server because it
// must outlive the HTTP edge, which outlives nothing.
type inside struct {
	unary *pipe
	// streams come apart from the rest: they last, and places on a connection are
	// counted.
	streams *pipe
}

// openInside serves what the gateway calls.
func openInside(plan blueprint, ends func() endings, log *slog.Logger) (*inside, error) {
	endless := plan
	// An HTTP connection carries one request at a time: there are never more.
	endless.cfg.MaxStreams = uint32(plan.cfg.MaxConns)
	streams, err := openPipe(endless.build(ends), log)
	if err != nil {
		return nil, err
	}
	unary, err := openPipe(plan.build(ends), log, grpc.WithStreamInterceptor(streamsApart(streams.conn)))
	if err != nil {
		streams.stop()
		return nil, err
	}
	return &inside{unary, streams}, nil
}

// close stops it once nothing calls it any more, or when ctx ends.
func (in *inside) close(ctx context.Context) {
	in.unary.close(ctx)
	in.streams.close(ctx)
}

// pipe is a gRPC server and the one connection to it.
type pipe struct {
	server *grpc.Server
	conn   *grpc.ClientConn
	served chan struct{}
}

// buffered is how much the connection of a pipe buffers, in bytes.
const buffered = 256 << 10

// openPipe starts the server and connects to it. The connection does no
// health checks: NOT_SERVING would fail every HTTP request of a drain.
func openPipe(server *grpc.Server, log *slog.Logger, options ...grpc.DialOption) (*pipe, error) {
	listener := bufconn.Listen(buffered)
	conn, err := grpc.NewClient("passthrough:///inside", append(options,
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return listener.DialContext(ctx) }),
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDisableServiceConfig(),
		grpc.WithDisableHealthCheck(),
		grpc.WithDisableRetry(),
		// The edge has limited what comes in; what goes out is ours.
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(64<<20)),
	)...)
	if err != nil {
		return nil, fmt.Errorf("connecting the gateway: %w", err)
	}
	p := &pipe{server: server, conn: conn, served: make(chan struct{})}
	go func() { // ends when close stops the server, and waits for it
		defer close(p.served)
		if err := server.Serve(listener); err != nil && !errors.Is(err, grpc.ErrServerStopped) {
			log.Error("the gateway's gRPC server ended", "error", err)
		}
	}()
	return p, nil
}

// close stops the server once nothing calls it any more, or when ctx ends.
func (p *pipe) close(ctx context.Context) {
	_ = p.conn.Close()
	stop := context.AfterFunc(ctx, p.server.Stop)
	defer stop()
	p.server.GracefulStop()
	<-p.served
}

// stop ends what nothing has called yet.
func (p *pipe) stop() {
	_ = p.conn.Close()
	p.server.Stop()
	<-p.served
}

// setQueryParser sets how query parameters are read. That is a variable of the
// gateway's package, which each mux with the option would write, under the requests
// of another service in the same process.
var setQueryParser = sync.OnceFunc(func() {
	runtime.NewServeMux(runtime.SetQueryParameterParser(&strictQuery{}))
})

// newGateway translates HTTP to calls over conn. What it has no route for may be at
// a path of the routes beside it.
func newGateway(ctx context.Context, cfg Config, apis []API, conn *grpc.ClientConn, beside *routes, log *slog.Logger, injector *faults.Injector) (http.Handler, error) {
	setQueryParser()
	options := append(injector.Gateway(),
		runtime.WithMarshalerOption(runtime.MIMEWildcard, newStrictJSON()),
		runtime.WithMarshalerOption(mimeEvents, eventStream{newStrictJSON()}),
		runtime.WithIncomingHeaderMatcher(matchIncoming),
		runtime.WithMetadata(tellClient),
		runtime.WithOutgoingHeaderMatcher(matchOutgoing),
		runtime.WithOutgoingTrailerMatcher(noTrailers),
		runtime.WithForwardResponseOption(answer(apis)),
		runtime.WithErrorHandler(func(ctx context.Context, _ *runtime.ServeMux, _ runtime.Marshaler, w http.ResponseWriter, _ *http.Request, err error) {
			headersFromTrailers(ctx, w)
			writeProblem(ctx, w, log, err)
		}),
		runtime.WithRoutingErrorHandler(func(ctx context.Context, mux *runtime.ServeMux, _ runtime.Marshaler, w http.ResponseWriter, r *http.Request, code int) {
			if rehearsing(ctx) {
				return
			}
			var methods []string
			if code == http.StatusMethodNotAllowed {
				methods = allowed(ctx, mux, r)
			}
			more, route := beside.at(r)
			if route != nil {
				methods, code = append(methods, more...), http.StatusMethodNotAllowed
			}
			if code == http.StatusMethodNotAllowed {
				w.Header().Set("Allow", strings.Join(methods, ", "))
			}
			if route != nil {
				route.refuse(w, r, routingError(r, code))
				return
			}
			apierror.WriteProblem(w, routingError(r, code))
		}),
		runtime.WithMiddlewares(rehearse, carry(cfg)),
		// A form body or a header must not turn one method into another.
		runtime.WithDisablePathLengthFallback(),
		runtime.WithDisableHTTPMethodOverride(),
		runtime.WithWriteContentLength(),
	)
	mux := runtime.NewServeMux(options...)
	for _, api := range apis {
		if api.Gateway == nil {
			continue
		}
		if err := api.Gateway(ctx, mux, conn); err != nil {
			return nil, fmt.Errorf("registering HTTP routes: %w", err)
		}
	}
	return mux, nil
}

// answer finishes a successful answer: what gRPC says in trailers, and status 202
// where something is still under way. No message is what a stream begins with.
func answer(apis []API) func(context.Context, http.ResponseWriter, proto.Message) error {
	return func(ctx context.Context, w http.ResponseWriter, message proto.Message) error {
		if c, ok := w.(*carrier); ok && (message == nil || c.open) {
			if message == nil {
				return c.begin()
			}
			return nil
		}
		headersFromTrailers(ctx, w)
		for _, api := range apis {
			if api.Accepted != nil && api.Accepted(message) {
				w.WriteHeader(http.StatusAccepted)
				return nil
			}
		}
		return nil
	}
}

// routingError is the answer to a request that no route takes.
func routingError(r *http.Request, code int) error {
	switch code {
	case http.StatusMethodNotAllowed:
		return apierror.New(apierror.ReasonMethodNotAllowed, "this path does not take "+r.Method)
	case http.StatusNotFound:
		return apierror.New(apierror.ReasonUnknownMethod, "there is nothing at this path")
	default:
		return apierror.New(apierror.ReasonMalformedRequest, "the path is malformed")
	}
}

// writeProblem answers with an error, from wherever in the gateway it comes.
func writeProblem(ctx context.Context, w http.ResponseWriter, log *slog.Logger, err error) {
	apierror.WriteProblem(w, typed(ctx, log, err))
}

// typed is an error as clients see it. One that no interceptor has seen and typed
// is logged here.
func typed(ctx context.Context, log *slog.Logger, err error) *apierror.Error {
	if f := faultOf(err); f != nil {
		err = f.typed()
	}
	_, known := apierror.ReasonOf(err)
	e := apierror.From(err)
	if e.Reason() == apierror.ReasonInternal && !known {
		log.ErrorContext(ctx, "internal error", "error_id", e.Metadata("error_id"), "error", err)
	}
	return e
}
