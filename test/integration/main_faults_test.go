//go:build faults

package integration

import (
	"os"

	"go.uber.org/fx"

	"github.com/holdfast-dev/holdfast/pkg/idempotency"
	"github.com/holdfast-dev/holdfast/pkg/service"
)

// keylessVariable switches a service's keys off, to see what they cost.
const keylessVariable = "HOLDFAST_INTEGRATION_WITHOUT_KEYS"

// withoutKeys is what a service without keys is made of.
func withoutKeys() []service.Option {
	if os.Getenv(keylessVariable) == "" {
		return nil
	}
	return []service.Option{service.WithGraph(fx.Decorate(func(s *idempotency.Store) *idempotency.Store {
		return s.Without(idempotency.Keys)
	}))}
}
