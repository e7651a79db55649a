package payments

import (
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/holdfast-dev/holdfast/pkg/money"
	paymentsv1 "github.com/holdfast-dev/holdfast/proto/holdfast/payments/v1"
)

var stateToProto = map[State]paymentsv1.PaymentState{
	Processing: paymentsv1.PaymentState_PAYMENT_STATE_PROCESSING,
	Authorized: paymentsv1.PaymentState_PAYMENT_STATE_AUTHORIZED,
	Captured:   paymentsv1.PaymentState_PAYMENT_STATE_CAPTURED,
	Declined:   paymentsv1.PaymentState_PAYMENT_STATE_DECLINED,
	Voided:     paymentsv1.PaymentState_PAYMENT_STATE_VOIDED,
	Refunded:   paymentsv1.PaymentState_PAYMENT_STATE_REFUNDED,
	Failed:     paymentsv1.PaymentState_PAYMENT_STATE_FAILED,
}

// stateFromProto is the state to filter by, "" for all.
func stateFromProto(wanted paymentsv1.PaymentState) State {
	for state, sent := range stateToProto {
		if sent == wanted {
			return state
		}
	}
	return ""
}

// pendingToProto leaves out Authorize and Charge: the state PROCESSING says
// that one of them is open.
var pendingToProto = map[Kind]paymentsv1.PendingOperation{
	Capture: paymentsv1.PendingOperation_PENDING_OPERATION_CAPTURE,
	Void:    paymentsv1.PendingOperation_PENDING_OPERATION_VOID,
	Refund:  paymentsv1.PendingOperation_PENDING_OPERATION_REFUND,
}

func toProto(p *Payment) *paymentsv1.Payment {
	in := func(minor int64) money.Amount { return money.Amount{Currency: p.Amount.Currency, Minor: minor} }
	message := &paymentsv1.Payment{
		Id:          p.ID.String(),
		Reference:   p.Reference,
		Amount:      p.Amount.Proto(),
		State:       stateToProto[p.State],
		Captured:    in(p.Captured).Proto(),
		Refunded:    in(p.Refunded).Proto(),
		DeclineCode: p.DeclineCode,
		CreateTime:  timestamppb.New(p.CreateTime),
		UpdateTime:  timestamppb.New(p.UpdateTime),
	}
	if p.Open != nil {
		message.PendingOperation = pendingToProto[p.Open.Kind]
	}
	return message
}

// answer is the response of the method that opens this kind of operation.
func answer(kind Kind, p *Payment) proto.Message {
	switch kind {
	case Authorize:
		return &paymentsv1.AuthorizePaymentResponse{Payment: toProto(p)}
	case Charge:
		return &paymentsv1.ChargePaymentResponse{Payment: toProto(p)}
	case Capture:
		return &paymentsv1.CapturePaymentResponse{Payment: toProto(p)}
	case Void:
		return &paymentsv1.VoidPaymentResponse{Payment: toProto(p)}
	case Refund:
		return &paymentsv1.RefundPaymentResponse{Payment: toProto(p)}
	default:
		panic("payments: no answer for an operation of kind " + string(kind))
	}
}

// accepted says whether an answer leaves the outcome open: HTTP 202 instead of
// 200. Reads are never open.
func accepted(m proto.Message) bool {
	var p *paymentsv1.Payment
	switch m := m.(type) {
	case *paymentsv1.AuthorizePaymentResponse:
		p = m.GetPayment()
	case *paymentsv1.ChargePaymentResponse:
		p = m.GetPayment()
	case *paymentsv1.CapturePaymentResponse:
		p = m.GetPayment()
	case *paymentsv1.VoidPaymentResponse:
		p = m.GetPayment()
	case *paymentsv1.RefundPaymentResponse:
		p = m.GetPayment()
	}
	return p.GetState() == paymentsv1.PaymentState_PAYMENT_STATE_PROCESSING ||
		p.GetPendingOperation() != paymentsv1.PendingOperation_PENDING_OPERATION_UNSPECIFIED
}
