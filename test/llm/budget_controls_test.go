//go:build faults

package llm

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/fx"

	"github.com/holdfast-dev/holdfast/pkg/service"
	"github.com/holdfast-dev/holdfast/pkg/service/servicetest"
	llmgateway "github.com/holdfast-dev/holdfast/services/llm-gateway"
	"github.com/holdfast-dev/holdfast/services/llm-gateway/ledger"
)

// without starts another replica, whose ledger lacks a safeguard.
func (p *platform) without(g ledger.Safeguard, env ...string) *servicetest.Running {
	p.t.Helper()
	lacking := service.WithGraph(fx.Decorate(func(l *ledger.Ledger) *ledger.Ledger { return l.Without(g) }))
	all := append(append(slices.Clone(p.env), "HOLDFAST_DATABASE_URL", p.gateway.Database.URL), env...)
	return servicetest.StartWith(p.t, llmgateway.Definition, []service.Option{lacking}, all...)
}

// TestControlWithoutTheReservationABudgetIsOvershot: the same clients at replicas
// that ask whether there is room, and do not hold on to the answer.
func TestControlWithoutTheReservationABudgetIsOvershot(t *testing.T) {
	t.Parallel()
	p := start(t, thrifty(pocket))
	shedless := []string{"HOLDFAST_SHED_ENABLED", "false"}
	saw := p.spend(pocketNanos, p.without(ledger.Reservation, shedless...), p.without(ledger.Reservation, shedless...))
	require.Positive(t, saw.over, "the control does not break the promise, or the observer does not look")
	t.Logf("the budget was overshot by up to %d nano-dollars", saw.by)
}
