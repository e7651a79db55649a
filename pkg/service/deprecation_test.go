package service

import (
	"context"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/grpc-ecosystem/grpc-gateway/v2/runtime"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/holdfast-dev/holdfast/pkg/apierror"
	policyv1 "github.com/holdfast-dev/holdfast/proto/holdfast/policy/v1"
)

var registerAging sync.Once // the registry of protos is the process's

// Methods of a service some of which will go.
const (
	goingMethod   = "/aging.v1.AgingService/Going"
	stayingMethod = "/aging.v1.AgingService/Staying"
)

// agingService is a service with a method that is deprecated, one that is not, and
// a stream that is. Its unary methods fail for who sends x-request-id: fail.
func agingService(t *testing.T) *grpc.ServiceDesc {
	t.Helper()
	method := func(name string, stream bool, d *policyv1.Deprecation) *descriptorpb.MethodDescriptorProto {
		p := &policyv1.MethodPolicy{Criticality: policyv1.Criticality_CRITICALITY_CRITICAL, Scope: "orders.read", Deprecation: d}
		if !stream {
			p.Timeout = durationpb.New(2 * time.Second)
		}
		options := &descriptorpb.MethodOptions{IdempotencyLevel: descriptorpb.MethodOptions_NO_SIDE_EFFECTS.Enum(), Deprecated: proto.Bool(d != nil)}
		proto.SetExtension(options, policyv1.E_Method, p)
		return &descriptorpb.MethodDescriptorProto{
			Name: &name, Options: options, ServerStreaming: &stream,
			InputType: proto.String(".google.protobuf.Empty"), OutputType: proto.String(".google.protobuf.Empty"),
		}
	}
	going := &policyv1.Deprecation{Since: "2026-03-01", Sunset: "2027-03-01", Link: "https://holdfast.example/going"}
	file, err := protodesc.NewFile(&descriptorpb.FileDescriptorProto{
		Name: proto.String("aging.proto"), Package: proto.String("aging.v1"), Syntax: proto.String("proto3"),
		Dependency: []string{"google/protobuf/empty.proto"},
		Service: []*descriptorpb.ServiceDescriptorProto{{Name: proto.String("AgingService"), Method: []*descriptorpb.MethodDescriptorProto{
			method("Going", false, going), method("Staying", false, nil), method("Watching", true, going),
		}}},
	}, protoregistry.GlobalFiles)
	require.NoError(t, err)
	registerAging.Do(func() { require.NoError(t, protoregistry.GlobalFiles.RegisterFile(file)) })

	desc := &grpc.ServiceDesc{ServiceName: "aging.v1.AgingService", HandlerType: (*any)(nil), Streams: []grpc.StreamDesc{{
		StreamName: "Watching", ServerStreams: true, Handler: func(any, grpc.ServerStream) error { return nil },
	}}}
	for _, name := range []string{"Going", "Staying"} {
		desc.Methods = append(desc.Methods, grpc.MethodDesc{
			MethodName: name,
			Handler: func(srv any, ctx context.Context, decode func(any) error, chain grpc.UnaryServerInterceptor) (any, error) {
				var request emptypb.Empty
				if err := decode(&request); err != nil {
					return nil, err
				}
				return chain(ctx, &request, &grpc.UnaryServerInfo{Server: srv, FullMethod: "/aging.v1.AgingService/" + name},
					func(ctx context.Context, _ any) (any, error) {
						if id := metadata.ValueFromIncomingContext(ctx, "x-request-id"); len(id) > 0 && id[0] == "fail" {
							return nil, apierror.New(apierror.ReasonNotFound, "not there")
						}
						return &emptypb.Empty{}, nil
					})
			},
		})
	}
	return desc
}

// agingGateway is what would be generated.
func agingGateway(_ context.Context, mux *runtime.ServeMux, conn *grpc.ClientConn) error {
	for path, method := range map[string]string{"/v1/going": goingMethod, "/v1/staying": stayingMethod} {
		err := mux.HandlePath(http.MethodGet, path, func(w http.ResponseWriter, r *http.Request, _ map[string]string) {
			_, marshaler := runtime.MarshalerForRequest(mux, r)
			var md runtime.ServerMetadata
			var answer emptypb.Empty
			ctx, err := runtime.AnnotateContext(r.Context(), mux, r, method)
			if err == nil {
				err = conn.Invoke(ctx, method, &emptypb.Empty{}, &answer, grpc.Header(&md.HeaderMD), grpc.Trailer(&md.TrailerMD))
				ctx = runtime.NewServerMetadataContext(ctx, md)
			}
			if err != nil {
				runtime.HTTPError(ctx, mux, marshaler, w, r, err)
				return
			}
			runtime.ForwardResponseMessage(ctx, mux, marshaler, w, r, &answer, mux.GetForwardResponseOptions()...)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// TestAMethodThatWillGoSaysSo in every answer, over both protocols, also in one
// that is an error.
func TestAMethodThatWillGoSaysSo(t *testing.T) {
	const since, sunset = "@1772323200", "Mon, 01 Mar 2027 00:00:00 GMT"
	const link = `<https://holdfast.example/going>; rel="deprecation sunset"; type="text/html"`
	desc := agingService(t)
	i := start(t, Definition{Name: "aging", Module: ProvideAPI(func() API {
		return API{Register: func(r grpc.ServiceRegistrar) { r.RegisterService(desc, struct{}{}) }, Gateway: agingGateway}
	})})
	conn := i.dial()

	for _, id := range []string{"ok", "fail"} {
		t.Run(id, func(t *testing.T) {
			var trailer metadata.MD
			ctx := metadata.AppendToOutgoingContext(t.Context(), "x-request-id", id)
			err := conn.Invoke(ctx, goingMethod, &emptypb.Empty{}, &emptypb.Empty{}, grpc.Trailer(&trailer))
			require.Equal(t, id == "fail", status.Code(err) == codes.NotFound, err)
			require.Equal(t, []string{since}, trailer.Get("deprecation"))
			require.Equal(t, []string{sunset}, trailer.Get("sunset"))
			require.Equal(t, []string{link}, trailer.Get("link"))

			a := i.send(http.MethodGet, "/v1/going", "", headerRequestID, id)
			require.Equal(t, map[string]int{"ok": 200, "fail": 404}[id], a.StatusCode, a.body)
			require.Equal(t, since, a.Header.Get("Deprecation"))
			require.Equal(t, sunset, a.Header.Get("Sunset"))
			require.Equal(t, link, a.Header.Get("Link"))
		})
	}
	t.Run("stream", func(t *testing.T) {
		stream, err := conn.NewStream(t.Context(), &grpc.StreamDesc{ServerStreams: true}, "/aging.v1.AgingService/Watching")
		require.NoError(t, err)
		require.NoError(t, stream.CloseSend())
		require.Error(t, stream.RecvMsg(&emptypb.Empty{}), "its end")
		require.Equal(t, []string{since}, stream.Trailer().Get("deprecation"))
	})
	t.Run("one that stays says nothing", func(t *testing.T) {
		var trailer metadata.MD
		require.NoError(t, conn.Invoke(t.Context(), stayingMethod, &emptypb.Empty{}, &emptypb.Empty{}, grpc.Trailer(&trailer)))
		a := i.send(http.MethodGet, "/v1/staying", "")
		for _, name := range []string{"Deprecation", "Sunset", "Link"} {
			require.Empty(t, trailer.Get(name))
			require.NotContains(t, a.Header, name)
		}
	})
}
