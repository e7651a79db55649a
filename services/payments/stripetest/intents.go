package stripetest

import (
	"net/http"
	"net/url"
	"slices"
	"strconv"
)

// PaymentIntent is Stripe's object, as far as it is played.
type PaymentIntent struct {
	ID                 string            `json:"id"`
	Object             string            `json:"object"`
	Amount             int64             `json:"amount"`
	AmountCapturable   int64             `json:"amount_capturable"`
	AmountReceived     int64             `json:"amount_received"`
	CanceledAt         int64             `json:"canceled_at,omitempty"`
	CancellationReason string            `json:"cancellation_reason,omitempty"`
	CaptureMethod      string            `json:"capture_method"`
	ClientSecret       string            `json:"client_secret"`
	Created            int64             `json:"created"`
	Currency           string            `json:"currency"`
	Description        string            `json:"description,omitempty"`
	LastPaymentError   *errorBody        `json:"last_payment_error"`
	Metadata           map[string]string `json:"metadata"`
	PaymentMethod      string            `json:"payment_method"`
	Status             string            `json:"status"`

	refunded int64
	indexed  *PaymentIntent // as search has it; nil if it does not
}

// cards are the payment methods that the server knows, and how their issuer
// declines; their names are those of Stripe's test cards.
var cards = map[string]*errorBody{
	"pm_card_visa":                             nil,
	"pm_card_chargeDeclined":                   {Code: "card_declined", DeclineCode: "generic_decline"},
	"pm_card_chargeDeclinedInsufficientFunds":  {Code: "card_declined", DeclineCode: "insufficient_funds"},
	"pm_card_chargeDeclinedStolenCard":         {Code: "card_declined", DeclineCode: "stolen_card"},
	"pm_card_chargeDeclinedExpiredCard":        {Code: "expired_card"},
	"pm_card_authenticationRequired":           {Code: "authentication_required", DeclineCode: "authentication_required"},
	"pm_card_chargeDeclinedFraudulent":         {Code: "card_declined", DeclineCode: "fraudulent"},
	"pm_card_chargeDeclinedProcessingErrorNow": {Code: "processing_error"},
}

func (s *Server) createIntent(_ string, form url.Values) (int, any) {
	amount, err := strconv.ParseInt(form.Get("amount"), 10, 64)
	switch {
	case err != nil || amount <= 0:
		return http.StatusBadRequest, invalid("parameter_invalid_integer", "amount", "Invalid positive integer")
	case form.Get("currency") == "kwd" && amount%10 != 0:
		return http.StatusBadRequest, invalid("", "amount", "Amounts with three decimals must end in zero")
	case amount < 50 && form.Get("currency") != "jpy":
		return http.StatusBadRequest, invalid("amount_too_small", "amount", "Amount must be at least 50 cents")
	case form.Get("confirm") != "true" || form.Get("off_session") != "true" || form.Get("error_on_requires_action") != "true":
		return http.StatusBadRequest, invalid("parameter_missing", "confirm", "This server plays confirmed, off-session payments only")
	case form.Get("automatic_payment_methods[enabled]") != "true" || form.Get("automatic_payment_methods[allow_redirects]") != "never":
		return http.StatusBadRequest, invalid("parameter_missing", "return_url", "A return_url is required for methods that redirect")
	}
	decline, known := cards[form.Get("payment_method")]
	if !known {
		return http.StatusBadRequest, invalid("resource_missing", "payment_method", "No such PaymentMethod: '"+form.Get("payment_method")+"'")
	}
	intent := &PaymentIntent{
		ID: s.id("pi"), Object: "payment_intent", Amount: amount, Currency: form.Get("currency"), Created: s.created(),
		CaptureMethod: form.Get("capture_method"), Description: form.Get("description"), PaymentMethod: form.Get("payment_method"),
		Metadata: map[string]string{}, Status: "succeeded", AmountReceived: amount,
	}
	intent.ClientSecret = intent.ID + "_secret_stripetest"
	metadata(form, intent.Metadata)
	s.intents = append(s.intents, intent)
	defer func() {
		if !s.unindexed {
			intent.index()
		}
	}()
	switch {
	case decline != nil:
		e := *decline
		e.Type, e.Message = "card_error", "Your card was declined."
		intent.Status, intent.AmountReceived, intent.LastPaymentError = "requires_payment_method", 0, &e
		answered := e
		answered.PaymentIntent = intent
		return http.StatusPaymentRequired, failure{answered}
	case intent.CaptureMethod == "manual":
		intent.Status, intent.AmountReceived, intent.AmountCapturable = "requires_capture", 0, amount
	case s.unfinished:
		intent.Status, intent.AmountReceived = "processing", 0
	}
	return http.StatusOK, intent
}

