package drill

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/google/uuid"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	ordersv1 "github.com/holdfast-dev/holdfast/proto/holdfast/orders/v1"
	"github.com/holdfast-dev/holdfast/test/invariants"
	"github.com/holdfast-dev/holdfast/test/load"
)

// shopper places orders in every way there is and remembers all of it. Most
// requests are fresh orders; some are sent again with their key, which must
// replay the stored answer byte for byte; a few use an old key for another
// order, which must be refused.
type shopper struct {
	senders []sender
	seed    uint64
	cancels bool // somebody cancels orders, also while they are placed

	mu       sync.Mutex
	attempts []invariants.Attempt
	placed   [][]placement // by sender: what can be sent again
}

// sender is a way to send, and how its answers are encoded.
type sender struct {
	load.Sender
	encoding string
}

// placement is an order that was acknowledged.
type placement struct {
	id      string
	key     string
	request *ordersv1.CreateOrderRequest
	body    []byte
}

// What is done with an arrival, in percent; the rest are fresh orders.
const (
	replayPercent = 8
	reusePercent  = 3
	// Of the fresh orders, so many are paid with a card that is declined, and so
	// many with one that takes a second to answer: whenever a replica is told to
	// go, requests are under way on it.
	declinePercent = 10
	slowPercent    = 15
)

func newShopper(seed uint64, senders ...sender) *shopper {
	return &shopper{senders: senders, seed: seed, placed: make([][]placement, len(senders))}
}

// visit is one arrival: the load generator's operation.
func (s *shopper) visit(ctx context.Context, a load.Arrival) load.Verdict {
	// Drawn from the seed and the arrival, so that a seed names a run, as far as
	// clocks allow.
	random := rand.New(rand.NewPCG(s.seed, uint64(a.Number))) // reproducible on purpose
	via := random.IntN(len(s.senders))
	draw := random.IntN(100)
	if draw < replayPercent+reusePercent {
		if known, ok := s.pick(random, via); ok {
			if draw < replayPercent {
				return s.replay(ctx, via, known)
			}
			return s.reuse(ctx, via, known, random)
		}
	}
	return s.place(ctx, via, a.Key, random)
}

// place sends a fresh order.
func (s *shopper) place(ctx context.Context, via int, key string, random *rand.Rand) load.Verdict {
	request := freshOrder(random)
	want := ordersv1.OrderState_ORDER_STATE_PAID
	switch card := random.IntN(100); {
	case card < declinePercent:
		request.PaymentMethod, want = "pm_card_declined", ordersv1.OrderState_ORDER_STATE_PAYMENT_FAILED
	case card < declinePercent+slowPercent:
		request.PaymentMethod = "pm_card_slow"
	}
	exchange, order, verdict := s.send(ctx, via, key, request, request.GetShippingNote())
	if verdict.Failure != nil {
		return verdict
	}
	if state := order.GetState(); state != want && !s.alsoRight(state) {
		verdict.Failure = load.Wrong(fmt.Sprintf("order %s is %s, the card says %s", order.GetId(), state, want))
		return verdict
	}
	s.mu.Lock()
	s.placed[via] = append(s.placed[via], placement{order.GetId(), key, request, exchange.Body})
	s.mu.Unlock()
	return verdict
}

// alsoRight reports whether an order may be answered in a state whatever the card
// says: while its payment is not known, and where it may have been cancelled
// meanwhile.
func (s *shopper) alsoRight(state ordersv1.OrderState) bool {
	switch state {
	case ordersv1.OrderState_ORDER_STATE_PENDING_PAYMENT:
		return true
	case ordersv1.OrderState_ORDER_STATE_CANCELLING, ordersv1.OrderState_ORDER_STATE_CANCELLED:
		return s.cancels
	default:
		return false
	}
}

// replay sends an acknowledged order again, with its key.
func (s *shopper) replay(ctx context.Context, via int, known placement) load.Verdict {
	exchange, _, verdict := s.send(ctx, via, known.key, known.request, "")
	switch {
	case verdict.Failure != nil:
	case !exchange.Replayed:
		verdict.Failure = load.Wrong("a repeated request was not answered as a replay")
	case !bytes.Equal(exchange.Body, known.body):
		verdict.Failure = load.Wrong("a replay has other bytes than the first answer")
	}
	return verdict
}

// askAgain sends every acknowledged order once more, with its key and by the way it
// came: whatever was stored, and by whom, must be what was answered then. It
// returns how many were not answered rightly.
func (s *shopper) askAgain(ctx context.Context) (wrong int) {
	for via := range s.senders {
		s.mu.Lock()
		placed := slices.Clone(s.placed[via])
		s.mu.Unlock()
		for _, known := range placed {
			bounded, cancel := context.WithTimeout(ctx, patienceOfAttempt)
			if s.replay(bounded, via, known).Failure != nil {
				wrong++
			}
			cancel()
		}
	}
	return wrong
}

// reuse sends another order with a key that was used.
func (s *shopper) reuse(ctx context.Context, via int, known placement, random *rand.Rand) load.Verdict {
	other := proto.CloneOf(known.request)
	other.ShippingNote = "reused " + marker(random)
	exchange, _, verdict := s.send(ctx, via, known.key, other, other.GetShippingNote())
	switch {
	case exchange.Reason == "KEY_REUSED":
		verdict.Failure = nil // as it must be
	case exchange.OK:
		verdict.Failure = load.Wrong("a key was accepted for another request")
	}
	return verdict
}

