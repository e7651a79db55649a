package apierror

import (
	"context"
	"fmt"
	"log/slog"
	"runtime/debug"

	"google.golang.org/grpc"
)

// UnaryServerInterceptor types every error that leaves the server, and turns a
// panic into an INTERNAL error with an id that the log has. It belongs outside
// everything that may fail.
func UnaryServerInterceptor(log *slog.Logger) grpc.UnaryServerInterceptor {
	return func(ctx context.Context, req any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (resp any, err error) {
		defer func() {
			if r := recover(); r != nil {
				resp, err = nil, panicked(r)
			}
			if err != nil {
				resp, err = nil, typed(ctx, log, info.FullMethod, err)
			}
		}()
		return handler(ctx, req)
	}
}

// StreamServerInterceptor does the same for streams.
func StreamServerInterceptor(log *slog.Logger) grpc.StreamServerInterceptor {
	return func(srv any, stream grpc.ServerStream, info *grpc.StreamServerInfo, handler grpc.StreamHandler) (err error) {
		defer func() {
			if r := recover(); r != nil {
				err = panicked(r)
			}
			if err != nil {
				err = typed(stream.Context(), log, info.FullMethod, err)
			}
		}()
		return handler(srv, stream)
	}
}

func panicked(r any) error {
	return fmt.Errorf("panic: %v\n%s", r, debug.Stack())
}

// typed returns the error that is sent, and logs what is not sent of it when
// it is a bug.
func typed(ctx context.Context, log *slog.Logger, method string, err error) error {
	e := From(err)
	if e.reason == ReasonInternal {
		if e.metadata[metadataErrorID] == "" {
			e = internal(err)
		}
		log.ErrorContext(ctx, "internal error", "method", method, metadataErrorID, e.metadata[metadataErrorID], "error", e.cause)
	}
	return e
}
