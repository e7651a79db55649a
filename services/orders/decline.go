package orders

import (
	"context"
	_ "embed" // for the flags

	"github.com/holdfast-dev/holdfast/pkg/flags"
	ordersv1 "github.com/holdfast-dev/holdfast/proto/holdfast/orders/v1"
)

//go:embed flags.yaml
var builtInFlags []byte

// declineMessageFlag turns declineMessage on, tenant by tenant.
const declineMessageFlag flags.Flag = "orders-decline-message"

// presenter shows orders to the outside, each tenant's with the features that
// the tenant has.
//
// The answer to a request with a key is shown once and then kept: a replay
// repeats it byte for byte, whatever became of the flag since.
type presenter struct{ features *flags.Flags }

func (p presenter) order(ctx context.Context, o *Order) *ordersv1.Order {
	shown := toProto(o)
	if o.state == PaymentFailed && p.features.On(ctx, declineMessageFlag, o.tenant) {
		shown.DeclineMessage = declineMessage(o.declineCode)
	}
	return shown
}

// declineMessage says what the buyer can do. A reason that the processor gives
// and that is not listed stays between it and the buyer's bank.
func declineMessage(code string) string {
	switch code {
	case "insufficient_funds":
		return "There is not enough money on the card. Nothing was charged: try another one."
	case "expired_card":
		return "The card has expired. Nothing was charged: try another one."
	case codeNeverHappened, codeRefused:
		return "The payment did not go through. Nothing was charged: place the order again."
	default:
		return "The card was declined. Nothing was charged: try another one, or ask the bank that issued it."
	}
}
