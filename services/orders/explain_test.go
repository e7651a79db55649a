package orders

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/holdfast-dev/holdfast/pkg/apierror"
	"github.com/holdfast-dev/holdfast/pkg/auth"
	"github.com/holdfast-dev/holdfast/pkg/money"
	llmv1 "github.com/holdfast-dev/holdfast/proto/holdfast/llm/v1"
	ordersv1 "github.com/holdfast-dev/holdfast/proto/holdfast/orders/v1"
)

// startExplaining runs the whole service beside a fake gateway, with one paid
// order.
func startExplaining(t *testing.T) (*whole, *fakeLLM, string) {
	t.Helper()
	fake, target := startLLM(t)
	w := newWorld(t).replica(t, "HOLDFAST_LLM_TARGET", target, "HOLDFAST_LLM_MODEL", "small")
	request := cups()
	request.ContactEmail, request.ShippingNote = "ada@example.com", "leave it with the neighbour"
	return w, fake, w.create(t, request).GetId()
}

func (w *whole) explain(ctx context.Context, t *testing.T, id string) *ordersv1.ExplainOrderResponse {
	t.Helper()
	response, err := w.client.ExplainOrder(ctx, &ordersv1.ExplainOrderRequest{Id: id})
	require.NoError(t, err)
	return response
}

// requirePlain requires the sentence that needs no model.
func requirePlain(t *testing.T, r *ordersv1.ExplainOrderResponse) {
	t.Helper()
	require.True(t, r.GetDegraded())
	require.Contains(t, r.GetText(), "is accepted and paid.")
	require.Empty(t, r.GetModel())
}

func TestAModelExplainsAnOrder(t *testing.T) {
	t.Parallel()
	w, fake, id := startExplaining(t)
	got := w.explain(t.Context(), t, id)
	require.Equal(t, "All is well.", got.GetText())
	require.False(t, got.GetDegraded())
	require.Equal(t, "small-2", got.GetModel())
	require.Equal(t, "acme", fake.tenant, "whose budget it is")

	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, w.http+"/v1/orders/"+id+":explain", http.NoBody)
	require.NoError(t, err)
	r.Header.Set("Authorization", "Bearer "+auth.DevelopmentKey)
	response, err := http.DefaultClient.Do(r)
	require.NoError(t, err)
	defer func() { require.NoError(t, response.Body.Close()) }()
	body, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	require.JSONEq(t, `{"text": "All is well.", "model": "small-2"}`, string(body))
}

func TestAModelLearnsOnlyWhatIsNobodysOwn(t *testing.T) {
	t.Parallel()
	w, fake, id := startExplaining(t)
	w.explain(t.Context(), t, id)
	order := w.get(t, id)
	prompt := fake.calls()[0].GetPrompt()
	require.Equal(t, "small", prompt.GetModel())
	require.EqualValues(t, maxExplanation, prompt.GetMaxTokens())
	sent := prompt.String()
	for _, private := range []string{"ada", "neighbour", "pm_card_ok", "acme", id, order.GetPaymentId()} {
		require.NotContains(t, sent, private)
	}
	var told map[string]any
	require.NoError(t, json.Unmarshal([]byte(prompt.GetMessages()[0].GetParts()[0].GetText()), &told))
	require.Equal(t, "PAID", told["state"])
	require.ElementsMatch(t, []string{"state", "lines", "total", "placed", "changed"}, keysOf(told))
}

