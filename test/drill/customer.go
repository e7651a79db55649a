package drill

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"

	"google.golang.org/protobuf/proto"

	ordersv1 "github.com/holdfast-dev/holdfast/proto/holdfast/orders/v1"
	"github.com/holdfast-dev/holdfast/test/invariants"
	"github.com/holdfast-dev/holdfast/test/load"
)

// customer is a shopper who changes their mind: one who sends an order twice at
// once, cancels orders while they are being paid and afterwards, and edits them.
type customer struct {
	*shopper
	list, read, edit, cancel load.Sender

	mu     sync.Mutex
	chosen map[int64]string // which order an arrival is about: a retry is about the same
}

// What a customer does with an arrival, in percent; the rest are a shopper's.
const (
	twinPercent   = 20
	cancelPercent = 12
	editPercent   = 12
)

// customer returns clients that do all that can be done to an order.
func (s *stage) customer(seed uint64, ways []way) (*customer, error) {
	shopper, err := s.shopper(seed, ways)
	if err != nil {
		return nil, err
	}
	shopper.cancels = true
	c := &customer{shopper: shopper, chosen: map[int64]string{}}
	for method, sender := range map[string]*load.Sender{
		ordersv1.OrdersService_ListOrders_FullMethodName:  &c.list,
		ordersv1.OrdersService_GetOrder_FullMethodName:    &c.read,
		ordersv1.OrdersService_UpdateOrder_FullMethodName: &c.edit,
		ordersv1.OrdersService_CancelOrder_FullMethodName: &c.cancel,
	} {
		if *sender, err = s.overGRPC(method, load.Reused); err != nil {
			return nil, err
		}
		s.onClose(func(context.Context) { (*sender).Close() })
	}
	return c, nil
}

// visit is one arrival: the load generator's operation.
func (c *customer) visit(ctx context.Context, a load.Arrival) load.Verdict {
	random := rand.New(rand.NewPCG(^c.seed, uint64(a.Number))) // reproducible on purpose
	switch draw := random.IntN(100); {
	case draw < twinPercent:
		return c.placeTwice(ctx, a, random)
	case draw < twinPercent+cancelPercent:
		if id := c.choose(ctx, a, random); id != "" {
			return c.cancelOrder(ctx, a.Key, id)
		}
	case draw < twinPercent+cancelPercent+editPercent:
		if id := c.choose(ctx, a, random); id != "" {
			return c.editOrder(ctx, id, random)
		}
	}
	verdict := c.shopper.visit(ctx, a)
	if a.Attempt > 0 && verdict.Failure == nil {
		c.editPlaced(ctx, a.Key, random) // one who had to wait has had second thoughts
	}
	return verdict
}

// placeTwice sends one order twice at the same moment, by two ways.
func (c *customer) placeTwice(ctx context.Context, a load.Arrival, random *rand.Rand) load.Verdict {
	seed, via := random.Uint64(), random.IntN(len(c.senders))
	twin := make(chan load.Verdict, 1)
	go func() { // awaited below
		twin <- c.place(ctx, (via+1)%len(c.senders), a.Key, rand.New(rand.NewPCG(seed, 0))) // the same order
	}()
	verdict := c.place(ctx, via, a.Key, rand.New(rand.NewPCG(seed, 0)))
	other := <-twin
	switch {
	case inFlight(verdict):
		return other
	case verdict.Failure == nil && !inFlight(other):
		verdict.Failure = other.Failure
	}
	return verdict
}

// inFlight reports whether a request was refused because its twin was under way.
func inFlight(v load.Verdict) bool { return v.Failure != nil && v.Failure.Reason == "KEY_IN_FLIGHT" }

// choose draws the order that an arrival is about: one that somebody is placing
// right now, or one that was placed. It returns "" if there is none.
func (c *customer) choose(ctx context.Context, a load.Arrival, random *rand.Rand) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	if id, known := c.chosen[a.Number]; known {
		return id
	}
	id := ""
	if random.IntN(2) == 0 {
		id = c.beingPlaced(ctx, random)
	}
	if id == "" {
		id = c.anyOrder(random)
	}
	c.chosen[a.Number] = id
	return id
}

// beingPlaced draws one of the orders whose payment is under way.
func (c *customer) beingPlaced(ctx context.Context, random *rand.Rand) string {
	var listed ordersv1.ListOrdersResponse
	exchange := c.list.Send(ctx, "", &ordersv1.ListOrdersRequest{PageSize: 20, State: ordersv1.OrderState_ORDER_STATE_PENDING_PAYMENT})
	if !exchange.OK || proto.Unmarshal(exchange.Body, &listed) != nil || len(listed.GetOrders()) == 0 {
		return ""
	}
	return listed.GetOrders()[random.IntN(len(listed.GetOrders()))].GetId()
}

// cancelOrder cancels an order, whatever has become of it. That there is nothing
// to cancel is an answer like any other.
func (c *customer) cancelOrder(ctx context.Context, key, id string) load.Verdict {
	_, order, verdict := c.attempt(ctx, sender{c.cancel, "proto"}, key, &ordersv1.CancelOrderRequest{Id: id},
		invariants.Attempt{Request: "cancel " + id})
	switch {
	case verdict.Failure != nil && verdict.Failure.Reason == "WRONG_STATE":
		verdict.Failure = nil
	case verdict.Failure == nil && order.GetId() != id:
		verdict.Failure = load.Wrong(fmt.Sprintf("order %s was cancelled in place of %s", order.GetId(), id))
	}
	return verdict
}

// editPlaced edits the order that was placed with a key. Whether that works does not
// matter here.
func (c *customer) editPlaced(ctx context.Context, key string, random *rand.Rand) {
	if id := c.placedWith(key); id != "" {
		c.editOrder(ctx, id, random)
	}
}

// editOrder changes where news about an order go. That somebody else was faster is
// an answer like any other.
func (c *customer) editOrder(ctx context.Context, id string, random *rand.Rand) load.Verdict {
	var found ordersv1.GetOrderResponse
	exchange := c.read.Send(ctx, "", &ordersv1.GetOrderRequest{Id: id})
	if !exchange.OK {
		return load.Verdict{Failure: exchange.Failure()}
	}
	if err := proto.Unmarshal(exchange.Body, &found); err != nil {
		return load.Verdict{Failure: load.Wrong(err.Error())}
	}
	exchange = c.edit.Send(ctx, "", &ordersv1.UpdateOrderRequest{
		Id: id, Etag: found.GetOrder().GetEtag(), ContactEmail: proto.String("buyer-" + marker(random) + "@example.com"),
	})
	if exchange.Reason == "ETAG_MISMATCH" {
		return load.Verdict{}
	}
	return load.Verdict{Failure: exchange.Failure()}
}
