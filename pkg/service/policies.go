package service

import (
	"errors"
	"fmt"
	"maps"
	"slices"

	"google.golang.org/grpc"

	"github.com/holdfast-dev/holdfast/pkg/idempotency"
	"github.com/holdfast-dev/holdfast/pkg/policy"
	policyv1 "github.com/holdfast-dev/holdfast/proto/holdfast/policy/v1"
)

// enforcePolicies reads the policy of every method of the APIs. It refuses,
// naming each method, what has none or one that could not work, and a method
// that needs a key where nothing can remember keys.
func enforcePolicies(apis []API, store *idempotency.Store) (*policy.Set, error) {
	registered := grpc.NewServer() // never serves: it is asked what it would serve
	for _, api := range apis {
		api.Register(registered)
	}
	policies, err := policy.LoadRegistered(registered)
	if err != nil {
		return nil, fmt.Errorf("the service refuses to start: %w", err)
	}
	var problems []error
	for _, m := range policies.All() {
		if m.Idempotency == policyv1.Idempotency_IDEMPOTENCY_KEY_REQUIRED && store == nil {
			problems = append(problems, fmt.Errorf("the service refuses to start: %s needs an idempotency key, but the service provides no *idempotency.Store", m.FullName))
		}
	}
	return policies, errors.Join(problems...)
}

// serviceNames lists the gRPC services of the APIs.
func serviceNames(apis []API) []string {
	registered := grpc.NewServer()
	for _, api := range apis {
		api.Register(registered)
	}
	return slices.Sorted(maps.Keys(registered.GetServiceInfo()))
}
