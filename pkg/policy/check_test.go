package policy_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	healthgrpc "google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/reflection"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/holdfast-dev/holdfast/pkg/policy"
	ordersv1 "github.com/holdfast-dev/holdfast/proto/holdfast/orders/v1"
	paymentsv1 "github.com/holdfast-dev/holdfast/proto/holdfast/payments/v1"
	policyv1 "github.com/holdfast-dev/holdfast/proto/holdfast/policy/v1"
)

// rpc describes a method as its proto would.
type rpc struct {
	name         string
	policy       *policyv1.MethodPolicy
	read, stream bool
	deprecated   bool // for generators
}

// write is the policy of a write that works, changed by change.
func write(change func(*policyv1.MethodPolicy)) *policyv1.MethodPolicy {
	p := &policyv1.MethodPolicy{
		Idempotency: policyv1.Idempotency_IDEMPOTENCY_KEY_REQUIRED,
		Timeout:     durationpb.New(4 * time.Second),
		Criticality: policyv1.Criticality_CRITICALITY_CRITICAL,
		Scope:       "test.write",
	}
	change(p)
	return p
}

func service(t *testing.T, rpcs ...rpc) protoreflect.ServiceDescriptor {
	t.Helper()
	described := &descriptorpb.ServiceDescriptorProto{Name: proto.String("Service")}
	for _, r := range rpcs {
		options := &descriptorpb.MethodOptions{}
		if r.policy != nil {
			proto.SetExtension(options, policyv1.E_Method, r.policy)
		}
		if r.read {
			options.IdempotencyLevel = descriptorpb.MethodOptions_NO_SIDE_EFFECTS.Enum()
		}
		if r.deprecated {
			options.Deprecated = proto.Bool(true)
		}
		described.Method = append(described.Method, &descriptorpb.MethodDescriptorProto{
			Name: proto.String(r.name), InputType: proto.String(".test.v1.Message"), OutputType: proto.String(".test.v1.Message"),
			ServerStreaming: proto.Bool(r.stream), Options: options,
		})
	}
	file, err := protodesc.NewFile(&descriptorpb.FileDescriptorProto{
		Name: proto.String("test/v1/test.proto"), Package: proto.String("test.v1"), Syntax: proto.String("proto3"),
		MessageType: []*descriptorpb.DescriptorProto{{Name: proto.String("Message")}},
		Service:     []*descriptorpb.ServiceDescriptorProto{described},
	}, protoregistry.GlobalFiles)
	require.NoError(t, err)
	return file.Services().Get(0)
}

const (
	charge = "holdfast.payments.v1.PaymentsService.ChargePayment" // 4 s
)

