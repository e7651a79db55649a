package orders

import (
	"context"
	"sync"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// Why an order was explained without a model, as the metric says it.
const (
	reasonNone     = "none"     // a model explained it
	reasonAbsent   = "absent"   // there is no gateway
	reasonFailed   = "failed"   // the gateway could not, or not be reached
	reasonSlow     = "slow"     // it took longer than we wait
	reasonRefused  = "refused"  // an open breaker, too many calls in flight, or a gateway under overload
	reasonBudget   = "budget"   // the tenant has nothing left to spend
	reasonUnusable = "unusable" // an answer that is cut, declined, empty or too long
	reasonLeft     = "left"     // the caller did not wait
)

// explanations is made when it is first used, after telemetry has set the meter
// provider. It cannot fail with this name.
var explanations = sync.OnceValue(func() metric.Int64Counter {
	c, _ := otel.Meter("github.com/holdfast-dev/holdfast/services/orders").Int64Counter("holdfast_order_explanations",
		metric.WithDescription("Explanations of orders by why no model wrote them: none, if one did."))
	return c
})

func countExplanation(ctx context.Context, degraded string) {
	explanations().Add(ctx, 1, metric.WithAttributes(attribute.String("degraded", degraded)))
}

// isTimeout reports whether time ended a call, ours or the gateway's.
func isTimeout(err error) bool { return status.Code(err) == codes.DeadlineExceeded }
