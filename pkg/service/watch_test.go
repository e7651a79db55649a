package service

import (
	"errors"
	"io"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/fx"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/known/emptypb"

	policyv1 "github.com/holdfast-dev/holdfast/proto/holdfast/policy/v1"
)

// The platform's own APIs have no stream, and its interceptors must know what to
// do with one: the watch answers once and ends.

const watchMethod = "/watch.v1.WatchService/Watch"

var registerWatch sync.Once // the registry of protos is the process's

// withWatch adds the watch to a service.
func withWatch(t *testing.T) fx.Option {
	t.Helper()
	options := &descriptorpb.MethodOptions{IdempotencyLevel: descriptorpb.MethodOptions_NO_SIDE_EFFECTS.Enum()}
	proto.SetExtension(options, policyv1.E_Method, &policyv1.MethodPolicy{
		Criticality: policyv1.Criticality_CRITICALITY_CRITICAL, Scope: "orders.read",
	})
	file, err := protodesc.NewFile(&descriptorpb.FileDescriptorProto{
		Name: proto.String("watch.proto"), Package: proto.String("watch.v1"), Syntax: proto.String("proto3"),
		Dependency: []string{"google/protobuf/empty.proto"},
		Service: []*descriptorpb.ServiceDescriptorProto{{
			Name: proto.String("WatchService"),
			Method: []*descriptorpb.MethodDescriptorProto{{
				Name: proto.String("Watch"), InputType: proto.String(".google.protobuf.Empty"), OutputType: proto.String(".google.protobuf.Empty"),
				ServerStreaming: proto.Bool(true), Options: options,
			}},
		}},
	}, protoregistry.GlobalFiles)
	registerWatch.Do(func() {
		require.NoError(t, err)
		require.NoError(t, protoregistry.GlobalFiles.RegisterFile(file))
	})
	desc := &grpc.ServiceDesc{
		ServiceName: "watch.v1.WatchService", HandlerType: (*any)(nil),
		Streams: []grpc.StreamDesc{{StreamName: "Watch", ServerStreams: true, Handler: func(_ any, stream grpc.ServerStream) error {
			if err := stream.RecvMsg(&emptypb.Empty{}); err != nil {
				return err
			}
			return stream.SendMsg(&emptypb.Empty{})
		}}},
	}
	return ProvideAPI(func() API {
		return API{Register: func(r grpc.ServiceRegistrar) { r.RegisterService(desc, struct{}{}) }}
	})
}

// watch opens a stream, reads it to its end and returns how it ended.
func watch(t *testing.T, conn *grpc.ClientConn) (metadata.MD, error) {
	t.Helper()
	stream, err := conn.NewStream(t.Context(), &grpc.StreamDesc{ServerStreams: true}, watchMethod)
	require.NoError(t, err)
	if err := stream.SendMsg(&emptypb.Empty{}); err != nil {
		require.ErrorIs(t, err, io.EOF) // it has ended already
	}
	require.NoError(t, stream.CloseSend())
	for {
		switch err := stream.RecvMsg(&emptypb.Empty{}); {
		case errors.Is(err, io.EOF):
			return stream.Trailer(), nil
		case err != nil:
			return stream.Trailer(), err
		}
	}
}