// problems are the policies that cannot work, and what is said of each.
var problems = map[string]struct {
	rpc  rpc
	says string
}{
	"none":                       {rpc{}, "has no policy"},
	"write that is not harmless": {rpc{policy: write(func(p *policyv1.MethodPolicy) { p.Idempotency = 0 })}, "how a repeat is made harmless"},
	"read with a key":            {rpc{policy: write(func(*policyv1.MethodPolicy) {}), read: true}, "needs no idempotency"},
	"stream with a key":          {rpc{policy: write(func(p *policyv1.MethodPolicy) { p.Timeout = nil }), stream: true}, "no single answer to replay"},
	"idempotency of no name":     {rpc{policy: write(func(p *policyv1.MethodPolicy) { p.Idempotency = 99 })}, "idempotency 99"},
	"stream with a timeout": {rpc{policy: write(func(p *policyv1.MethodPolicy) {
		p.Idempotency = policyv1.Idempotency_IDEMPOTENCY_NATURAL
	}), stream: true}, "a stream has no timeout"},
	"unary without a timeout":  {rpc{policy: write(func(p *policyv1.MethodPolicy) { p.Timeout = nil })}, "positive timeout"},
	"no time at all":           {rpc{policy: write(func(p *policyv1.MethodPolicy) { p.Timeout = durationpb.New(0) })}, "positive timeout"},
	"time in the past":         {rpc{policy: write(func(p *policyv1.MethodPolicy) { p.Timeout = durationpb.New(-time.Second) })}, "positive timeout"},
	"time that is none":        {rpc{policy: write(func(p *policyv1.MethodPolicy) { p.Timeout = &durationpb.Duration{Seconds: 1, Nanos: -1} })}, "positive timeout"},
	"no criticality":           {rpc{policy: write(func(p *policyv1.MethodPolicy) { p.Criticality = 0 })}, "criticality"},
	"criticality of no name":   {rpc{policy: write(func(p *policyv1.MethodPolicy) { p.Criticality = 99 })}, "criticality"},
	"no scope":                 {rpc{policy: write(func(p *policyv1.MethodPolicy) { p.Scope = "" })}, "scope is missing"},
	"blank scope":              {rpc{policy: write(func(p *policyv1.MethodPolicy) { p.Scope = " " })}, "scope is missing"},
	"calls what is not there":  {rpc{policy: write(func(p *policyv1.MethodPolicy) { p.Calls = []string{"no.such.Service.Method"} })}, "no.such.Service.Method, which is not linked in"},
	"calls a message":          {rpc{policy: write(func(p *policyv1.MethodPolicy) { p.Calls = []string{"holdfast.payments.v1.Payment"} })}, "not linked in"},
	"calls what has no policy": {rpc{policy: write(func(p *policyv1.MethodPolicy) { p.Calls = []string{"grpc.health.v1.Health.Check"} })}, "which has no policy"},
	"ends with what it calls":  {rpc{policy: write(func(p *policyv1.MethodPolicy) { p.Calls = []string{charge} })}, "leaves no time after that of " + charge},
}

func TestAPolicyThatCannotWorkIsRefused(t *testing.T) {
	for name, row := range problems {
		t.Run(name, func(t *testing.T) {
			row.rpc.name = "Do"
			_, err := policy.Load(service(t, row.rpc))
			require.ErrorContains(t, err, row.says)
			require.ErrorContains(t, err, "/test.v1.Service/Do")
		})
	}
}

// The control: what the rows above spoil works unspoilt.
func TestAPolicyThatWorksIsRead(t *testing.T) {
	set, err := policy.Load(service(t,
		rpc{name: "Write", policy: write(func(p *policyv1.MethodPolicy) {
			p.Timeout = durationpb.New(4*time.Second + 1)
			p.Calls = []string{charge}
		})},
		rpc{name: "Read", read: true, policy: write(func(p *policyv1.MethodPolicy) { p.Idempotency = 0 })},
		rpc{name: "Ask", stream: true, policy: write(func(p *policyv1.MethodPolicy) {
			p.Idempotency, p.Timeout = policyv1.Idempotency_IDEMPOTENCY_KEY_OPTIONAL, nil
		})},
		rpc{name: "Stream", read: true, stream: true, policy: write(func(p *policyv1.MethodPolicy) { p.Idempotency, p.Timeout = 0, nil })},
	))
	require.NoError(t, err)
	require.Equal(t, []policy.Method{
		{
			FullName: "/test.v1.Service/Ask", Idempotency: policyv1.Idempotency_IDEMPOTENCY_KEY_OPTIONAL, Streaming: true,
			Criticality: policyv1.Criticality_CRITICALITY_CRITICAL, Scope: "test.write",
		},
		{FullName: "/test.v1.Service/Read", ReadOnly: true, Timeout: 4 * time.Second, Criticality: policyv1.Criticality_CRITICALITY_CRITICAL, Scope: "test.write"},
		{FullName: "/test.v1.Service/Stream", ReadOnly: true, Streaming: true, Criticality: policyv1.Criticality_CRITICALITY_CRITICAL, Scope: "test.write"},
		{
			FullName: "/test.v1.Service/Write", Idempotency: policyv1.Idempotency_IDEMPOTENCY_KEY_REQUIRED, Timeout: 4*time.Second + 1,
			Criticality: policyv1.Criticality_CRITICALITY_CRITICAL, Scope: "test.write", Calls: []string{charge},
		},
	}, set.All())
	m, ok := set.Lookup("/test.v1.Service/Write")
	require.True(t, ok)
	require.True(t, m.NeedsKey())
	m, _ = set.Lookup("/test.v1.Service/Ask")
	require.False(t, m.NeedsKey(), "it may have one, and its handler sees to it")
	_, ok = set.Lookup("/test.v1.Service/Other")
	require.False(t, ok)
}

