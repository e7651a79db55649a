package service

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	"github.com/holdfast-dev/holdfast/pkg/apierror"
	"github.com/holdfast-dev/holdfast/pkg/policy"
)

// warm validates an empty request of every method. The rules of a message are
// compiled when the first one is checked, which takes tens of milliseconds: no
// first request should pay that, and rules that do not compile must fail the
// start.
func warm(ctx context.Context, validated grpc.UnaryServerInterceptor, policies *policy.Set) error {
	nothing := func(context.Context, any) (any, error) { return struct{}{}, nil }
	for _, m := range policies.All() {
		name := protoreflect.FullName(strings.ReplaceAll(strings.TrimPrefix(m.FullName, "/"), "/", "."))
		found, err := protoregistry.GlobalFiles.FindDescriptorByName(name)
		if err != nil {
			return fmt.Errorf("looking for the descriptor of %s: %w", m.FullName, err)
		}
		method, ok := found.(protoreflect.MethodDescriptor)
		if !ok {
			return fmt.Errorf("%s is not a method", m.FullName)
		}
		request, err := protoregistry.GlobalTypes.FindMessageByName(method.Input().FullName())
		if err != nil {
			return fmt.Errorf("looking for the request of %s: %w", m.FullName, err)
		}
		_, err = validated(ctx, request.New().Interface(), &grpc.UnaryServerInfo{FullMethod: m.FullName}, nothing)
		var invalid *apierror.Error // most empty requests are
		if err != nil && !errors.As(err, &invalid) {
			return fmt.Errorf("compiling the rules of %s: %w", m.FullName, err)
		}
	}
	return nil
}
