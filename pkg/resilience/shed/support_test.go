package shed

import (
	"context"
	"log/slog"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/holdfast-dev/holdfast/pkg/apierror"
	"github.com/holdfast-dev/holdfast/pkg/policy"
	"github.com/holdfast-dev/holdfast/pkg/resilience"
	policyv1 "github.com/holdfast-dev/holdfast/proto/holdfast/policy/v1"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var discard = slog.New(slog.DiscardHandler)

// small is a configuration for servers with a few workers.
var small = Config{Enabled: true, Min: 4, Initial: 8, Max: 128, MaxWait: 100 * time.Millisecond}

// Methods of the servers in these tests, by how critical they are; watch is a
// stream.
const (
	sheddable     = "/test.v1.Work/Sheddable"
	sheddablePlus = "/test.v1.Work/SheddablePlus"
	critical      = "/test.v1.Work/Critical"
	criticalPlus  = "/test.v1.Work/CriticalPlus"
	watch         = "/test.v1.Work/Watch"
)

// policies are those of the methods above.
func policies(t testing.TB) *policy.Set {
	t.Helper()
	method := func(name string, c policyv1.Criticality, stream bool) *descriptorpb.MethodDescriptorProto {
		p := &policyv1.MethodPolicy{Criticality: c, Scope: "test"}
		if !stream {
			p.Timeout = durationpb.New(5 * time.Second)
		}
		options := &descriptorpb.MethodOptions{IdempotencyLevel: descriptorpb.MethodOptions_NO_SIDE_EFFECTS.Enum()}
		proto.SetExtension(options, policyv1.E_Method, p)
		return &descriptorpb.MethodDescriptorProto{
			Name: &name, Options: options, ServerStreaming: &stream,
			InputType: proto.String(".google.protobuf.Empty"), OutputType: proto.String(".google.protobuf.Empty"),
		}
	}
	file, err := protodesc.NewFile(&descriptorpb.FileDescriptorProto{
		Name: proto.String("test.proto"), Package: proto.String("test.v1"), Syntax: proto.String("proto3"),
		Dependency: []string{"google/protobuf/empty.proto"},
		Service: []*descriptorpb.ServiceDescriptorProto{{
			Name: proto.String("Work"),
			Method: []*descriptorpb.MethodDescriptorProto{
				method("Sheddable", policyv1.Criticality_CRITICALITY_SHEDDABLE, false),
				method("SheddablePlus", policyv1.Criticality_CRITICALITY_SHEDDABLE_PLUS, false),
				method("Critical", policyv1.Criticality_CRITICALITY_CRITICAL, false),
				method("CriticalPlus", policyv1.Criticality_CRITICALITY_CRITICAL_PLUS, false),
				method("Watch", policyv1.Criticality_CRITICALITY_SHEDDABLE_PLUS, true),
			},
		}},
	}, protoregistry.GlobalFiles)
	require.NoError(t, err)
	set, err := policy.Load(file.Services().Get(0))
	require.NoError(t, err)
	return set
}

// newTest is a shedder for the methods above.
func newTest(t testing.TB, cfg Config) *Shedder {
	t.Helper()
	s := New(cfg, policies(t), discard)
	t.Cleanup(s.Close)
	return s
}

// worker is what a test server does: work for a unary call, watch for a stream.
type worker struct {
	work  func(ctx context.Context) error
	watch func(stream grpc.ServerStream) error
	stop  func() // nil, or what ends work that does not listen when the test does
}

var emptyAnswer = &emptypb.Empty{}

// serve serves the methods above over a real connection, with the interceptors
// that stand around shedding; shedder is nil for a server without.
func serve(t testing.TB, shedder *Shedder, w worker) *grpc.ClientConn {
	t.Helper()
	set := policies(t)
	unary := []grpc.UnaryServerInterceptor{apierror.UnaryServerInterceptor(discard), set.UnaryServerInterceptor()}
	stream := []grpc.StreamServerInterceptor{apierror.StreamServerInterceptor(discard), set.StreamServerInterceptor()}
	if shedder != nil {
		unary = append(unary, UnaryServerInterceptor(shedder))
		stream = append(stream, StreamServerInterceptor(shedder))
	}
	server := grpc.NewServer(grpc.ChainUnaryInterceptor(unary...), grpc.ChainStreamInterceptor(stream...), grpc.WaitForHandlers(true),
		grpc.NumStreamWorkers(4)) // as in pkg/service: a new stack for each call would be measured with it
	desc := &grpc.ServiceDesc{
		ServiceName: "test.v1.Work", HandlerType: (*any)(nil),
		Streams: []grpc.StreamDesc{{
			StreamName: "Watch", ServerStreams: true,
			Handler: func(_ any, stream grpc.ServerStream) error { return w.watch(stream) },
		}},
	}
	for _, name := range []string{"Sheddable", "SheddablePlus", "Critical", "CriticalPlus"} {
		desc.Methods = append(desc.Methods, grpc.MethodDesc{
			MethodName: name,
			Handler: func(srv any, ctx context.Context, decode func(any) error, interceptor grpc.UnaryServerInterceptor) (any, error) {
				var request emptypb.Empty
				if err := decode(&request); err != nil {
					return nil, err
				}
				return interceptor(ctx, &request, &grpc.UnaryServerInfo{Server: srv, FullMethod: "/test.v1.Work/" + name},
					func(ctx context.Context, _ any) (any, error) { return emptyAnswer, w.work(ctx) })
			},
		})
	}
	server.RegisterService(desc, struct{}{})
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	conn, err := grpc.NewClient(listener.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	require.NoError(t, err)
	t.Cleanup(func() {
		conn.Close()
		if w.stop != nil {
			w.stop()
		}
		server.Stop()
		require.NoError(t, <-served)
	})
	return conn
}

// invoke calls a method.
func invoke(ctx context.Context, conn *grpc.ClientConn, method string) error {
	return conn.Invoke(ctx, method, emptyAnswer, &emptypb.Empty{})
}

// asAttempt is a context of a request that arrived and says which attempt it is.
func asAttempt(ctx context.Context, n string) context.Context {
	return metadata.NewIncomingContext(ctx, metadata.Pairs(resilience.AttemptMetadata, n))
}

// requireShed checks what a refusal looks like to a client.
func requireShed(t testing.TB, err error) {
	t.Helper()
	require.Error(t, err)
	e := apierror.From(err)
	require.Equal(t, apierror.ReasonOverloaded, e.Reason(), err)
	require.Equal(t, apierror.RetrySameKey, e.Retry())
	require.GreaterOrEqual(t, e.RetryAfter(), retryAfter/2)
	require.Less(t, e.RetryAfter(), 2*retryAfter)
}

// eventually awaits a condition.
func eventually(t testing.TB, condition func() bool, what string) {
	t.Helper()
	require.Eventually(t, condition, 10*time.Second, 2*time.Millisecond, what)
}

// empty reports whether nothing is in flight and nothing waits.
func (s *Shedder) empty() bool {
	r := s.read()
	return r.inFlight == 0 && r.queued == 0
}

// slowInvoker is a call to another service that takes a second and fails.
func slowInvoker(err error) grpc.UnaryInvoker {
	return func(context.Context, string, any, any, *grpc.ClientConn, ...grpc.CallOption) error {
		time.Sleep(time.Second)
		return err
	}
}
