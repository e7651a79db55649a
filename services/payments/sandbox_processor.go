package payments

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"

	"go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp"

	"github.com/holdfast-dev/holdfast/pkg/money"
	"github.com/holdfast-dev/holdfast/pkg/resilience"
	"github.com/holdfast-dev/holdfast/pkg/resilience/shed"
)

// maxProcessorAnswer is more than any answer of the sandbox, be it a page of its
// history.
const maxProcessorAnswer = 1 << 20

// SandboxProcessor is the card processor played by services/sandbox.
type SandboxProcessor struct {
	base    *url.URL
	client  *http.Client
	timeout time.Duration
	horizon time.Duration
	page    int // of Records
}

// NewSandboxProcessor talks to the sandbox at an http or https URL, waits at
// most the timeout for each answer, and trusts it to remember keys as long as
// the horizon. The dependency is what it is worth; nil calls it without breaker
// or bulkhead. Close it.
func NewSandboxProcessor(rawURL string, timeout, horizon time.Duration, dependency *resilience.Dependency) (*SandboxProcessor, error) {
	base, err := sandboxBase(rawURL)
	if err != nil {
		return nil, err
	}
	transport := &http.Transport{
		MaxIdleConnsPerHost:   64,
		IdleConnTimeout:       30 * time.Second, // below the sandbox's own, so that we close first
		ResponseHeaderTimeout: timeout,
	}
	traced := http.RoundTripper(otelhttp.NewTransport(transport))
	if dependency != nil {
		// It repeats questions, never operations: those have no body to send again.
		traced = dependency.Transport(traced, 0)
	}
	return &SandboxProcessor{
		base:    base,
		client:  &http.Client{Transport: traced},
		timeout: timeout,
		horizon: horizon,
		page:    recordsPage,
	}, nil
}

func sandboxBase(raw string) (*url.URL, error) {
	base, err := url.Parse(raw)
	if err != nil || (base.Scheme != "http" && base.Scheme != "https") || base.Host == "" {
		return nil, fmt.Errorf("HOLDFAST_SANDBOX_URL is %q, must be an http or https URL", raw)
	}
	return base, nil
}

// Close closes idle connections.
func (s *SandboxProcessor) Close() { s.client.CloseIdleConnections() }

// Horizon implements [Processor].
func (s *SandboxProcessor) Horizon() time.Duration { return s.horizon }

// Authorize implements [Processor].
func (s *SandboxProcessor) Authorize(ctx context.Context, key string, r ChargeRequest) (Outcome, error) {
	return s.operate(ctx, key, sandboxCharge(r), "v1", "authorizations")
}

// Charge implements [Processor].
func (s *SandboxProcessor) Charge(ctx context.Context, key string, r ChargeRequest) (Outcome, error) {
	return s.operate(ctx, key, sandboxCharge(r), "v1", "charges")
}

// Capture implements [Processor].
func (s *SandboxProcessor) Capture(ctx context.Context, key, processorID string, amount money.Amount) (Outcome, error) {
	return s.operate(ctx, key, sandboxRequest{Amount: amount.Minor, Currency: amount.Currency},
		"v1", "authorizations", url.PathEscape(processorID), "capture")
}

// Void implements [Processor].
func (s *SandboxProcessor) Void(ctx context.Context, key, processorID string) (Outcome, error) {
	return s.operate(ctx, key, sandboxRequest{}, "v1", "authorizations", url.PathEscape(processorID), "void")
}

// Refund implements [Processor].
func (s *SandboxProcessor) Refund(ctx context.Context, key, processorID string, amount money.Amount) (Outcome, error) {
	return s.operate(ctx, key, sandboxRequest{Charge: processorID, Amount: amount.Minor, Currency: amount.Currency},
		"v1", "refunds")
}

// Lookup implements [Processor]. The sandbox knows every key for ever.
func (s *SandboxProcessor) Lookup(ctx context.Context, key string, _ LookupRequest) (Outcome, error) {
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	target := s.base.JoinPath("v1", "operations")
	target.RawQuery = url.Values{"key": {key}}.Encode()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, target.String(), nil)
	if err != nil {
		return Outcome{}, fmt.Errorf("ask the sandbox for a key: %w", err)
	}
	var found struct {
		Operations []sandboxOperation `json:"operations"`
	}
	status, err := s.do(request, &found, nil)
	if err != nil {
		return Outcome{}, fmt.Errorf("ask the sandbox for a key: %w", err)
	}
	if status != http.StatusOK {
		return Outcome{}, fmt.Errorf("ask the sandbox for a key: it answered %d", status)
	}
	if len(found.Operations) == 0 {
		return Outcome{}, ErrUnknownKey
	}
	// One key makes one operation. Should the sandbox ever break that promise,
	// the first is the one that was answered for.
	return found.Operations[0].outcome()
}