func TestWithoutAModelAPlainSentenceSaysHowAnOrderStands(t *testing.T) {
	t.Parallel()
	w, fake, id := startExplaining(t)
	stop := llmv1.FinishReason_FINISH_REASON_STOP
	call := &llmv1.Part{Kind: &llmv1.Part_ToolCall{ToolCall: &llmv1.ToolCall{Id: "1", Name: "f"}}}
	for name, answer := range map[string]llmAnswer{
		"it cannot be reached":      fails(status.Error(codes.Unavailable, "connection refused")),
		"it fails":                  fails(status.Error(codes.Internal, "a bug")),
		"it refuses the service":    fails(apierror.New(apierror.ReasonPermissionDenied, "no scope")),
		"it does not know":          fails(status.Error(codes.Unimplemented, "unknown service")),
		"the model is not there":    fails(apierror.New(apierror.ReasonNotFound, "no such model")),
		"it is overloaded":          fails(apierror.New(apierror.ReasonOverloaded, "later", apierror.WithRetryAfter(time.Minute))),
		"the budget is spent":       fails(apierror.New(apierror.ReasonBudgetSpent, "nothing left")),
		"the generation was cut":    fails(apierror.New(apierror.ReasonGenerationInterrupted, "cut")),
		"the answer is cut":         says(llmv1.FinishReason_FINISH_REASON_LENGTH, "All is"),
		"the model declines":        says(llmv1.FinishReason_FINISH_REASON_REFUSAL, "I cannot."),
		"the answer is withheld":    says(llmv1.FinishReason_FINISH_REASON_CONTENT_FILTER),
		"it did not say why it end": says(llmv1.FinishReason_FINISH_REASON_UNSPECIFIED, "All is well."),
		"the answer is empty":       says(stop),
		"the answer is blank":       says(stop, " \n"),
		"the answer is a novel":     says(stop, strings.Repeat("All is well. ", 1000)),
		"the answer is a tool call": func(context.Context) (*llmv1.GenerateResponse, error) {
			return &llmv1.GenerateResponse{FinishReason: stop, Parts: []*llmv1.Part{call}}, nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			before := len(fake.calls())
			fake.says(answer)
			requirePlain(t, w.explain(t.Context(), t, id))
			require.Len(t, fake.calls(), before+1, "it was asked once")
		})
	}
}

func TestWithoutAGatewayAPlainSentenceSaysHowAnOrderStands(t *testing.T) {
	t.Parallel()
	t.Run("none is configured", func(t *testing.T) {
		w := startWhole(t)
		requirePlain(t, w.explain(t.Context(), t, w.create(t, cups()).GetId()))
	})
	t.Run("nobody answers at its address", func(t *testing.T) {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(t, err)
		require.NoError(t, listener.Close())
		w := newWorld(t).replica(t, "HOLDFAST_LLM_TARGET", "dns:///"+listener.Addr().String())
		requirePlain(t, w.explain(t.Context(), t, w.create(t, cups()).GetId()))
	})
}

func TestAnOrderOfAnotherTenantIsNotExplained(t *testing.T) {
	t.Parallel()
	w, fake, id := startExplaining(t)
	_, err := w.other.ExplainOrder(t.Context(), &ordersv1.ExplainOrderRequest{Id: id})
	require.Equal(t, codes.NotFound, status.Code(err))
	_, err = w.client.ExplainOrder(t.Context(), &ordersv1.ExplainOrderRequest{Id: uuid.NewString()})
	require.Equal(t, codes.NotFound, status.Code(err))
	require.Empty(t, fake.calls())
}

// TestASlowModelIsNotWaitedFor also shows that the deadline goes along: the fake
// hangs until it is told that nobody waits.
func TestASlowModelIsNotWaitedFor(t *testing.T) {
	t.Parallel()
	w, fake, id := startExplaining(t)
	fake.says(hangs)
	t.Run("for longer than the method has", func(t *testing.T) {
		requirePlain(t, w.explain(t.Context(), t, id))
	})
	t.Run("for longer than the caller has", func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), patience) // as long as a model would get
		defer cancel()
		requirePlain(t, w.explain(ctx, t, id))
	})
}

func TestAModelGetsAtMostThreeQuartersOfTheTime(t *testing.T) {
	t.Parallel()
	now := time.Now()
	require.Equal(t, patience, patienceOf(t.Context(), now))
	for left, want := range map[time.Duration]time.Duration{
		time.Second: 750 * time.Millisecond, 3 * time.Second: patience, -time.Second: -750 * time.Millisecond,
	} {
		ctx, cancel := context.WithDeadline(t.Context(), now.Add(left))
		require.Equal(t, want, patienceOf(ctx, now))
		cancel()
	}
}

