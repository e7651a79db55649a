package apierror_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/holdfast-dev/holdfast/pkg/apierror"
)

// answered runs a handler behind the unary or the stream interceptor.
func answered(t *testing.T, stream bool, handler func() error) (log map[string]any, answer error) {
	t.Helper()
	var out bytes.Buffer
	logger := slog.New(slog.NewJSONHandler(&out, nil))
	if stream {
		answer = apierror.StreamServerInterceptor(logger)(nil, serverStream{ctx: t.Context()},
			&grpc.StreamServerInfo{FullMethod: "/s/M"}, func(any, grpc.ServerStream) error { return handler() })
	} else {
		var response any
		response, answer = apierror.UnaryServerInterceptor(logger)(t.Context(), nil,
			&grpc.UnaryServerInfo{FullMethod: "/s/M"}, func(context.Context, any) (any, error) { return "answer", handler() })
		if answer == nil {
			require.Equal(t, "answer", response)
		} else {
			require.Nil(t, response)
		}
	}
	if out.Len() > 0 {
		require.NoError(t, json.Unmarshal(out.Bytes(), &log))
	}
	return log, answer
}

type serverStream struct {
	grpc.ServerStream
	ctx context.Context // grpc.ServerStream hands its context out by method
}

func (s serverStream) Context() context.Context { return s.ctx }

func TestInterceptors(t *testing.T) {
	for _, stream := range []bool{false, true} {
		t.Run(map[bool]string{false: "unary", true: "stream"}[stream], func(t *testing.T) {
			t.Run("a panic is a bug that the log can explain", func(t *testing.T) {
				log, answer := answered(t, stream, func() error { panic("index 3 out of range") })
				st := status.Convert(answer)
				require.Equal(t, codes.Internal, st.Code())
				require.NotContains(t, st.Proto().String(), "index 3")
				var typed *apierror.Error
				require.ErrorAs(t, answer, &typed)
				require.Equal(t, typed.Metadata("error_id"), log["error_id"])
				require.Equal(t, "/s/M", log["method"])
				require.Contains(t, log["error"], "index 3 out of range")
				require.Contains(t, log["error"], "interceptor_test.go", "the stack is there")
			})
			t.Run("a plain error is a bug", func(t *testing.T) {
				log, answer := answered(t, stream, func() error { return errors.New("no rows") })
				require.Equal(t, codes.Internal, status.Code(answer))
				require.NotContains(t, status.Convert(answer).Message(), "no rows")
				require.Contains(t, log["error"], "no rows")
			})
			t.Run("a typed error passes and is not logged", func(t *testing.T) {
				log, answer := answered(t, stream, func() error { return apierror.New(apierror.ReasonNotFound, "gone") })
				require.Equal(t, codes.NotFound, status.Code(answer))
				require.Empty(t, log)
			})
			t.Run("no error stays none", func(t *testing.T) {
				log, answer := answered(t, stream, func() error { return nil })
				require.NoError(t, answer)
				require.Empty(t, log)
			})
		})
	}
}