// sandboxRequest is the body of every operation.
type sandboxRequest struct {
	Charge        string `json:"charge,omitempty"`
	Reference     string `json:"reference,omitempty"`
	Description   string `json:"description,omitempty"`
	Amount        int64  `json:"amount,omitempty"`
	Currency      string `json:"currency,omitempty"`
	PaymentMethod string `json:"payment_method,omitempty"`
}

func sandboxCharge(r ChargeRequest) sandboxRequest {
	return sandboxRequest{
		Reference:     r.Payment,
		Description:   r.Description,
		Amount:        r.Amount.Minor,
		Currency:      r.Amount.Currency,
		PaymentMethod: r.PaymentMethod,
	}
}

// sandboxOperation is the part of the sandbox's answer that matters here.
type sandboxOperation struct {
	Charge      string `json:"charge"`
	Status      string `json:"status"`
	DeclineCode string `json:"decline_code"`
}

func (o sandboxOperation) outcome() (Outcome, error) {
	switch o.Status {
	case "succeeded":
		return Outcome{Verdict: Done, ProcessorID: o.Charge}, nil
	case "declined":
		return Outcome{Verdict: Refused, DeclineCode: o.DeclineCode}, nil
	case "pending":
		return Outcome{}, errPending
	default:
		return Outcome{}, fmt.Errorf("the sandbox answered the unknown status %q", o.Status)
	}
}

// operate sends one operation, once.
func (s *SandboxProcessor) operate(ctx context.Context, key string, body sandboxRequest, path ...string) (Outcome, error) {
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	data, err := json.Marshal(body)
	if err != nil {
		return Outcome{}, fmt.Errorf("ask the sandbox: %w", err)
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, s.base.JoinPath(path...).String(), bytes.NewReader(data))
	if err != nil {
		return Outcome{}, fmt.Errorf("ask the sandbox: %w", err)
	}
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("Idempotency-Key", key)
	// net/http sends a request with this header again by itself when a kept
	// connection breaks. Without GetBody it cannot.
	request.GetBody = nil

	var operation sandboxOperation
	var refusal struct {
		Error struct {
			Code string `json:"code"`
		} `json:"error"`
	}
	status, err := s.do(request, &operation, &refusal)
	if err != nil {
		return Outcome{}, fmt.Errorf("ask the sandbox: %w", err)
	}
	switch {
	case status == http.StatusOK:
		return operation.outcome()
	case definiteRefusals[refusal.Error.Code] && status >= 400 && status < 500:
		return Outcome{Verdict: Refused, DeclineCode: refusal.Error.Code}, nil
	default:
		return Outcome{}, fmt.Errorf("ask the sandbox: it answered %d %s", status, refusal.Error.Code)
	}
}

// definiteRefusals are the sandbox's errors which say that it did nothing and
// never will for this request. `key_reused` is not one: it says that the key
// did do something.
var definiteRefusals = map[string]bool{
	"invalid_request":   true,
	"not_found":         true,
	"wrong_state":       true,
	"amount_too_large":  true,
	"currency_mismatch": true,
}

// do sends the request and reads the whole answer; an answer cut short is an
// error, never a success.
func (s *SandboxProcessor) do(request *http.Request, ok, refusal any) (int, error) {
	defer shed.Outside(request.Context())() // a slow processor is no load of ours
	response, err := s.client.Do(request)
	if err != nil {
		return 0, err
	}
	defer response.Body.Close()
	data, err := io.ReadAll(io.LimitReader(response.Body, maxProcessorAnswer+1))
	if err != nil {
		return 0, err
	}
	if len(data) > maxProcessorAnswer {
		return 0, errors.New("the answer is too large")
	}
	into := refusal
	if response.StatusCode == http.StatusOK {
		into = ok
	}
	if into == nil {
		return response.StatusCode, nil
	}
	if err := json.Unmarshal(data, into); err != nil {
		if response.StatusCode == http.StatusOK {
			return 0, fmt.Errorf("read the answer: %w", err)
		}
		// An error page of whoever stands between: its status says enough.
		return response.StatusCode, nil
	}
	return response.StatusCode, nil
}