// TestModelsThatHangTakeNothingFromOthers: sixteen calls hang, the next does not
// wait, and what needs no model does not notice.
func TestModelsThatHangTakeNothingFromOthers(t *testing.T) {
	t.Parallel()
	w, fake, id := startExplaining(t)
	most := modelsAreWorth().MaxConcurrent
	fake.says(hangs)
	var hanging sync.WaitGroup
	defer hanging.Wait()
	for range most {
		hanging.Go(func() {
			_, err := w.client.ExplainOrder(context.WithoutCancel(t.Context()), &ordersv1.ExplainOrderRequest{Id: id})
			assert.NoError(t, err)
		})
	}
	eventually(t, "all hang", func() bool { return len(fake.calls()) == most })
	requirePlain(t, w.explain(t.Context(), t, id))
	require.Len(t, fake.calls(), most, "one more was not asked")
	require.Equal(t, id, w.get(t, id).GetId())
	require.Equal(t, statePaid, w.create(t, cups()).GetState())
}

func TestAGatewayThatIsSlowOrFailsIsLeftAlone(t *testing.T) {
	t.Parallel()
	worth := modelsAreWorth()
	for name, fail := range map[string]func(t *testing.T, w *whole, fake *fakeLLM, id string){
		"it fails": func(t *testing.T, w *whole, fake *fakeLLM, id string) {
			fake.says(fails(status.Error(codes.Unavailable, "down")))
			for range worth.BreakerMinCalls {
				requirePlain(t, w.explain(t.Context(), t, id))
			}
		},
		// As many hang as may at once; those that fail would not do alone.
		"it is slow": func(t *testing.T, w *whole, fake *fakeLLM, id string) {
			fake.says(hangs)
			var hanging sync.WaitGroup
			for range worth.MaxConcurrent {
				hanging.Go(func() {
					_, err := w.client.ExplainOrder(t.Context(), &ordersv1.ExplainOrderRequest{Id: id})
					assert.NoError(t, err)
				})
			}
			hanging.Wait()
			fake.says(fails(status.Error(codes.Unavailable, "down")))
			for range worth.BreakerMinCalls - 1 {
				requirePlain(t, w.explain(t.Context(), t, id))
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w, fake, id := startExplaining(t)
			fail(t, w, fake, id)
			before := len(fake.calls())
			fake.says(says(llmv1.FinishReason_FINISH_REASON_STOP, "All is well."))
			requirePlain(t, w.explain(t.Context(), t, id))
			require.Len(t, fake.calls(), before, "it was not asked")
		})
	}
}

func TestInWords(t *testing.T) {
	t.Parallel()
	line := func(id string) Line { return Line{id, 2, money.Amount{Currency: "USD", Minor: 450}} }
	order := func(state State, lines ...Line) *Order {
		total, err := sum(lines)
		require.NoError(t, err)
		return &Order{state: state, lines: lines, total: total}
	}
	for state, end := range map[State]string{
		PendingPayment: "not known yet. There is nothing to do.",
		Paid:           "is accepted and paid.",
		PaymentFailed:  "was not paid, so nothing was charged and nothing will be sent. It can be placed again.",
		Cancelling:     "is on its way back.",
		Cancelled:      "is cancelled, and nothing is owed.",
	} {
		text := inWords(order(state, line("cup")))
		require.True(t, strings.HasPrefix(text, "The order of 2 × cup for "), text)
		require.Contains(t, text, end)
	}
	for n, want := range map[int]string{
		2: "2 × a and 2 × b for", 3: "2 × a, 2 × b and 2 × c for",
		4: "2 × a, 2 × b, 2 × c and 1 other product for", 6: "2 × c and 3 other products for",
	} {
		var lines []Line
		for i := range n {
			lines = append(lines, line(string(rune('a'+i))))
		}
		require.Contains(t, inWords(order(Paid, lines...)), want)
	}
}

func TestAPromptIsBoundedHoweverLargeTheOrder(t *testing.T) {
	t.Parallel()
	o := &Order{state: Paid, total: money.Amount{Currency: "USD", Minor: 1}}
	for i := range 100 {
		o.lines = append(o.lines, Line{fmt.Sprint(strings.Repeat("p", 60), i), 1, o.total})
	}
	text, err := factsOf(o)
	require.NoError(t, err)
	require.Less(t, len(text), 4000)
}

func keysOf(m map[string]any) []string {
	var keys []string
	for k := range m {
		keys = append(keys, k)
	}
	return keys
}
