package policy

import (
	"errors"
	"fmt"
	"strings"

	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"

	policyv1 "github.com/holdfast-dev/holdfast/proto/holdfast/policy/v1"
)

// read returns a method's policy, or everything that is wrong with it.
func read(m protoreflect.MethodDescriptor) (Method, error) {
	option, level := optionOf(m)
	method := Method{
		FullName:    fullName(m),
		Idempotency: option.GetIdempotency(),
		ReadOnly:    level == descriptorpb.MethodOptions_NO_SIDE_EFFECTS,
		Streaming:   m.IsStreamingClient() || m.IsStreamingServer(),
		Timeout:     option.GetTimeout().AsDuration(),
		Criticality: option.GetCriticality(),
		Scope:       option.GetScope(),
		Calls:       option.GetCalls(),
	}
	if option == nil {
		return method, fmt.Errorf("%s has no policy: add option (holdfast.policy.v1.method)", method.FullName)
	}
	var problems []error
	wrong := func(format string, args ...any) {
		problems = append(problems, fmt.Errorf("%s: "+format, append([]any{method.FullName}, args...)...))
	}
	repeatable := method.Idempotency != policyv1.Idempotency_IDEMPOTENCY_UNSPECIFIED
	switch {
	case method.ReadOnly && repeatable:
		wrong("a read (NO_SIDE_EFFECTS) needs no idempotency, but its policy says %s", method.Idempotency)
	case !method.ReadOnly && !repeatable:
		wrong("a write must say how a repeat is made harmless: IDEMPOTENCY_KEY_REQUIRED, IDEMPOTENCY_KEY_OPTIONAL or IDEMPOTENCY_NATURAL, or idempotency_level = NO_SIDE_EFFECTS if it is a read")
	case method.NeedsKey() && method.Streaming:
		wrong("a stream cannot require an idempotency key: there is no single answer to replay")
	}
	switch {
	case method.Streaming && option.GetTimeout() != nil:
		wrong("a stream has no timeout: it ends with its deadline, or with a drain")
	case !method.Streaming && (!option.GetTimeout().IsValid() || method.Timeout <= 0):
		wrong("a unary method needs a positive timeout")
	}
	if method.Criticality == policyv1.Criticality_CRITICALITY_UNSPECIFIED || !defined(method.Criticality) {
		wrong("criticality is not specified")
	}
	if !defined(method.Idempotency) {
		wrong("idempotency %d is not known to this release", method.Idempotency)
	}
	if strings.TrimSpace(method.Scope) == "" {
		wrong("scope is missing: no method is open by omission")
	}
	var err error
	if method.Deprecation, err = readDeprecation(option.GetDeprecation(), marked(m)); err != nil {
		wrong("%w", err)
	}
	for _, call := range method.Calls {
		if err := checkCall(method, call); err != nil {
			wrong("%w", err)
		}
	}
	return method, errors.Join(problems...)
}

// defined reports whether an enum's number has a name: proto3 keeps the others.
func defined(e protoreflect.Enum) bool {
	return e.Descriptor().Values().ByNumber(e.Number()) != nil
}

// checkCall demands that what a method waits for gives up before the method
// does: there must be time left to record and to answer.
func checkCall(caller Method, call string) error {
	found, err := protoregistry.GlobalFiles.FindDescriptorByName(protoreflect.FullName(call))
	callee, ok := found.(protoreflect.MethodDescriptor)
	if err != nil || !ok {
		return fmt.Errorf("it calls %s, which is not linked in", call)
	}
	option, _ := optionOf(callee)
	if option == nil {
		return fmt.Errorf("it calls %s, which has no policy", call)
	}
	if callee.IsStreamingClient() || callee.IsStreamingServer() {
		return fmt.Errorf("it calls %s, which is a stream: nothing bounds the wait for it", call)
	}
	if timeout := option.GetTimeout().AsDuration(); !caller.Streaming && timeout >= caller.Timeout {
		return fmt.Errorf("its timeout of %s leaves no time after that of %s (%s)", caller.Timeout, call, timeout)
	}
	return nil
}

// fullName is a method's name as gRPC writes it.
func fullName(m protoreflect.MethodDescriptor) string {
	name := string(m.FullName())
	dot := strings.LastIndexByte(name, '.')
	return "/" + name[:dot] + "/" + name[dot+1:]
}
