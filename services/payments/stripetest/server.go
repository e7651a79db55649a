// Package stripetest plays the part of Stripe's API that payments uses, for its
// tests: PaymentIntents that are confirmed as they are created, refunds, and
// what the documentation says of idempotency keys, lists and search.
//
// It is written from Stripe's documentation and shares no code with payments,
// so that a misunderstanding on one side does not agree with itself on the
// other. What it does not know it refuses.
package stripetest

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"
)

// Key is the API key that the server takes.
const Key = "sk_test_stripetest"

// Server is one Stripe account. Its methods may be called at any time.
type Server struct {
	// URL is where the API answers.
	URL string

	mu           sync.Mutex
	ahead        time.Duration // how far its clock is ahead
	answers      map[string]*answer
	intents      []*PaymentIntent // oldest first
	refunds      []*Refund        // oldest first
	page         int              // the most a list gives at once
	unfinished   bool             // what begins stays unfinished
	unindexed    bool             // search does not see what is new
	unsearchable bool             // there is no search
	fault        *fault           // what the next write meets
	posts        int
	gets         int
	sequence     int
}

// Start runs a server until the test ends.
func Start(t testing.TB) *Server {
	t.Helper()
	s := &Server{answers: map[string]*answer{}, page: 100}
	server := httptest.NewServer(s.handler())
	t.Cleanup(server.Close)
	s.URL = server.URL
	return s
}

func (s *Server) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /v1/payment_intents", s.write(s.createIntent))
	mux.HandleFunc("POST /v1/payment_intents/{id}/capture", s.write(s.captureIntent))
	mux.HandleFunc("POST /v1/payment_intents/{id}/cancel", s.write(s.cancelIntent))
	mux.HandleFunc("POST /v1/refunds", s.write(s.createRefund))
	mux.HandleFunc("GET /v1/payment_intents", s.read(s.listIntents))
	mux.HandleFunc("GET /v1/payment_intents/search", s.read(s.searchIntents))
	mux.HandleFunc("GET /v1/payment_intents/{id}", s.read(s.getIntent))
	mux.HandleFunc("GET /v1/refunds", s.read(s.listRefunds))
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		respond(w, http.StatusNotFound, invalid("", "", "Unrecognized request URL ("+r.Method+": "+r.URL.Path+")."))
	})
	return mux
}

// endpoint answers a request; the lock is held.
type endpoint func(id string, form url.Values) (status int, body any)

// read serves a question.
func (s *Server) read(answer endpoint) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if !authorized(w, r) {
			return
		}
		s.mu.Lock()
		s.gets++
		status, body := answer(r.PathValue("id"), r.URL.Query())
		data := encode(body)
		s.mu.Unlock()
		send(w, status, data)
	}
}

func authorized(w http.ResponseWriter, r *http.Request) bool {
	w.Header().Set("Request-Id", "req_stripetest")
	if r.Header.Get("Authorization") != "Bearer "+Key {
		respond(w, http.StatusUnauthorized, invalid("", "", "Invalid API Key provided."))
		return false
	}
	return true
}

// failure is the body of an error.
type failure struct {
	Error errorBody `json:"error"`
}

type errorBody struct {
	Type          string         `json:"type"`
	Code          string         `json:"code,omitempty"`
	DeclineCode   string         `json:"decline_code,omitempty"`
	Message       string         `json:"message"`
	Param         string         `json:"param,omitempty"`
	PaymentIntent *PaymentIntent `json:"payment_intent,omitempty"`
}

func invalid(code, param, message string) failure {
	return failure{errorBody{Type: "invalid_request_error", Code: code, Param: param, Message: message}}
}

func encode(body any) []byte {
	data, err := json.Marshal(body)
	if err != nil {
		panic(err) // strings, numbers and maps of strings always marshal
	}
	return data
}

func respond(w http.ResponseWriter, status int, body any) { send(w, status, encode(body)) }

func send(w http.ResponseWriter, status int, data []byte) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(data)
}

// id makes a name that was not used before.
func (s *Server) id(prefix string) string {
	s.sequence++
	return fmt.Sprintf("%s_%08d", prefix, s.sequence)
}

// created is the time as Stripe tells it, in whole seconds.
func (s *Server) created() int64 { return time.Now().Add(s.ahead).Unix() }

// metadata reads the fields metadata[…] of a form into the map.
func metadata(form url.Values, into map[string]string) {
	for name, values := range form {
		if field, ok := strings.CutPrefix(name, "metadata["); ok {
			into[strings.TrimSuffix(field, "]")] = values[0]
		}
	}
}
