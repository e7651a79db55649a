package drill

import (
	"context"
	"sync"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	ordersv1 "github.com/holdfast-dev/holdfast/proto/holdfast/orders/v1"
	"github.com/holdfast-dev/holdfast/test/load"
)

// fakeShop is an orders service that keeps the rules of idempotency keys, as far
// as it is not told to break one.
type fakeShop struct {
	mu     sync.Mutex
	stored map[string]stored

	replaysDiffer, replaysUnmarked, keysReusable, cardsWrong bool
}

type stored struct{ request, answer []byte }

func (f *fakeShop) Name() string { return "fake" }
func (f *fakeShop) Close()       {}

func (f *fakeShop) Send(_ context.Context, key string, message proto.Message) load.Exchange {
	f.mu.Lock()
	defer f.mu.Unlock()
	request, err := proto.MarshalOptions{Deterministic: true}.Marshal(message)
	if err != nil {
		return load.Exchange{Err: err}
	}
	known, seen := f.stored[key]
	switch {
	case seen && string(known.request) == string(request):
		answer := known.answer
		if f.replaysDiffer {
			answer = f.answer(message.(*ordersv1.CreateOrderRequest))
		}
		return load.Exchange{OK: true, Body: answer, Replayed: !f.replaysUnmarked}
	case seen && !f.keysReusable:
		return load.Exchange{Code: "grpc FAILED_PRECONDITION", Reason: "KEY_REUSED", Retry: "never"}
	}
	answer := f.answer(message.(*ordersv1.CreateOrderRequest))
	f.stored[key] = stored{request, answer}
	return load.Exchange{OK: true, Body: answer}
}

func (f *fakeShop) answer(request *ordersv1.CreateOrderRequest) []byte {
	state := ordersv1.OrderState_ORDER_STATE_PAID
	if request.GetPaymentMethod() == "pm_card_declined" && !f.cardsWrong {
		state = ordersv1.OrderState_ORDER_STATE_PAYMENT_FAILED
	}
	body, err := proto.Marshal(&ordersv1.CreateOrderResponse{Order: &ordersv1.Order{Id: uuid.NewString(), State: state}})
	if err != nil {
		panic(err)
	}
	return body
}

// shop lets a shopper visit a shop and returns what it complained about.
func shop(t *testing.T, f *fakeShop) (complaints map[string]int, s *shopper, replayed int) {
	t.Helper()
	f.stored = map[string]stored{}
	s = newShopper(7, sender{f, "proto"})
	complaints = map[string]int{}
	for n := range int64(500) {
		verdict := s.visit(t.Context(), load.Arrival{Number: n, Key: uuid.NewString()})
		if verdict.Failure != nil {
			complaints[verdict.Failure.Detail]++
		}
		if verdict.Replayed {
			replayed++
		}
	}
	return complaints, s, replayed
}

func TestAShopperHasNothingToSayOfAGoodShop(t *testing.T) {
	complaints, s, replayed := shop(t, &fakeShop{})
	require.Empty(t, complaints)
	require.NotZero(t, replayed)
	refused, marked := 0, 0
	for _, attempt := range s.history() {
		if attempt.Refusal == "KEY_REUSED" {
			refused++
		}
		if attempt.Marker != "" {
			marked++
		}
	}
	require.NotZero(t, refused)
	require.Equal(t, 500, marked+replayed)
	require.Len(t, s.history(), 500)
}

func TestAShopperNoticesEveryBrokenPromise(t *testing.T) {
	for _, test := range []struct {
		name string
		shop *fakeShop
		want string
	}{
		{"replays with other bytes", &fakeShop{replaysDiffer: true}, "a replay has other bytes than the first answer"},
		{"replays that are not marked", &fakeShop{replaysUnmarked: true}, "a repeated request was not answered as a replay"},
		{"keys that can be used again", &fakeShop{keysReusable: true}, "a key was accepted for another request"},
	} {
		t.Run(test.name, func(t *testing.T) {
			complaints, _, _ := shop(t, test.shop)
			require.Contains(t, complaints, test.want)
		})
	}
	complaints, _, _ := shop(t, &fakeShop{cardsWrong: true})
	require.NotEmpty(t, complaints, "a declined card that pays")
}
