//go:build faults

package faults

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/reflection"
	"google.golang.org/protobuf/types/known/wrapperspb"

	grpchealth "google.golang.org/grpc/health"

	"github.com/holdfast-dev/holdfast/pkg/apierror"
	"github.com/holdfast-dev/holdfast/pkg/config"
	"github.com/holdfast-dev/holdfast/pkg/health"
	"github.com/holdfast-dev/holdfast/pkg/policy"
	"github.com/holdfast-dev/holdfast/pkg/telemetry/logtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// The methods of the toy service.
const (
	buy   = "/toys.Toys/Buy"
	look  = "/toys.Toys/Look"
	watch = "/toys.Toys/Watch"
	other = "/games.Games/Play"
)

// toys is a service whose handlers only count. The number in a request for a
// stream is how many messages it sends; a negative one has it send one and wait
// for the end of its context.
type toys struct {
	bought, played atomic.Int64
	watches        chan error // how each stream ended for its handler
}

func (s *toys) watch(stream grpc.ServerStream) (err error) {
	defer func() { s.watches <- err }()
	var wanted wrapperspb.Int64Value
	if err := stream.RecvMsg(&wanted); err != nil {
		return err
	}
	for n := range max(wanted.GetValue(), 1) {
		if err := stream.SendMsg(wrapperspb.Int64(n + 1)); err != nil {
			return err
		}
	}
	if wanted.GetValue() < 0 {
		<-stream.Context().Done()
		return stream.Context().Err()
	}
	return nil
}

// register registers two services that no proto describes.
func (s *toys) register(server *grpc.Server) {
	method := func(name string, full string, counter *atomic.Int64) grpc.MethodDesc {
		return grpc.MethodDesc{MethodName: name, Handler: func(_ any, ctx context.Context, decode func(any) error, interceptor grpc.UnaryServerInterceptor) (any, error) {
			request := new(wrapperspb.Int64Value)
			if err := decode(request); err != nil {
				return nil, err
			}
			return interceptor(ctx, request, &grpc.UnaryServerInfo{FullMethod: full}, func(context.Context, any) (any, error) {
				return wrapperspb.Int64(counter.Add(1)), nil
			})
		}}
	}
	var looks atomic.Int64
	server.RegisterService(&grpc.ServiceDesc{
		ServiceName: "toys.Toys",
		Methods:     []grpc.MethodDesc{method("Buy", buy, &s.bought), method("Look", look, &looks)},
		Streams: []grpc.StreamDesc{{StreamName: "Watch", ServerStreams: true, Handler: func(_ any, stream grpc.ServerStream) error {
			return s.watch(stream)
		}}},
	}, nil)
	server.RegisterService(&grpc.ServiceDesc{ServiceName: "games.Games", Methods: []grpc.MethodDesc{method("Play", other, &s.played)}}, nil)
}

// world is a server with faults to be had, and its admin port.
type world struct {
	*toys
	t        *testing.T
	injector *Injector
	logs     *logtest.Buffer
	address  string
	admin    string
	returned chan error // how each unary call ended, as telemetry would see it
}

func start(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, toys: &toys{watches: make(chan error, 100)}, logs: &logtest.Buffer{}, returned: make(chan error, 10)}
	log := slog.New(slog.NewTextHandler(w.logs, nil))
	h := health.New(log)
	t.Cleanup(h.Close)
	w.injector = New(config.Development, log, h)
	w.injector.Serves([]policy.Method{
		{FullName: buy},
		{FullName: look},
		{FullName: watch, Streaming: true},
		{FullName: other},
		{FullName: grpc_health_v1.Health_Check_FullMethodName},
		{FullName: "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo", Streaming: true},
	})
	seen := func(ctx context.Context, request any, _ *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
		answer, err := handler(ctx, request)
		select {
		case w.returned <- err:
		default: // nobody looks at so many
		}
		return answer, err
	}
	server := grpc.NewServer(
		grpc.ChainUnaryInterceptor(append([]grpc.UnaryServerInterceptor{seen, apierror.UnaryServerInterceptor(log)}, w.injector.UnaryServerInterceptors()...)...),
		grpc.ChainStreamInterceptor(append([]grpc.StreamServerInterceptor{apierror.StreamServerInterceptor(log)}, w.injector.StreamServerInterceptors()...)...),
		grpc.UnknownServiceHandler(func(any, grpc.ServerStream) error { return apierror.New(apierror.ReasonUnknownMethod, "no such toy") }),
		grpc.WaitForHandlers(true),
	)
	w.register(server)
	grpc_health_v1.RegisterHealthServer(server, grpchealth.NewServer())
	reflection.Register(server)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	w.address = listener.Addr().String()
	var serving sync.WaitGroup
	serving.Go(func() { _ = server.Serve(w.injector.Listener(listener)) })
	t.Cleanup(func() {
		server.Stop()
		serving.Wait()
	})
	mux := http.NewServeMux()
	w.injector.Route(mux)
	port := httptest.NewServer(mux)
	t.Cleanup(port.Close)
	w.admin = port.URL
	return w
}

