package payments

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/stripe/stripe-go/v85"

	"github.com/holdfast-dev/holdfast/pkg/money"
	"github.com/holdfast-dev/holdfast/pkg/resilience/shed"
)

// A cursor of Records is the last object of the page before: first all
// PaymentIntents of the range, then all refunds.
const refundsFromTheFirst = "re_"

// Records implements [Processor]. It returns a page of what Stripe has of ours that was created from since
// until before until, and where the next page begins, "" after the last.
//
// A PaymentIntent that does not carry our payment's id is another system's and
// left out. A capture and a void are part of the intent that they were made on
// and appear with it; Stripe tells the time of a void, of a capture only that of
// its authorization. What was done by hand, in Stripe's dashboard, has no key.
func (s *StripeProcessor) Records(ctx context.Context, since, until time.Time, cursor string) (records []Record, next string, err error) {
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	defer shed.Outside(ctx)()
	created := &stripe.RangeQueryParams{GreaterThanOrEqual: since.Unix(), LesserThan: until.Unix()}
	if strings.HasPrefix(cursor, "re_") {
		return s.refundRecords(ctx, created, cursor)
	}
	return s.intentRecords(ctx, created, cursor)
}

func (s *StripeProcessor) intentRecords(ctx context.Context, created *stripe.RangeQueryParams, cursor string) ([]Record, string, error) {
	params := &stripe.PaymentIntentListParams{CreatedRange: created}
	params.Limit, params.Single = new(int64(pageSize)), true
	if cursor != "" {
		params.StartingAfter = new(cursor)
	}
	page := s.client.V1PaymentIntents.List(ctx, params)
	if err := page.Err(); err != nil {
		return nil, "", fmt.Errorf("list PaymentIntents: %w", describe(err))
	}
	var records []Record
	for _, intent := range page.Data() {
		if intent.Metadata[metaPayment] != "" {
			records = append(records, recordsOf(intent)...)
		}
	}
	if last := len(page.Data()) - 1; last >= 0 && page.Meta().HasMore {
		return records, page.Data()[last].ID, nil
	}
	return records, refundsFromTheFirst, nil
}

func (s *StripeProcessor) refundRecords(ctx context.Context, created *stripe.RangeQueryParams, cursor string) ([]Record, string, error) {
	params := &stripe.RefundListParams{CreatedRange: created}
	params.Limit, params.Single = new(int64(pageSize)), true
	params.AddExpand("data.payment_intent") // a refund made by hand carries nothing of ours, its intent does
	if cursor != refundsFromTheFirst {
		params.StartingAfter = new(cursor)
	}
	page := s.client.V1Refunds.List(ctx, params)
	if err := page.Err(); err != nil {
		return nil, "", fmt.Errorf("list refunds: %w", describe(err))
	}
	var records []Record
	for _, refund := range page.Data() {
		if refund.PaymentIntent == nil || refund.PaymentIntent.Metadata[metaPayment] == "" {
			continue
		}
		r := Record{
			Key: refund.Metadata[metaKey], ProcessorID: refund.PaymentIntent.ID, Payment: refund.PaymentIntent.Metadata[metaPayment],
			Kind: Refund, Amount: fromStripe(refund.Amount, refund.Currency), Time: time.Unix(refund.Created, 0).UTC(),
		}
		r.decide(outcomeOfRefund(r.ProcessorID, refund))
		records = append(records, r)
	}
	if last := len(page.Data()) - 1; last >= 0 && page.Meta().HasMore {
		return records, page.Data()[last].ID, nil
	}
	return records, "", nil
}

// recordsOf reads the operations off a PaymentIntent.
func recordsOf(intent *stripe.PaymentIntent) []Record {
	first := Record{
		Key: intent.Metadata[metaKey], ProcessorID: intent.ID, Payment: intent.Metadata[metaPayment],
		Kind: Charge, Amount: fromStripe(intent.Amount, intent.Currency), Time: time.Unix(intent.Created, 0).UTC(),
	}
	if intent.CaptureMethod == stripe.PaymentIntentCaptureMethodManual {
		first.Kind = Authorize
	}
	first.decide(outcomeOfBeginning(first.Kind, intent))
	if first.Kind == Charge {
		return []Record{first}
	}
	then := first
	switch {
	case intent.Status == stripe.PaymentIntentStatusSucceeded:
		then.Kind, then.Key = Capture, intent.Metadata[metaCaptureKey]
		then.Amount = fromStripe(intent.AmountReceived, intent.Currency)
		return []Record{first, then}
	case intent.Status == stripe.PaymentIntentStatusCanceled && intent.LastPaymentError == nil:
		// It was authorized, or there would be an error, and then released.
		first.Verdict, first.DeclineCode = Done, ""
		then.Kind, then.Key, then.Verdict, then.DeclineCode = Void, "", Done, ""
		then.Time = time.Unix(intent.CanceledAt, 0).UTC()
		return []Record{first, then}
	default:
		return []Record{first}
	}
}

// decide notes what became of the operation; nothing if that is open.
func (r *Record) decide(o Outcome, err error) {
	if err == nil {
		r.Verdict, r.DeclineCode = o.Verdict, o.DeclineCode
	}
}

func fromStripe(amount int64, currency stripe.Currency) money.Amount {
	return money.Amount{Currency: strings.ToUpper(string(currency)), Minor: amount}
}
