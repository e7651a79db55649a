package ratelimit

import (
	"context"
	"net"
	"net/netip"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"

	"github.com/holdfast-dev/holdfast/pkg/auth"
	"github.com/holdfast-dev/holdfast/pkg/policy"
	ordersv1 "github.com/holdfast-dev/holdfast/proto/holdfast/orders/v1"
	_ "github.com/holdfast-dev/holdfast/proto/holdfast/payments/v1" // orders call payments, and policies look there
)

// answering is where a call's trailers go, joined as a server does.
type answering struct {
	grpc.ServerTransportStream
	trailer metadata.MD
}

func (a *answering) SetTrailer(md metadata.MD) error {
	a.trailer = metadata.Join(a.trailer, md)
	return nil
}

// BenchmarkGate is what all limits together add to a call that passes them.
func BenchmarkGate(b *testing.B) {
	policies, err := policy.Load(ordersv1.File_holdfast_orders_v1_orders_proto.Services().Get(0))
	require.NoError(b, err)
	l, err := New(Config{
		Keys: 1000, Address: maxRate, AddressBurst: maxRate, FailedAuth: 5, FailedAuthBurst: 20,
		TenantReads: maxRate, TenantReadsBurst: maxRate, TenantWrites: maxRate, TenantWritesBurst: maxRate,
	})
	require.NoError(b, err)
	gate := l.Gate(l.Peer, policies)
	info := &grpc.UnaryServerInfo{FullMethod: ordersv1.OrdersService_GetOrder_FullMethodName}
	authenticate := func(ctx context.Context, request any, _ *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
		return handler(ctx, request)
	}
	credentials := gate.Credentials(authenticate)
	done := func(context.Context, any) (any, error) { return nil, nil }
	tenant := func(ctx context.Context, request any) (any, error) { return gate.Tenant(ctx, request, info, done) }
	known := func(ctx context.Context, request any) (any, error) { return credentials(ctx, request, info, tenant) }

	ctx := peer.NewContext(b.Context(), &peer.Peer{Addr: &net.TCPAddr{IP: net.IPv4(203, 0, 113, 9), Port: 4711}})
	ctx = auth.NewContext(ctx, auth.Principal{Tenant: "acme"})
	stream := &answering{}
	ctx = grpc.NewContextWithServerTransportStream(ctx, stream)
	b.ReportAllocs()
	for b.Loop() {
		stream.trailer = nil
		if _, err := gate.Address(ctx, nil, info, known); err != nil {
			b.Fatal(err)
		}
	}
	require.Len(b, stream.trailer, 2)
}

// BenchmarkTake is one decision: of a key that is known, by many goroutines at
// once, and of a key that pushes another one out.
func BenchmarkTake(b *testing.B) {
	addresses := make([]netip.Addr, 1<<15)
	for i := range addresses {
		addresses[i] = netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)})
	}
	for _, known := range []bool{true, false} {
		b.Run("known="+strconv.FormatBool(known), func(b *testing.B) {
			l := NewLimiter[netip.Addr](Quota{"address", 2000, 4000}, len(addresses)/2)
			keys := addresses
			if known {
				keys = addresses[:1000]
			}
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				for n := 0; pb.Next(); n++ {
					l.Take(keys[n%len(keys)])
				}
			})
		})
	}
}
