// Package policy reads what each RPC needs from the option beside it in its
// proto ([policyv1.MethodPolicy]), and enforces what can be enforced without
// knowing the service: that every method has a policy that can work, and its
// deadline, and that answers of a method that will go say so. Authentication, idempotency and the gateway read the same [Set].
package policy

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"

	policyv1 "github.com/holdfast-dev/holdfast/proto/holdfast/policy/v1"
)

// Method is the policy of one RPC.
type Method struct {
	// FullName is how gRPC names it: "/holdfast.orders.v1.OrdersService/CreateOrder".
	FullName string
	// Idempotency says how a repeat is made harmless; unspecified for reads.
	Idempotency policyv1.Idempotency
	// ReadOnly methods have no side effects.
	ReadOnly bool
	// Streaming methods have no timeout.
	Streaming bool
	// Timeout is the longest a server works on one call.
	Timeout time.Duration
	// Criticality orders what is shed first.
	Criticality policyv1.Criticality
	// Scope is what a credential must hold.
	Scope string
	// Calls names the RPCs that this one calls before it answers.
	Calls []string
	// Deprecation is set if the method will go.
	Deprecation *Deprecation
}

// NeedsKey says whether a request must carry an idempotency key.
func (m Method) NeedsKey() bool {
	return m.Idempotency == policyv1.Idempotency_IDEMPOTENCY_KEY_REQUIRED
}

// Set holds the policies of all methods of a server. It does not change.
type Set struct {
	methods map[string]*Method
	all     []Method
}

// Load reads the policies of the services' methods. Its error joins every
// problem there is, each naming its method.
func Load(services ...protoreflect.ServiceDescriptor) (*Set, error) {
	set := &Set{methods: map[string]*Method{}}
	var problems []error
	for _, service := range services {
		for i := range service.Methods().Len() {
			method, err := read(service.Methods().Get(i))
			if err != nil {
				problems = append(problems, err)
				continue
			}
			set.all = append(set.all, method)
		}
	}
	if err := errors.Join(problems...); err != nil {
		return nil, err
	}
	slices.SortFunc(set.all, func(a, b Method) int { return strings.Compare(a.FullName, b.FullName) })
	for i := range set.all {
		set.methods[set.all[i].FullName] = &set.all[i]
	}
	return set, nil
}

// transport has the services that every server has and that need no policy of
// ours: nothing they do has an effect, and the edge treats them on its own.
var transport = []string{
	"grpc.health.v1.Health",
	"grpc.reflection.v1.ServerReflection",
	"grpc.reflection.v1alpha.ServerReflection",
}

// LoadRegistered reads the policies of what is registered on a server, apart
// from health, reflection and the services named as exempt.
func LoadRegistered(server interface {
	GetServiceInfo() map[string]grpc.ServiceInfo
}, exempt ...string,
) (*Set, error) {
	var (
		services []protoreflect.ServiceDescriptor
		problems []error
	)
	for name := range server.GetServiceInfo() {
		if slices.Contains(transport, name) || slices.Contains(exempt, name) {
			continue
		}
		found, err := protoregistry.GlobalFiles.FindDescriptorByName(protoreflect.FullName(name))
		service, ok := found.(protoreflect.ServiceDescriptor)
		if err != nil || !ok {
			problems = append(problems, fmt.Errorf("service %s is registered, but its descriptor is not linked in", name))
			continue
		}
		services = append(services, service)
	}
	if err := errors.Join(problems...); err != nil {
		return nil, err
	}
	return Load(services...)
}

// Lookup returns the policy of a method by its full gRPC name.
func (s *Set) Lookup(fullMethod string) (Method, bool) {
	m, ok := s.methods[fullMethod]
	if !ok {
		return Method{}, false
	}
	return *m, true
}

// All returns every method, by name.
func (s *Set) All() []Method { return slices.Clone(s.all) }

func optionOf(m protoreflect.MethodDescriptor) (*policyv1.MethodPolicy, descriptorpb.MethodOptions_IdempotencyLevel) {
	options, ok := m.Options().(*descriptorpb.MethodOptions)
	if !ok || options == nil {
		return nil, descriptorpb.MethodOptions_IDEMPOTENCY_UNKNOWN
	}
	if !proto.HasExtension(options, policyv1.E_Method) {
		return nil, options.GetIdempotencyLevel()
	}
	option, _ := proto.GetExtension(options, policyv1.E_Method).(*policyv1.MethodPolicy)
	return option, options.GetIdempotencyLevel()
}

type contextKey struct{}

// NewContext returns a context that carries the policy of the method that is
// being served.
func NewContext(ctx context.Context, m Method) context.Context {
	return context.WithValue(ctx, contextKey{}, &m)
}

// FromContext returns the policy of the method that is being served.
func FromContext(ctx context.Context) (Method, bool) {
	m, ok := ctx.Value(contextKey{}).(*Method)
	if !ok {
		return Method{}, false
	}
	return *m, true
}
