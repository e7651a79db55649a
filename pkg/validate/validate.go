// Package validate checks requests before any handler sees them: strings are
// brought into one form, then the rules in the protos are applied. What is
// checked is what is used: handlers get the normalised message.
package validate

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"buf.build/go/protovalidate"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/dynamicpb"

	"github.com/holdfast-dev/holdfast/pkg/apierror"
	policyv1 "github.com/holdfast-dev/holdfast/proto/holdfast/policy/v1"
)

// UnaryServerInterceptor normalises and validates every request. Broken rules
// answer INVALID_FIELD with all of them, or the first fifty.
//
// The rules of every API that is linked in are compiled here, so that a rule
// which cannot work is this error and not that of some request.
func UnaryServerInterceptor() (grpc.UnaryServerInterceptor, error) {
	validator, err := ready()
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context, req any, _ *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
		if message, ok := req.(proto.Message); ok {
			if err := check(validator, message); err != nil {
				return nil, err
			}
		}
		return handler(ctx, req)
	}, nil
}

// StreamServerInterceptor does the same for every message that a stream
// receives.
func StreamServerInterceptor() (grpc.StreamServerInterceptor, error) {
	validator, err := ready()
	if err != nil {
		return nil, err
	}
	return func(srv any, stream grpc.ServerStream, _ *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
		return handler(srv, checkedStream{stream, validator})
	}, nil
}

// checkedStream checks what it receives.
type checkedStream struct {
	grpc.ServerStream
	validator protovalidate.Validator
}

// RecvMsg receives a message that keeps the rules, or says which it breaks.
func (s checkedStream) RecvMsg(m any) error {
	if err := s.ServerStream.RecvMsg(m); err != nil {
		return err
	}
	if message, ok := m.(proto.Message); ok {
		return check(s.validator, message)
	}
	return nil
}

// shared is the one validator of the process: compiled rules are kept in it.
var shared = sync.OnceValues(func() (protovalidate.Validator, error) { return protovalidate.New() })

// ready returns the validator, which has compiled the rules of every API that is
// linked in.
func ready() (protovalidate.Validator, error) {
	validator, err := shared()
	if err != nil {
		return nil, fmt.Errorf("make the validator: %w", err)
	}
	return validator, compile(validator, requests(protoregistry.GlobalFiles))
}

// requests returns the request types of all methods that have a policy: those
// are the APIs of ours.
func requests(files *protoregistry.Files) []protoreflect.MessageDescriptor {
	var found []protoreflect.MessageDescriptor
	files.RangeFiles(func(file protoreflect.FileDescriptor) bool {
		for i := range file.Services().Len() {
			methods := file.Services().Get(i).Methods()
			for j := range methods.Len() {
				if proto.HasExtension(methods.Get(j).Options(), policyv1.E_Method) {
					found = append(found, methods.Get(j).Input())
				}
			}
		}
		return true
	})
	return found
}

// compile has the validator compile the rules of messages, and names every
// message whose rules it cannot.
func compile(validator protovalidate.Validator, messages []protoreflect.MessageDescriptor) error {
	var problems []error
	for _, message := range messages {
		var broken *protovalidate.CompilationError // told by the first use, and only then
		if err := validator.Validate(dynamicpb.NewMessage(message)); errors.As(err, &broken) {
			problems = append(problems, fmt.Errorf("rules of %s: %w", message.FullName(), err))
		}
	}
	return errors.Join(problems...)
}

// maxViolations keeps an error within the header limits of proxies: gRPC sends
// its details in a trailer.
const maxViolations = 50

func check(validator protovalidate.Validator, message proto.Message) error {
	if violations := normalise(message.ProtoReflect()); len(violations) > 0 {
		return apierror.New(apierror.ReasonInvalidField, "the request has invalid fields", violations[:min(len(violations), maxViolations)]...)
	}
	err := validator.Validate(message)
	if err == nil {
		return nil
	}
	var broken *protovalidate.ValidationError
	if !errors.As(err, &broken) {
		return fmt.Errorf("validate %s: %w", message.ProtoReflect().Descriptor().FullName(), err)
	}
	fields := make([]apierror.Option, 0, len(broken.Violations))
	for _, v := range broken.Violations[:min(len(broken.Violations), maxViolations)] {
		fields = append(fields, apierror.WithField(protovalidate.FieldPathString(v.Proto.GetField()), v.Proto.GetMessage()))
	}
	return apierror.New(apierror.ReasonInvalidField, "the request has invalid fields", fields...)
}
