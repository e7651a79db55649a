package drill

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"

	"github.com/holdfast-dev/holdfast/test/load"
)

// How answers of language models fail, beside statuses.
const (
	// cutSilently is an answer that ends as if it were whole, and is not.
	cutSilently = "cut without a word"
	// cutLoudly is one whose connection broke: its client knows.
	cutLoudly = "cut with its connection"
	// interrupted is one that says that it was cut.
	interrupted = "interrupted, and said so"
	// refusedByBudget is a request that a budget has no room for.
	refusedByBudget = "refused by the budget"
)

// askers are clients that ask models, in both protocols.
type askers struct {
	at         string
	seed       uint64
	credential string
	client     *http.Client
}

// newAskers returns clients of the gateway at an address. Each request has a
// connection of its own, so that the balancer spreads them.
func newAskers(at string, seed uint64, credential string) *askers {
	return &askers{at: "http://" + at, seed: seed, credential: credential, client: &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}}
}

// modelQuestion is one request, as its number has it.
type modelQuestion struct {
	path, body, end string
	stream          bool
}

func (a *askers) question(number int64) modelQuestion {
	random := rand.New(rand.NewPCG(a.seed, uint64(number))) // reproducible on purpose
	q := modelQuestion{path: "/v1/chat/completions", end: "data: [DONE]\n\n", stream: random.IntN(2) == 0}
	model, more := "sandbox-small", ""
	if random.IntN(2) == 0 {
		q.path, q.end = "/v1/messages", "data: {\"type\":\"message_stop\"}\n\n"
		model, more = "sandbox-large", `,"max_tokens":200`
	}
	q.body = fmt.Sprintf(`{"model":%q,"stream":%t,"messages":[{"role":"user","content":"question %d [[tokens %d]]"}]%s}`,
		model, q.stream, number, 5+random.IntN(40), more)
	return q
}

// ask asks once, and judges the answer.
func (a *askers) ask(ctx context.Context, arrival load.Arrival) load.Verdict {
	return load.Verdict{Failure: a.put(ctx, a.question(arrival.Number))}
}

// burst asks many times at once on one arrival, and fails if any of them does.
func (a *askers) burst(n int64) load.Operation {
	return func(ctx context.Context, arrival load.Arrival) load.Verdict {
		var asking sync.WaitGroup
		failures := make(chan *load.Failure, n)
		for i := range n {
			asking.Go(func() { failures <- a.put(ctx, a.question(arrival.Number*n+i)) })
		}
		asking.Wait()
		close(failures)
		var worst *load.Failure
		for f := range failures {
			if f != nil && (worst == nil || worst.Kind == refusedByBudget) {
				worst = f
			}
		}
		return load.Verdict{Failure: worst}
	}
}

func (a *askers) put(ctx context.Context, q modelQuestion) *load.Failure {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, a.at+q.path, strings.NewReader(q.body))
	if err != nil {
		return &load.Failure{Kind: load.Broken, Detail: err.Error()}
	}
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("Authorization", "Bearer "+a.credential)
	request.Header.Set("Anthropic-Version", "2023-06-01")
	response, err := a.client.Do(request)
	if err != nil {
		return &load.Failure{Kind: cutLoudly, Detail: err.Error()}
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	return q.judge(response.StatusCode, string(body), err)
}

// judge says what is wrong with an answer; nil for nothing.
func (q modelQuestion) judge(status int, body string, err error) *load.Failure {
	tail := body[max(0, len(body)-300):]
	switch {
	case err != nil && errors.Is(err, context.DeadlineExceeded):
		return &load.Failure{Kind: load.TimedOut, Detail: tail}
	case err != nil:
		return &load.Failure{Kind: cutLoudly, Detail: err.Error()}
	case strings.Contains(tail, `"budget_spent"`):
		return &load.Failure{Kind: refusedByBudget, Detail: tail}
	case status != http.StatusOK:
		return &load.Failure{Kind: fmt.Sprintf("http %d", status), Detail: tail}
	case q.stream && strings.HasSuffix(body, q.end):
		return nil
	case q.stream && strings.Contains(tail, `"generation_interrupted"`):
		return &load.Failure{Kind: interrupted, Detail: tail}
	case q.stream, !json.Valid([]byte(body)):
		return &load.Failure{Kind: cutSilently, Detail: tail}
	default:
		return nil
	}
}
