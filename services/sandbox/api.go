package sandbox

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strconv"
	"time"
)

// maxBody is more than any request needs.
const maxBody = 64 << 10

// API is the processor over HTTP.
type API struct {
	ledger *Ledger
	log    *slog.Logger
}

// NewAPI serves a ledger.
func NewAPI(ledger *Ledger, log *slog.Logger) *API { return &API{ledger: ledger, log: log} }

// Handler routes:
//
//	POST   /v1/authorizations               reserve an amount
//	POST   /v1/authorizations/{id}/capture  take it
//	POST   /v1/authorizations/{id}/void     or release it
//	POST   /v1/charges                      reserve and take in one step
//	POST   /v1/refunds                      give back
//	GET    /v1/operations?key=…             what became of an idempotency key
//	GET    /v1/history?since=…&until=…      what was done in a time, by pages
//	GET    /v1/ledger?reference=…           everything, and totals by reference
//	POST   /faults, GET, DELETE             the script of faults
//
// The five that move money need an Idempotency-Key and heed Sandbox-Fault.
func (a *API) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("POST /v1/authorizations", a.operate(KindAuthorize))
	mux.Handle("POST /v1/authorizations/{id}/capture", a.operate(KindCapture))
	mux.Handle("POST /v1/authorizations/{id}/void", a.operate(KindVoid))
	mux.Handle("POST /v1/charges", a.operate(KindCharge))
	mux.Handle("POST /v1/refunds", a.operate(KindRefund))
	mux.HandleFunc("GET /v1/operations", a.lookup)
	mux.HandleFunc("GET /v1/history", a.history)
	mux.HandleFunc("GET /v1/ledger", a.dump)
	mux.HandleFunc("POST /faults", a.setScript)
	mux.HandleFunc("GET /faults", a.showScript)
	mux.HandleFunc("DELETE /faults", a.clearScript)
	return mux
}

// operate serves one kind of operation.
func (a *API) operate(kind Kind) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		key := r.Header.Get("Idempotency-Key")
		if !validKey(key) {
			a.fail(w, refuse("key_missing", "Idempotency-Key must be 1 to 255 visible ASCII characters"))
			return
		}
		var request Request
		if err := readJSON(w, r, &request); err != nil {
			a.fail(w, err)
			return
		}
		request.Kind = kind
		if id := r.PathValue("id"); id != "" {
			request.Charge = id
		}
		fault, err := a.faultOf(r, key, request)
		if err != nil {
			a.fail(w, err)
			return
		}
		a.strike(w, r, fault, func() (any, error) {
			operation, replayed, err := a.ledger.Perform(key, request, fault)
			if err == nil && replayed {
				w.Header().Set("Idempotent-Replayed", "true")
			}
			return operation, err
		})
	})
}

// lookup answers what is known of a key. A key that was never seen is an empty
// list, not an error: that answer is as definitive as any.
func (a *API) lookup(w http.ResponseWriter, r *http.Request) {
	key := r.URL.Query().Get("key")
	if !validKey(key) {
		a.fail(w, refuse("key_missing", "key must be 1 to 255 visible ASCII characters"))
		return
	}
	fault, err := a.faultOf(r, key, Request{Kind: KindLookup})
	if err != nil {
		a.fail(w, err)
		return
	}
	a.strike(w, r, fault, func() (any, error) {
		operations, err := a.ledger.Lookup(key)
		return Found{Operations: operations}, err
	})
}

// Found is the answer of a lookup.
type Found struct {
	Operations []Operation `json:"operations"`
}

// faultOf is the fault that this request meets; the zero Fault if none.
func (a *API) faultOf(r *http.Request, key string, request Request) (Fault, error) {
	if header := r.Header.Get("Sandbox-Fault"); header != "" {
		fault, err := ParseFault(header)
		if err != nil {
			return Fault{}, refuse("invalid_fault", err.Error())
		}
		return fault, nil
	}
	return a.ledger.NextFault(key, request)
}

