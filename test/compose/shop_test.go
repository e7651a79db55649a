//go:build docker

package compose

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/holdfast-dev/holdfast/pkg/auth"
	"github.com/holdfast-dev/holdfast/pkg/idempotency"
)

// window is how long a client goes on sending the same request before it calls
// it failed. Whatever is restarted is back before.
const window = 30 * time.Second

// shop is what clients of a project did and saw.
type shop struct {
	project *project
	// Nobody waits longer for one answer than the longest a method may take.
	client http.Client

	mu           sync.Mutex
	acknowledged []acknowledged
	failed       []string // what clients gave up on, and why
	troubled     int      // requests whose first try was not answered well
	pending      int      // orders that were accepted before their payment was known
	slowest      time.Duration
}

// acknowledged is an order that a client was told of.
type acknowledged struct {
	key, id, body string
	paid          bool // or pending: accepted, and being paid
}

func newShop(p *project) *shop {
	return &shop{project: p, client: http.Client{Timeout: 15 * time.Second}}
}

// open has clients place one order after the other, each with a key of its own,
// until ctx ends. What is under way then is finished.
func (s *shop) open(ctx context.Context, clients int) (closed func()) {
	var working sync.WaitGroup
	for range clients {
		working.Go(func() {
			for ctx.Err() == nil {
				s.buy(context.WithoutCancel(ctx))
			}
		})
	}
	return working.Wait
}

// buy places one order as the contract asks of a client: it sends the very same
// request again, with the same key, until the answer is one that a retry cannot
// change, or the window is over.
func (s *shop) buy(ctx context.Context) {
	key := idempotency.NewKey().String()
	began, tries := time.Now(), 0
	for {
		tries++
		body, retry, err := s.order(ctx, key)
		took := time.Since(began)
		if err != nil && retry && took < window {
			time.Sleep(200 * time.Millisecond) // the client's own pause between two tries
			continue
		}
		var known acknowledged
		if err == nil {
			known, err = read(key, body)
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		if err != nil {
			s.failed = append(s.failed, fmt.Sprintf("%s after %s and %d tries: %v", key, took, tries, err))
			return
		}
		s.acknowledged = append(s.acknowledged, known)
		s.slowest = max(s.slowest, took)
		if tries > 1 {
			s.troubled++
		}
		if !known.paid {
			s.pending++
		}
		return
	}
}

// order sends an order once. Retry says whether an error may pass: nothing came
// back, or the service says that it is not the request's fault.
func (s *shop) order(ctx context.Context, key string) (body string, retry bool, err error) {
	const order = `{"lines":[{"product_id":"espresso-beans","quantity":2}],"payment_method":"pm_card_ok"}`
	status, body, err := s.send(ctx, http.MethodPost, "/v1/orders", key, order)
	if err != nil {
		return "", true, err
	}
	if status != http.StatusOK && status != http.StatusAccepted {
		again := status >= 500 || status == http.StatusTooManyRequests || status == http.StatusConflict
		return "", again, fmt.Errorf("%d: %s", status, body)
	}
	return body, false, nil
}

func (s *shop) send(ctx context.Context, method, path, key, body string) (int, string, error) {
	request, err := http.NewRequestWithContext(ctx, method, s.project.url()+path, strings.NewReader(body))
	if err != nil {
		return 0, "", err
	}
	request.Header.Set("Authorization", "Bearer "+auth.DevelopmentKey)
	if key != "" {
		request.Header.Set("Content-Type", "application/json")
		request.Header.Set("Idempotency-Key", key)
	}
	response, err := s.client.Do(request)
	if err != nil {
		return 0, "", err
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(response.Body)
	return response.StatusCode, string(answer), err
}

// read reads the answer to an order.
func read(key, body string) (acknowledged, error) {
	var answer struct{ Order struct{ ID, State string } }
	if err := json.Unmarshal([]byte(body), &answer); err != nil {
		return acknowledged{}, err
	}
	switch known := (acknowledged{key: key, id: answer.Order.ID, body: body}); answer.Order.State {
	case "ORDER_STATE_PAID":
		known.paid = true
		return known, nil
	case "ORDER_STATE_PENDING_PAYMENT":
		return known, nil
	default:
		return known, fmt.Errorf("the order is %s", answer.Order.State)
	}
}

// paid asks for an order until it is paid, or the window is over.
func (s *shop) paid(ctx context.Context, id string) error {
	for began := time.Now(); ; time.Sleep(200 * time.Millisecond) { // there is only asking again
		status, body, err := s.send(ctx, http.MethodGet, "/v1/orders/"+id, "", "")
		if err == nil && status != http.StatusOK {
			err = fmt.Errorf("%d: %s", status, body)
		}
		if err != nil {
			return err
		}
		known, err := read("", body)
		if err != nil || known.id != id {
			return fmt.Errorf("there is another order: %s %w", body, err)
		}
		if known.paid {
			return nil
		}
		if time.Since(began) > window {
			return fmt.Errorf("it is still not paid: %s", body)
		}
	}
}

// losses are what is missing of what clients were told, or there too often: one
// order, paid once, for each key, and the same answer to whoever asks again.
func (s *shop) losses(t *testing.T) []string {
	t.Helper()
	var found []string
	lose := func(format string, args ...any) { found = append(found, fmt.Sprintf(format, args...)) }
	for _, known := range s.acknowledged {
		if err := s.paid(t.Context(), known.id); err != nil {
			lose("order %s was acknowledged: %v", known.id, err)
			continue
		}
		body, _, err := s.order(t.Context(), known.key)
		if again, _ := read(known.key, body); err != nil || again.id != known.id {
			lose("key %s was answered with order %s, and now: %s %v", known.key, known.id, body, err)
		} else if known.paid && body != known.body {
			lose("key %s was answered %s, and now %s", known.key, known.body, body)
		}
	}
	wanted := make([]string, len(s.acknowledged))
	for i, known := range s.acknowledged {
		wanted[i] = known.id
	}
	slices.Sort(wanted)
	orders, payments := s.list(t, "orders"), s.list(t, "payments")
	if !slices.Equal(slices.Sorted(slices.Values(orders)), wanted) {
		lose("%d orders were acknowledged, and there are %d, or others", len(wanted), len(orders))
	}
	if len(payments) != len(orders) {
		lose("there are %d orders and %d payments", len(orders), len(payments))
	}
	return found
}

// list are the ids of all there is of a collection; none if it cannot be read.
func (s *shop) list(t *testing.T, collection string) (ids []string) {
	t.Helper()
	for token := ""; ; {
		status, body, err := s.send(t.Context(), http.MethodGet, "/v1/"+collection+"?page_size=200&page_token="+url.QueryEscape(token), "", "")
		if err != nil || status != http.StatusOK {
			t.Logf("list %s: %d %s %v", collection, status, body, err)
			return nil
		}
		var page map[string]json.RawMessage
		require.NoError(t, json.Unmarshal([]byte(body), &page))
		var items []struct{ ID string }
		if raw, ok := page[collection]; ok {
			require.NoError(t, json.Unmarshal(raw, &items))
		}
		for _, item := range items {
			ids = append(ids, item.ID)
		}
		token = ""
		if raw, ok := page["nextPageToken"]; ok {
			require.NoError(t, json.Unmarshal(raw, &token))
		}
		if token == "" {
			return ids
		}
	}
}
