package stripetest

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strconv"
)

// Refund is Stripe's object, as far as it is played.
type Refund struct {
	ID            string            `json:"id"`
	Object        string            `json:"object"`
	Amount        int64             `json:"amount"`
	Created       int64             `json:"created"`
	Currency      string            `json:"currency"`
	FailureReason string            `json:"failure_reason,omitempty"`
	Metadata      map[string]string `json:"metadata"`
	PaymentIntent string            `json:"payment_intent"`
	Status        string            `json:"status"`
}

func (s *Server) createRefund(_ string, form url.Values) (int, any) {
	intent := s.find(form.Get("payment_intent"))
	if intent == nil {
		return noSuchIntent("payment_intent", form.Get("payment_intent"))
	}
	amount, err := strconv.ParseInt(form.Get("amount"), 10, 64)
	left := intent.AmountReceived - intent.refunded
	switch {
	case err != nil || amount <= 0:
		return http.StatusBadRequest, invalid("parameter_invalid_integer", "amount", "Invalid positive integer")
	case intent.Status != "succeeded":
		return http.StatusBadRequest, invalid("", "", "This PaymentIntent ("+intent.ID+") does not have a successful charge to refund.")
	case left == 0:
		return http.StatusBadRequest, invalid("charge_already_refunded", "", "The charge has already been refunded.")
	case amount > left:
		return http.StatusBadRequest, invalid("", "amount", "Refund amount is greater than unrefunded amount on charge")
	}
	intent.refunded += amount
	refund := &Refund{
		ID: s.id("re"), Object: "refund", Amount: amount, Currency: intent.Currency, Created: s.created(),
		Metadata: map[string]string{}, PaymentIntent: intent.ID, Status: "succeeded",
	}
	metadata(form, refund.Metadata)
	if s.unfinished {
		refund.Status = "pending"
	}
	s.refunds = append(s.refunds, refund)
	return http.StatusOK, refund
}

// expanded is a refund with the PaymentIntent in place of its name.
type expanded struct {
	*Refund
	PaymentIntent *PaymentIntent `json:"payment_intent"`
}

func (s *Server) listRefunds(_ string, form url.Values) (int, any) {
	var matching []*Refund
	for i := len(s.refunds) - 1; i >= 0; i-- { // newest first
		refund := s.refunds[i]
		if of := form.Get("payment_intent"); (of == "" || of == refund.PaymentIntent) && inRange(form, refund.Created) {
			matching = append(matching, refund)
		}
	}
	data, more := page(s, matching, form, func(r *Refund) string { return r.ID })
	var items []any
	for _, refund := range data {
		if form.Get("expand[0]") == "data.payment_intent" {
			items = append(items, expanded{refund, s.find(refund.PaymentIntent)})
		} else {
			items = append(items, refund)
		}
	}
	return http.StatusOK, list("list", "/v1/refunds", items, more)
}

// Refunds are the refunds there are, oldest first.
func (s *Server) Refunds() []Refund {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make([]Refund, 0, len(s.refunds))
	for _, refund := range s.refunds {
		var copied Refund
		if err := json.Unmarshal(encode(refund), &copied); err != nil {
			panic(err) // what was marshalled can be read
		}
		all = append(all, copied)
	}
	return all
}