func (s *Server) captureIntent(id string, form url.Values) (int, any) {
	intent := s.find(id)
	if intent == nil {
		return noSuchIntent("intent", id)
	}
	if intent.Status != "requires_capture" {
		return unexpectedState(intent, "captured")
	}
	amount := intent.AmountCapturable
	if text := form.Get("amount_to_capture"); text != "" {
		var err error
		if amount, err = strconv.ParseInt(text, 10, 64); err != nil || amount <= 0 {
			return http.StatusBadRequest, invalid("parameter_invalid_integer", "amount_to_capture", "Invalid positive integer")
		}
	}
	if amount > intent.AmountCapturable {
		return http.StatusBadRequest, invalid("amount_too_large", "amount_to_capture", "The amount exceeds what can be captured")
	}
	intent.Status, intent.AmountReceived, intent.AmountCapturable = "succeeded", amount, 0
	metadata(form, intent.Metadata)
	return http.StatusOK, intent
}

func (s *Server) cancelIntent(id string, form url.Values) (int, any) {
	intent := s.find(id)
	if intent == nil {
		return noSuchIntent("intent", id)
	}
	for name := range form {
		if name != "cancellation_reason" {
			return http.StatusBadRequest, invalid("parameter_unknown", name, "Received unknown parameter: "+name)
		}
	}
	if intent.Status == "succeeded" || intent.Status == "canceled" {
		return unexpectedState(intent, "canceled")
	}
	intent.Status, intent.AmountCapturable, intent.CanceledAt = "canceled", 0, s.created()
	return http.StatusOK, intent
}

func (s *Server) getIntent(id string, _ url.Values) (int, any) {
	if intent := s.find(id); intent != nil {
		return http.StatusOK, intent
	}
	return noSuchIntent("intent", id)
}

func (s *Server) find(id string) *PaymentIntent {
	for _, intent := range s.intents {
		if intent.ID == id {
			return intent
		}
	}
	return nil
}

func noSuchIntent(param, id string) (int, any) {
	return http.StatusNotFound, invalid("resource_missing", param, "No such payment_intent: '"+id+"'")
}

func unexpectedState(intent *PaymentIntent, what string) (int, any) {
	e := invalid("payment_intent_unexpected_state", "", "This PaymentIntent could not be "+what+" because it has a status of "+intent.Status+".")
	e.Error.PaymentIntent = intent
	return http.StatusBadRequest, e
}

// index has search know the intent as it is.
func (p *PaymentIntent) index() {
	p.indexed = nil
	p.indexed = p.clone()
}

func (p *PaymentIntent) clone() *PaymentIntent {
	copied := *p
	copied.Metadata = map[string]string{}
	for name, value := range p.Metadata {
		copied.Metadata[name] = value
	}
	return &copied
}

// Intents are the PaymentIntents there are, oldest first.
func (s *Server) Intents() []PaymentIntent {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make([]PaymentIntent, 0, len(s.intents))
	for _, intent := range s.intents {
		all = append(all, *intent.clone())
	}
	return slices.Clip(all)
}