// client is a connection of its own, and what its socket said last.
type client struct {
	*grpc.ClientConn
	t   *testing.T
	end *socketEnd
}

func (w *world) client() client {
	w.t.Helper()
	end := &socketEnd{}
	conn, err := grpc.NewClient(w.address, grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithDisableRetry(),
		grpc.WithContextDialer(func(ctx context.Context, address string) (net.Conn, error) {
			var d net.Dialer
			conn, err := d.DialContext(ctx, "tcp", address)
			return &watchedConn{conn, end}, err
		}))
	require.NoError(w.t, err)
	w.t.Cleanup(func() { conn.Close() })
	return client{conn, w.t, end}
}

// call calls a unary method.
func (c client) call(method string) error {
	return c.Invoke(c.t.Context(), method, wrapperspb.Int64(0), new(wrapperspb.Int64Value))
}

// watch asks for so many messages and returns how many came, and how it ended.
func (c client) watch(messages int64) (got int64, err error) {
	stream, err := c.NewStream(c.t.Context(), &grpc.StreamDesc{ServerStreams: true}, watch)
	if err != nil {
		return 0, err
	}
	if err := errors.Join(stream.SendMsg(wrapperspb.Int64(messages)), stream.CloseSend()); err != nil && !errors.Is(err, io.EOF) {
		return 0, err
	}
	for ; ; got++ {
		if err := stream.RecvMsg(new(wrapperspb.Int64Value)); err != nil {
			return got, err
		}
	}
}

// socketEnd is how a socket ended: the errors of reading and of writing. The kernel
// tells of a reset once, to whichever of them asks first; the other finds an end.
type socketEnd struct {
	mu  sync.Mutex
	err error
}

// await waits for an error.
func (e *socketEnd) await(t *testing.T, want error) {
	t.Helper()
	require.Eventually(t, func() bool { return errors.Is(e.soFar(), want) }, 10*time.Second, time.Millisecond, "the connection did not end so")
}

func (e *socketEnd) soFar() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.err
}

func (e *socketEnd) note(err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.err = errors.Join(e.err, err)
}

type watchedConn struct {
	net.Conn
	end *socketEnd
}

func (c *watchedConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.end.note(err)
	return n, err
}

func (c *watchedConn) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	c.end.note(err)
	return n, err
}

// ask sends a request to the admin port.
func (w *world) ask(method, body string) (int, string) {
	w.t.Helper()
	request, err := http.NewRequest(method, w.admin+"/faults", strings.NewReader(body))
	require.NoError(w.t, err)
	response, err := http.DefaultClient.Do(request)
	require.NoError(w.t, err)
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	require.NoError(w.t, err)
	return response.StatusCode, string(text)
}

// put switches rules on.
func (w *world) put(rules string) shown {
	w.t.Helper()
	code, body := w.ask(http.MethodPut, rules)
	require.Equal(w.t, http.StatusOK, code, body)
	return read(w.t, body)
}

// shown is what the admin port shows.
type shown struct {
	Seed  *uint64
	Rules []struct {
		Method, Fault, When, Code string
		Percent                   float64
		Calls, Applied            int64
	}
	Methods []string
}

func (w *world) shown() shown {
	w.t.Helper()
	code, body := w.ask(http.MethodGet, "")
	require.Equal(w.t, http.StatusOK, code, body)
	return read(w.t, body)
}

func read(t *testing.T, body string) (s shown) {
	t.Helper()
	require.NoError(t, json.Unmarshal([]byte(body), &s), body)
	return s
}