// Streams of ours have a policy but no timeout, so that nothing says when a
// method which waits for one ends.
func TestAUnaryMethodThatWaitsForAStreamIsRefused(t *testing.T) {
	stream := service(t, rpc{name: "Watch", read: true, stream: true, policy: write(func(p *policyv1.MethodPolicy) { p.Idempotency, p.Timeout = 0, nil })})
	_, err := policy.Load(stream)
	require.NoError(t, err)
	// What a policy calls is looked up among what is linked in; -count runs this
	// in one process again.
	if _, err := protoregistry.GlobalFiles.FindFileByPath(stream.ParentFile().Path()); err != nil {
		require.NoError(t, protoregistry.GlobalFiles.RegisterFile(stream.ParentFile()))
	}
	_, err = policy.Load(service(t, rpc{name: "Do", policy: write(func(p *policyv1.MethodPolicy) { p.Calls = []string{"test.v1.Service.Watch"} })}))
	require.ErrorContains(t, err, "/test.v1.Service/Do: it calls test.v1.Service.Watch, which is a stream")
}

func TestEveryProblemOfEveryMethodIsNamedAtOnce(t *testing.T) {
	_, err := policy.Load(service(t,
		rpc{name: "One", policy: &policyv1.MethodPolicy{}},
		rpc{name: "Two"},
		rpc{name: "Three", policy: write(func(p *policyv1.MethodPolicy) { p.Scope = "" })},
	))
	for _, says := range []string{
		"/test.v1.Service/One: a write must say",
		"/test.v1.Service/One: a unary method needs a positive timeout",
		"/test.v1.Service/One: criticality",
		"/test.v1.Service/One: scope is missing",
		"/test.v1.Service/Two has no policy",
		"/test.v1.Service/Three: scope is missing",
	} {
		require.ErrorContains(t, err, says)
	}
}

func TestPoliciesOfWhatIsRegistered(t *testing.T) {
	server := grpc.NewServer()
	ordersv1.RegisterOrdersServiceServer(server, ordersv1.UnimplementedOrdersServiceServer{})
	paymentsv1.RegisterPaymentsServiceServer(server, paymentsv1.UnimplementedPaymentsServiceServer{})
	healthpb.RegisterHealthServer(server, healthgrpc.NewServer())
	reflection.Register(server)
	set, err := policy.LoadRegistered(server)
	require.NoError(t, err)
	m, ok := set.Lookup(ordersv1.OrdersService_CreateOrder_FullMethodName)
	require.True(t, ok)
	require.Equal(t, 5*time.Second, m.Timeout)
	require.Equal(t, []string{charge}, m.Calls)
	_, ok = set.Lookup("/" + "grpc.health.v1.Health/Check")
	require.False(t, ok)
}

func TestAServiceOfNobodyKnowsWhatIsRefused(t *testing.T) {
	server := grpc.NewServer()
	server.RegisterService(&grpc.ServiceDesc{ServiceName: "test.v1.Stranger", HandlerType: (*any)(nil)}, struct{}{})
	_, err := policy.LoadRegistered(server)
	require.ErrorContains(t, err, "test.v1.Stranger")
	_, err = policy.LoadRegistered(server, "test.v1.Stranger")
	require.NoError(t, err, "unless it is exempt")
}
