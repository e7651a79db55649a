package stripetest

import (
	"bytes"
	"net/http"
	"time"
)

// answer is what is stored for an idempotency key.
type answer struct {
	request string // path and parameters
	done    bool
	status  int
	body    []byte
}

// write serves a request that changes something, once for its key: the first
// answer is stored when the endpoint has begun to work, whatever it was, and
// given again. A request that was not valid, or met another one in progress, is
// not stored.
func (s *Server) write(work endpoint) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if !authorized(w, r) {
			return
		}
		if err := r.ParseForm(); err != nil {
			respond(w, http.StatusBadRequest, invalid("", "", "The request body cannot be read."))
			return
		}
		key := r.Header.Get("Idempotency-Key")
		stored, status, data := s.claim(key, r.URL.Path+"?"+r.PostForm.Encode())
		if stored == nil {
			send(w, status, data)
			return
		}
		time.Sleep(time.Millisecond) // work takes time: others with the key meet it in progress
		f := s.perform(stored, key, func() (int, any) { return work(r.PathValue("id"), r.PostForm) })
		if f.spoil != nil {
			f.spoil(w, r)
		}
		send(w, stored.status, stored.body)
	}
}

// claim makes the key this request's, or answers what there is for it already.
func (s *Server) claim(key, request string) (claimed *answer, status int, body []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.posts++
	if f := s.fault; f != nil && f.kind == RateLimit {
		s.fault = nil
		return nil, http.StatusTooManyRequests, encode(invalid("rate_limit", "", "Too many requests."))
	}
	known := s.answers[key]
	switch {
	case known == nil:
		claimed = &answer{request: request}
		s.answers[key] = claimed
		return claimed, 0, nil
	case known.request != request:
		return nil, http.StatusBadRequest, misused("", "The key was used with another request.")
	case !known.done:
		return nil, http.StatusConflict, misused("idempotency_key_in_use", "A request with the key is in progress.")
	default:
		return nil, known.status, bytes.Clone(known.body)
	}
}

func misused(code, message string) []byte {
	return encode(failure{errorBody{Type: "idempotency_error", Code: code, Message: message}})
}

// perform does the work and stores the answer, as far as the fault lets it.
func (s *Server) perform(a *answer, key string, work func() (int, any)) fault {
	s.mu.Lock()
	defer s.mu.Unlock()
	var f fault
	if s.fault != nil {
		f, s.fault = *s.fault, nil
	}
	var status int
	var body any
	if f.kind != ErrorBefore {
		status, body = work()
	}
	if f.kind == ErrorBefore || f.kind == ErrorAfter {
		status, body = http.StatusInternalServerError, failure{errorBody{Type: "api_error", Message: "An unknown error occurred"}}
	}
	a.status, a.body, a.done = status, encode(body), true
	if e, ok := body.(failure); ok && e.Error.Type == "invalid_request_error" && e.Error.PaymentIntent == nil {
		delete(s.answers, key) // refused before any work
	}
	return f
}

// ForgetKeys forgets every idempotency key, as Stripe may after 24 hours: what
// is sent again is done again.
func (s *Server) ForgetKeys() {
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.answers)
}
