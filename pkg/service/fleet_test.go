package service

import (
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/resolver"
	"google.golang.org/grpc/resolver/manual"

	"github.com/holdfast-dev/holdfast/pkg/auth"
	"github.com/holdfast-dev/holdfast/pkg/resilience"
	ordersv1 "github.com/holdfast-dev/holdfast/proto/holdfast/orders/v1"
)

// fleet is a number of replicas, and the name by which they are found. As with
// the DNS of a headless service, a client that has connected looks a name up again
// when it loses a connection, and not before.
type fleet struct {
	t       *testing.T
	options []Option
	names   *manual.Resolver
	lookups sync.WaitGroup
	lookup  sync.Mutex // of two at once, the one that saw less must not come last

	mu     sync.Mutex
	listed []*replica
}

type replica struct {
	*instance
	shop *shop
}

// newFleet starts so many replicas.
func newFleet(t *testing.T, replicas int, options ...Option) *fleet {
	t.Helper()
	f := &fleet{t: t, options: options, names: manual.NewBuilderWithScheme("fleet")}
	f.names.ResolveNowCallback = func(resolver.ResolveNowOptions) { f.lookups.Go(f.lookUp) }
	for range replicas {
		f.add()
	}
	f.lookUp()
	return f
}

// add starts a replica and lists it once it is ready.
func (f *fleet) add() *replica {
	f.t.Helper()
	r := &replica{shop: &shop{}}
	// These tests call as fast as they can.
	r.instance = launchWith(f.t, definition(r.shop), f.options, "HOLDFAST_RATE_ADDRESS", "0", "HOLDFAST_RATE_TENANT_READS", "0")
	f.mu.Lock()
	defer f.mu.Unlock()
	f.listed = append(f.listed, r)
	return r
}

// replace starts a replica, and then stops another, which is not listed any more
// as soon as it begins to leave. It returns the new one, and how the other ended.
func (f *fleet) replace(old *replica) (*replica, error) {
	f.t.Helper()
	r := f.add()
	f.mu.Lock()
	for i, listed := range f.listed {
		if listed == old {
			f.listed = append(f.listed[:i:i], f.listed[i+1:]...)
			break
		}
	}
	f.mu.Unlock()
	return r, old.drain()
}

// replicas are those that are listed.
func (f *fleet) replicas() []*replica {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]*replica(nil), f.listed...)
}

func (f *fleet) lookUp() {
	f.lookup.Lock()
	defer f.lookup.Unlock()
	var state resolver.State
	for _, r := range f.replicas() {
		state.Addresses = append(state.Addresses, resolver.Address{Addr: r.GRPC})
	}
	f.names.UpdateState(state)
}

// dial connects to the replicas as services connect to each other. The resolver
// serves one connection.
func (f *fleet) dial(dependency *resilience.Dependency, opts ...grpc.DialOption) *grpc.ClientConn {
	f.t.Helper()
	conn, err := Dial("fleet:///shop", dependency, auth.DevelopmentKey, append(opts, grpc.WithResolvers(f.names))...)
	require.NoError(f.t, err)
	f.t.Cleanup(func() {
		conn.Close()
		f.lookups.Wait() // nobody asks any more
	})
	return conn
}

// ask asks for an order, n times, and returns how many of them failed.
func ask(t *testing.T, client ordersv1.OrdersServiceClient, n int) (failed int) {
	t.Helper()
	for range n {
		if _, err := client.GetOrder(t.Context(), &ordersv1.GetOrderRequest{Id: orderFine}); err != nil {
			failed++
		}
	}
	return failed
}
