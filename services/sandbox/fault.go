package sandbox

import (
	"encoding/json"
	"fmt"
	"mime"
	"slices"
	"time"
)

// FaultKind is a way to fail.
type FaultKind string

// The ways to fail. Before and after are meant from the effect: the worst kind
// for a client is the one that took the money and then says nothing.
const (
	// FaultDecline is the card issuer's no: definitive, and nothing is taken.
	FaultDecline FaultKind = "decline"
	// FaultSlow waits for Delay, then does what was asked.
	FaultSlow FaultKind = "slow"
	// FaultTimeout never answers: before the effect, or after it.
	FaultTimeout FaultKind = "timeout"
	// FaultDrop closes the connection without an answer (FIN).
	FaultDrop FaultKind = "drop"
	// FaultReset resets the connection without an answer (RST).
	FaultReset FaultKind = "reset"
	// FaultError answers 500.
	FaultError FaultKind = "error"
	// FaultUnavailable answers 503.
	FaultUnavailable FaultKind = "unavailable"
	// FaultRateLimit answers 429 with Retry-After.
	FaultRateLimit FaultKind = "rate_limit"
	// FaultSettleLater accepts the operation, which succeeds after Delay.
	FaultSettleLater FaultKind = "settle_later"
	// FaultDuplicate delivers the request twice, as a retrying proxy would.
	FaultDuplicate FaultKind = "duplicate"
	// FaultForgetKey does what was asked and forgets the key at once, as if its
	// horizon had passed: sent again, it is done again.
	FaultForgetKey FaultKind = "forget_key"
)

// When says on which side of the effect a fault strikes.
type When string

// The two sides of an effect. Left empty, a fault strikes before it.
const (
	Before When = "before"
	After  When = "after"
)

// Fault is one way to fail, with its details.
type Fault struct {
	Kind FaultKind `json:"kind"`
	// When is for faults that withhold or spoil the answer.
	When When `json:"when,omitempty"`
	// Delay is how long FaultSlow waits, FaultTimeout holds on at most,
	// FaultSettleLater takes, and what FaultRateLimit puts in Retry-After.
	Delay Duration `json:"delay,omitempty"`
	// Code is the decline code of FaultDecline.
	Code string `json:"code,omitempty"`
}

// normal fills in what was left out and refuses what makes no sense.
func (f Fault) normal() (Fault, error) {
	if f.Delay < 0 || f.Delay > Duration(time.Hour) {
		return f, fmt.Errorf("fault %q: delay must be between 0 and 1h", f.Kind)
	}
	if f.When != "" && f.When != Before && f.When != After {
		return f, fmt.Errorf("fault %q: when must be %q or %q", f.Kind, Before, After)
	}
	orElse := func(d time.Duration) {
		if f.Delay == 0 {
			f.Delay = Duration(d)
		}
	}
	switch f.Kind {
	case FaultTimeout:
		orElse(30 * time.Second)
	case FaultDrop, FaultReset, FaultError, FaultUnavailable:
	case FaultDecline, FaultSlow, FaultRateLimit, FaultSettleLater, FaultDuplicate, FaultForgetKey:
		if f.When != "" {
			return f, fmt.Errorf("fault %q takes no when", f.Kind)
		}
		switch {
		case f.Kind == FaultDecline && f.Code == "":
			f.Code = "card_declined"
		case f.Kind == FaultSlow, f.Kind == FaultRateLimit, f.Kind == FaultSettleLater:
			orElse(time.Second)
		}
	default:
		return f, fmt.Errorf("unknown fault %q", f.Kind)
	}
	if f.Kind != FaultDecline && f.Code != "" {
		return f, fmt.Errorf("fault %q takes no code", f.Kind)
	}
	return f, nil
}

// ParseFault reads the Sandbox-Fault header, such as `drop; when=after` or
// `slow; delay=300ms`.
func ParseFault(header string) (Fault, error) {
	kind, params, err := mime.ParseMediaType(header)
	if err != nil {
		return Fault{}, fmt.Errorf("malformed Sandbox-Fault: %w", err)
	}
	f := Fault{Kind: FaultKind(kind), When: When(params["when"]), Code: params["code"]}
	if text, ok := params["delay"]; ok {
		delay, err := time.ParseDuration(text)
		if err != nil {
			return Fault{}, fmt.Errorf("malformed delay in Sandbox-Fault: %w", err)
		}
		f.Delay = Duration(delay)
	}
	for name := range params {
		if !slices.Contains([]string{"when", "code", "delay"}, name) {
			return Fault{}, fmt.Errorf("unknown parameter %q in Sandbox-Fault", name)
		}
	}
	return f.normal()
}

// PaymentMethods are the tokens that stand for cards. A decline is a property
// of the card and meets every request; any other fault meets only the first
// time a key is sent, so that a retry shows how the platform heals.
var PaymentMethods = map[string]Fault{
	"pm_card_ok":                    {},
	"pm_card_declined":              {Kind: FaultDecline, Code: "card_declined"},
	"pm_card_insufficient_funds":    {Kind: FaultDecline, Code: "insufficient_funds"},
	"pm_card_expired":               {Kind: FaultDecline, Code: "expired_card"},
	"pm_card_slow":                  {Kind: FaultSlow, Delay: Duration(time.Second)},
	"pm_card_timeout_before_charge": {Kind: FaultTimeout, When: Before},
	"pm_card_timeout_after_charge":  {Kind: FaultTimeout, When: After},
	"pm_card_drop_before":           {Kind: FaultDrop, When: Before},
	"pm_card_drop_after":            {Kind: FaultDrop, When: After},
	"pm_card_reset_before":          {Kind: FaultReset, When: Before},
	"pm_card_reset_after":           {Kind: FaultReset, When: After},
	"pm_card_500":                   {Kind: FaultError, When: Before},
	"pm_card_500_after_charge":      {Kind: FaultError, When: After},
	"pm_card_503":                   {Kind: FaultUnavailable, When: Before},
	"pm_card_rate_limited":          {Kind: FaultRateLimit},
	"pm_card_settles_later":         {Kind: FaultSettleLater, Delay: Duration(2 * time.Second)},
	"pm_card_duplicate":             {Kind: FaultDuplicate},
}

// cardFault is what the token of a request's card does to it, this time.
func cardFault(token string, sent uint64) Fault {
	f, known := PaymentMethods[token]
	switch {
	case !known:
		f = Fault{Kind: FaultDecline, Code: "unknown_payment_method"}
	case f.Kind == "" || (f.Kind != FaultDecline && sent > 1):
		return Fault{}
	}
	f, err := f.normal()
	if err != nil {
		panic(err) // the table above is wrong; a test reads all of it
	}
	return f
}

// Duration is a time.Duration that reads and writes as text such as `300ms`.
type Duration time.Duration

// MarshalJSON writes the duration as text.
func (d Duration) MarshalJSON() ([]byte, error) { return json.Marshal(time.Duration(d).String()) }

// UnmarshalJSON reads the duration from text.
func (d *Duration) UnmarshalJSON(data []byte) error {
	var text string
	if err := json.Unmarshal(data, &text); err != nil {
		return fmt.Errorf("a duration is text such as \"300ms\": %w", err)
	}
	parsed, err := time.ParseDuration(text)
	*d = Duration(parsed)
	return err
}
