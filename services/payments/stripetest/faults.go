package stripetest

import (
	"net/http"
	"strings"
	"testing"
	"time"
)

// Fault is a way in which one write fails.
type Fault int

// The faults. Those of an error are stored and given again for the same key, as
// Stripe does.
const (
	// ErrorBefore answers 500 and does nothing.
	ErrorBefore Fault = iota + 1
	// ErrorAfter does what was asked and answers 500.
	ErrorAfter
	// TimeoutAfter does what was asked and never answers.
	TimeoutAfter
	// CutAfter does what was asked and closes the connection.
	CutAfter
	// RateLimit answers 429, and does and stores nothing.
	RateLimit
)

type fault struct {
	kind  Fault
	spoil func(http.ResponseWriter, *http.Request)
}

// Fail has the next write fail.
func (s *Server) Fail(kind Fault) {
	f := &fault{kind: kind}
	switch kind {
	case TimeoutAfter:
		f.spoil = func(_ http.ResponseWriter, r *http.Request) {
			<-r.Context().Done()
			abort()
		}
	case CutAfter:
		f.spoil = func(http.ResponseWriter, *http.Request) { abort() }
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fault = f
}

// abort closes the connection: net/http does so for this panic, and logs nothing.
func abort() { panic(http.ErrAbortHandler) }

// Unfinished has charges and refunds stay unfinished from now on, until Finish.
func (s *Server) Unfinished() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.unfinished = true
}

// Finish has what is unfinished succeed, and what comes from now on as well.
func (s *Server) Finish() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.unfinished = false
	for _, intent := range s.intents {
		if intent.Status == "processing" {
			intent.Status, intent.AmountReceived = "succeeded", intent.Amount
		}
	}
	for _, refund := range s.refunds {
		if refund.Status == "pending" {
			refund.Status = "succeeded"
		}
	}
}

// FailRefunds has every pending refund fail for the reason.
func (s *Server) FailRefunds(reason string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, refund := range s.refunds {
		if refund.Status == "pending" {
			refund.Status, refund.FailureReason = "failed", reason
		}
	}
}

// PageSize limits how much a list gives at once, so that a few objects make
// pages.
func (s *Server) PageSize(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.page = n
}

// SearchLags has search know nothing of what is created from now on, until
// SearchCatchesUp.
func (s *Server) SearchLags() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.unindexed = true
}

// SearchCatchesUp has search know everything there is.
func (s *Server) SearchCatchesUp() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.unindexed = false
	for _, intent := range s.intents {
		intent.index()
	}
}

// NoSearch takes search away, as from the accounts that have none.
func (s *Server) NoSearch() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.unsearchable = true
}

// Advance puts its clock ahead of the machine's by so much more.
func (s *Server) Advance(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ahead += d
}

// ByHand posts a form as somebody would who works in Stripe's dashboard.
func (s *Server) ByHand(t testing.TB, path, form string) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.URL+path, strings.NewReader(form))
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Authorization", "Bearer "+Key)
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	request.Header.Set("Idempotency-Key", "by hand "+path+" "+form)
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		t.Fatalf("%s: %s", path, response.Status)
	}
}