// send performs one attempt and writes it into the history.
func (s *shopper) send(ctx context.Context, via int, key string, request *ordersv1.CreateOrderRequest, marker string) (load.Exchange, *ordersv1.Order, load.Verdict) {
	return s.attempt(ctx, s.senders[via], key, request, invariants.Attempt{Request: "order " + request.GetShippingNote(), Marker: marker})
}

// answer is what CreateOrder and CancelOrder answer with.
type answer interface {
	proto.Message
	GetOrder() *ordersv1.Order
}

// attempt performs one attempt and writes it into the history, where what says
// what was asked.
func (s *shopper) attempt(
	ctx context.Context, via sender, key string, request proto.Message, what invariants.Attempt,
) (load.Exchange, *ordersv1.Order, load.Verdict) {
	what.Sent, what.Via, what.Encoding, what.Key = time.Now(), via.Name(), via.encoding, key
	exchange := via.Send(ctx, key, request)
	verdict := load.Verdict{
		Failure:            exchange.Failure(),
		Replayed:           exchange.Replayed,
		Version:            exchange.Version,
		TransparentRetries: exchange.TransparentRetries,
	}
	what.At, what.OK, what.Replayed, what.Body, what.Refusal = time.Now(), exchange.OK, exchange.Replayed, exchange.Body, exchange.Reason
	var order *ordersv1.Order
	if exchange.OK {
		var into answer = &ordersv1.CreateOrderResponse{}
		if _, cancels := request.(*ordersv1.CancelOrderRequest); cancels {
			into = &ordersv1.CancelOrderResponse{}
		}
		var err error
		if order, err = decodeOrder(via.encoding, exchange.Body, into); err != nil {
			verdict.Failure = load.Wrong(err.Error())
		}
		what.Order, _ = uuid.Parse(order.GetId()) // the zero id is found missing
		what.State = stateName(order.GetState())
	}
	if verdict.Failure != nil {
		what.Failure = verdict.Failure.Kind + ": " + verdict.Failure.Detail
	}
	s.mu.Lock()
	s.attempts = append(s.attempts, what)
	s.mu.Unlock()
	return exchange, order, verdict
}

// pick draws one of the orders that were placed by the same way: a replay is
// byte for byte the same within one encoding.
func (s *shopper) pick(random *rand.Rand, via int) (placement, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	known := s.placed[via]
	if len(known) == 0 {
		return placement{}, false
	}
	return known[random.IntN(len(known))], true
}

// anyOrder draws the id of one of the orders that were placed; empty if there is
// none.
func (s *shopper) anyOrder(random *rand.Rand) string {
	first := random.IntN(len(s.senders))
	for n := range s.senders {
		if known, ok := s.pick(random, (first+n)%len(s.senders)); ok {
			return known.id
		}
	}
	return ""
}

// placedWith is the id of the order that was placed with a key; empty if there is
// none.
func (s *shopper) placedWith(key string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, placed := range s.placed {
		for _, known := range slices.Backward(placed) { // it is one of the last
			if known.key == key {
				return known.id
			}
		}
	}
	return ""
}

// history is everything that was sent and answered so far.
func (s *shopper) history() []invariants.Attempt {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]invariants.Attempt(nil), s.attempts...)
}

func (s *shopper) close() {
	for _, sender := range s.senders {
		sender.Close()
	}
}

// freshOrder is an order of one to three products, paid with a good card, with
// a note of its own.
func freshOrder(random *rand.Rand) *ordersv1.CreateOrderRequest {
	catalogue := []string{"espresso-beans", "filter-beans", "decaf-beans", "aeropress", "filter-papers"}
	random.Shuffle(len(catalogue), func(i, j int) { catalogue[i], catalogue[j] = catalogue[j], catalogue[i] })
	request := &ordersv1.CreateOrderRequest{PaymentMethod: "pm_card_ok", ShippingNote: "note " + marker(random)}
	for _, product := range catalogue[:1+random.IntN(3)] {
		request.Lines = append(request.Lines, &ordersv1.CreateOrderRequest_Line{
			ProductId: product, Quantity: int32(1 + random.IntN(3)), // 1 to 3
		})
	}
	return request
}

// marker tells a request from all others. It is drawn, and not made up, so that a
// client that tries again sends the same request.
func marker(random *rand.Rand) string {
	return fmt.Sprintf("%016x%016x", random.Uint64(), random.Uint64())
}

func decodeOrder(encoding string, body []byte, response answer) (*ordersv1.Order, error) {
	var err error
	if encoding == "json" {
		err = protojson.Unmarshal(body, response)
	} else {
		err = proto.Unmarshal(body, response)
	}
	if err != nil {
		return nil, fmt.Errorf("the answer cannot be read: %w", err)
	}
	if response.GetOrder() == nil {
		return nil, fmt.Errorf("the answer holds no order")
	}
	return response.GetOrder(), nil
}

// stateName is the state as the database has it.
func stateName(state ordersv1.OrderState) string {
	const prefix = len("ORDER_STATE_")
	if name := state.String(); len(name) > prefix {
		return name[prefix:]
	}
	return state.String()
}