func (a *API) setScript(w http.ResponseWriter, r *http.Request) {
	var s Script
	if err := readJSON(w, r, &s); err != nil {
		a.fail(w, err)
		return
	}
	s, err := s.normal()
	if err != nil {
		a.fail(w, refuse("invalid_script", err.Error()))
		return
	}
	if err := a.ledger.SetScript(s); err != nil {
		a.fail(w, err)
		return
	}
	a.log.InfoContext(r.Context(), "faults scripted", "rules", len(s.Rules), "seed", s.Seed)
	a.answer(w, s)
}

func (a *API) showScript(w http.ResponseWriter, _ *http.Request) {
	s, err := a.ledger.Script()
	if err != nil {
		a.fail(w, err)
		return
	}
	a.answer(w, s)
}

func (a *API) clearScript(w http.ResponseWriter, r *http.Request) {
	if err := a.ledger.SetScript(Script{Rules: []Rule{}}); err != nil {
		a.fail(w, err)
		return
	}
	a.log.InfoContext(r.Context(), "faults cleared")
	w.WriteHeader(http.StatusNoContent)
}

// answer writes a value as JSON in one piece, so that the length is known and a
// cut connection is seen as one.
func (a *API) answer(w http.ResponseWriter, value any) {
	data, err := json.Marshal(value)
	if err != nil {
		a.fail(w, fmt.Errorf("write an answer: %w", err))
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(data)
}

// ErrorBody is the body of every answer that is not 2xx.
type ErrorBody struct {
	Error struct {
		Code    string `json:"code"`
		Message string `json:"message"`
	} `json:"error"`
}

// statusOf maps refusals to HTTP; any other refusal is 400.
var statusOf = map[string]int{
	"not_found":        http.StatusNotFound,
	"wrong_state":      http.StatusConflict,
	"charge_pending":   http.StatusConflict,
	"key_reused":       http.StatusUnprocessableEntity,
	"amount_too_large": http.StatusUnprocessableEntity,
	"body_too_large":   http.StatusRequestEntityTooLarge,
}

// fail answers an error: a refusal with its code, anything else as 500.
func (a *API) fail(w http.ResponseWriter, err error) {
	refusal, ok := errors.AsType[*Refusal](err)
	if !ok {
		a.log.Error("request failed", "error", err)
		writeError(w, http.StatusInternalServerError, "internal", "the sandbox failed; its log says why")
		return
	}
	status, ok := statusOf[refusal.Code]
	if !ok {
		status = http.StatusBadRequest
	}
	writeError(w, status, refusal.Code, refusal.Message)
}

func writeError(w http.ResponseWriter, status int, code, message string) {
	var body ErrorBody
	body.Error.Code, body.Error.Message = code, message
	data, err := json.Marshal(body)
	if err != nil {
		panic(err) // two strings always marshal
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(data)
}

// readJSON reads a small JSON object and nothing after it; an empty body is an
// empty object.
func readJSON(w http.ResponseWriter, r *http.Request, into any) error {
	data, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if _, tooLarge := errors.AsType[*http.MaxBytesError](err); tooLarge {
		return refuse("body_too_large", fmt.Sprintf("the body is over %d bytes", maxBody))
	}
	if err != nil {
		return refuse("invalid_request", "the body did not arrive")
	}
	if len(bytes.TrimSpace(data)) == 0 {
		return nil
	}
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(into); err != nil {
		return refuse("invalid_request", err.Error())
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return refuse("invalid_request", "the body holds more than one value")
	}
	return nil
}

func validKey(key string) bool {
	for _, c := range []byte(key) {
		if c < '!' || c > '~' {
			return false
		}
	}
	return len(key) >= 1 && len(key) <= 255
}

// retryAfter is a delay as the Retry-After header has it: whole seconds, up.
func retryAfter(d Duration) string {
	return strconv.FormatInt(int64((time.Duration(d)+time.Second-1)/time.Second), 10)
}
