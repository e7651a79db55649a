package orders

import (
	"strconv"
	"strings"

	"google.golang.org/protobuf/types/known/timestamppb"

	ordersv1 "github.com/holdfast-dev/holdfast/proto/holdfast/orders/v1"
)

// toProto is the order as the API shows it. What payments needs of it, such as
// the payment method and the charge key, stays inside.
func toProto(o *Order) *ordersv1.Order {
	shown := &ordersv1.Order{
		Id:           o.id.String(),
		State:        stateToProto[o.state],
		Lines:        make([]*ordersv1.OrderLine, len(o.lines)),
		Total:        o.total.Proto(),
		DeclineCode:  o.declineCode,
		ContactEmail: o.contact.Email,
		ShippingNote: o.contact.ShippingNote,
		Etag:         etagOf(o),
		CreateTime:   timestamppb.New(o.createTime),
		UpdateTime:   timestamppb.New(o.updateTime),
	}
	if o.paymentID != nil {
		shown.PaymentId = o.paymentID.String()
	}
	for i, line := range o.lines {
		shown.Lines[i] = &ordersv1.OrderLine{
			ProductId: line.ProductID,
			Quantity:  line.Quantity,
			UnitPrice: line.UnitPrice.Proto(),
		}
	}
	return shown
}

func productToProto(p Product) *ordersv1.Product {
	return &ordersv1.Product{Id: p.ID, Name: p.Name, Price: p.Price.Proto()}
}

var stateToProto = map[State]ordersv1.OrderState{
	PendingPayment: ordersv1.OrderState_ORDER_STATE_PENDING_PAYMENT,
	Paid:           ordersv1.OrderState_ORDER_STATE_PAID,
	PaymentFailed:  ordersv1.OrderState_ORDER_STATE_PAYMENT_FAILED,
	Cancelling:     ordersv1.OrderState_ORDER_STATE_CANCELLING,
	Cancelled:      ordersv1.OrderState_ORDER_STATE_CANCELLED,
}

// stateFromProto is the inverse of stateToProto; unspecified is "", any state.
func stateFromProto(wanted ordersv1.OrderState) State {
	for state, shown := range stateToProto {
		if shown == wanted {
			return state
		}
	}
	return ""
}

// etagOf tells versions of one order apart. Clients only compare and return it.
func etagOf(o *Order) string { return "v" + strconv.FormatInt(o.version, 10) }

// versionOf returns the version that an etag stands for. An etag that this
// service never made stands for none: it matches nothing, like any other stale
// one. The quotes of an HTTP ETag are not part of it.
func versionOf(etag string) int64 {
	etag = strings.TrimSuffix(strings.TrimPrefix(etag, `"`), `"`)
	digits, ours := strings.CutPrefix(etag, "v")
	version, err := strconv.ParseInt(digits, 10, 64)
	if !ours || err != nil || version < 1 || digits != strconv.FormatInt(version, 10) {
		return -1
	}
	return version
}
