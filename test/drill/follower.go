package drill

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	ordersv1 "github.com/holdfast-dev/holdfast/proto/holdfast/orders/v1"
	"github.com/holdfast-dev/holdfast/test/load"
)

// follower follows orders while it changes them. A watch must have every revision
// once and in order. It may end if it is handed over: with DRAINING, and with where
// to go on. Whatever else ends it is a failure, and so is a gap or a repeat.
type follower struct {
	shopper   *shopper // knows orders
	streams   []streamer
	read      load.Sender // GetOrder
	edit      load.Sender // UpdateOrder
	seed      uint64
	pause     time.Duration // between two edits
	handovers atomic.Int64
}

// streamer is a way to watch, and how its messages are encoded.
type streamer struct {
	load.Streamer
	encoding string
}

// A watch sees so many edits, of whoever watches, and lasts about as long as a
// drain: every replica that leaves has some.
const (
	editsOfWatch = 4
	editEvery    = 700 * time.Millisecond
)

// newFollower returns a follower that reaches orders by these addresses.
func newFollower(by *shopper, rpc, web, credential string, connections int) (*follower, error) {
	md := metadata.Pairs("authorization", credential)
	w := &follower{shopper: by, seed: by.seed, pause: editEvery}
	for _, method := range []struct {
		name string
		use  func(*load.GRPC)
	}{
		{ordersv1.OrdersService_GetOrder_FullMethodName, func(g *load.GRPC) { w.read = g }},
		{ordersv1.OrdersService_UpdateOrder_FullMethodName, func(g *load.GRPC) { w.edit = g }},
		{ordersv1.OrdersService_WatchOrder_FullMethodName, func(g *load.GRPC) { w.streams = append(w.streams, streamer{g, "proto"}) }},
	} {
		overGRPC, err := load.NewGRPC(rpc, method.name, md, load.Reused, connections)
		if err != nil {
			return nil, err
		}
		method.use(overGRPC)
	}
	// A stream has its connection to itself, as an EventSource does.
	events := load.NewHTTPGet(func(m proto.Message) string {
		r := m.(*ordersv1.WatchOrderRequest)
		return "http://" + web + "/v1/orders/" + r.GetId() + ":watch?" + url.Values{"resume_token": {r.GetResumeToken()}}.Encode()
	}, http.Header{"Authorization": {credential}}, load.New, 1)
	w.streams = append(w.streams, streamer{events, "json"})
	return w, nil
}

func (w *follower) close() {
	for _, s := range w.streams {
		s.Close()
	}
	w.read.Close()
	w.edit.Close()
}

// visit is one arrival: one watch, from the first message to the last edit.
func (w *follower) visit(ctx context.Context, a load.Arrival) load.Verdict {
	random := rand.New(rand.NewPCG(w.seed, ^uint64(a.Number))) // reproducible on purpose
	id := w.shopper.anyOrder(random)
	if id == "" { // nobody has bought anything yet
		return w.shopper.place(ctx, random.IntN(len(w.shopper.senders)), a.Key, random)
	}
	ctx, leave := context.WithCancel(ctx)
	defer leave()
	f := &following{follower: w, ctx: ctx, via: w.streams[random.IntN(len(w.streams))], id: id}
	if failure := f.open(); failure != nil {
		return load.Verdict{Failure: failure}
	}
	defer func() { f.stream.Close() }()
	return load.Verdict{Failure: f.watch(leave, a.Key, "watched-"+marker(random)), Version: f.version}
}

// watch follows an order until it has seen the last of the edits made meanwhile.
func (f *following) watch(leave context.CancelFunc, key, mark string) *load.Failure {
	first, failure := f.next()
	if failure != nil {
		return failure
	}
	edited := make(chan *load.Failure, 1)
	go func() { // awaited below
		failure := f.change(f.ctx, key, first.GetOrder(), mark)
		if failure != nil {
			leave() // what is watched for does not come
		}
		edited <- failure
	}()
	failure = f.until(contact(mark, editsOfWatch))
	if failure != nil && !f.left {
		leave()
		<-edited
		return failure
	}
	if ofEdit := <-edited; ofEdit != nil {
		return ofEdit
	}
	return failure
}

// contact is what an edit writes. What the audit looks at is left alone.
func contact(mark string, n int) string { return mark + "-" + strconv.Itoa(n) + "@example.com" }

// change edits an order, over whatever others make of it meanwhile.
func (w *follower) change(ctx context.Context, key string, o *ordersv1.Order, mark string) *load.Failure {
	for n := 1; n <= editsOfWatch; {
		select {
		case <-time.After(w.pause):
		case <-ctx.Done():
			return nil
		}
		mail := contact(mark, n)
		exchange := w.edit.Send(ctx, key, &ordersv1.UpdateOrderRequest{Id: o.GetId(), Etag: o.GetEtag(), ContactEmail: &mail})
		var answer interface {
			proto.Message
			GetOrder() *ordersv1.Order
		} = &ordersv1.UpdateOrderResponse{}
		if exchange.Reason == "ETAG_MISMATCH" { // somebody else was faster
			exchange, answer = w.read.Send(ctx, key, &ordersv1.GetOrderRequest{Id: o.GetId()}), &ordersv1.GetOrderResponse{}
		} else {
			n++
		}
		if failure := exchange.Failure(); failure != nil {
			return failure
		}
		if err := proto.Unmarshal(exchange.Body, answer); err != nil {
			return load.Wrong("the answer cannot be read: " + err.Error())
		}
		o = answer.GetOrder()
	}
	return nil
}

// mostHandovers is how often one watch may be handed over: as often as there are old
// replicas. A switch of colours drains all of them at once, and who goes on at once may
// come to the next of them.
const mostHandovers = 3

// following is one watch on its way.
type following struct {
	*follower
	ctx     context.Context
	via     streamer
	id      string
	stream  load.Stream
	last    *ordersv1.WatchOrderResponse // the last message
	resumed int                          // how often
	left    bool                         // by ourselves
	version string
}

func (f *following) open() *load.Failure {
	stream, err := f.via.Open(f.ctx, &ordersv1.WatchOrderRequest{Id: f.id, ResumeToken: f.last.GetResumeToken()})
	if err != nil {
		return load.Exchange{Err: err}.Failure()
	}
	f.stream = stream
	return nil
}

// until reads to the message that has a contact.
func (f *following) until(contact string) *load.Failure {
	for {
		got, failure := f.next()
		if failure != nil || got.GetOrder().GetContactEmail() == contact {
			return failure
		}
	}
}

// next returns the next message, from the next stream if this one is handed over.
func (f *following) next() (*ordersv1.WatchOrderResponse, *load.Failure) {
	for {
		exchange := f.stream.Next()
		if exchange.Version != "" {
			f.version = exchange.Version
		}
		failure := exchange.Failure()
		if failure == nil {
			return f.judge(exchange.Body)
		}
		f.left = f.ctx.Err() != nil
		if exchange.Reason != "DRAINING" || f.resumed == mostHandovers {
			return nil, failure
		}
		if want := f.last.GetResumeToken(); f.last != nil && exchange.ResumeToken != want {
			return nil, load.Wrong(fmt.Sprintf("a drain says to go on from %q, the last message from %q", exchange.ResumeToken, want))
		}
		f.resumed++
		f.handovers.Add(1)
		f.stream.Close()
		if failure := f.open(); failure != nil {
			return nil, failure
		}
	}
}

// judge reads a message, which must be the one after the last.
func (f *following) judge(body []byte) (*ordersv1.WatchOrderResponse, *load.Failure) {
	got, err := decodeRevision(f.via.encoding, body)
	if err != nil {
		return nil, load.Wrong(err.Error())
	}
	if f.last != nil && got.GetRevision() != f.last.GetRevision()+1 {
		what := "a gap"
		if got.GetRevision() <= f.last.GetRevision() {
			what = "a repeat"
		}
		return nil, load.Wrong(fmt.Sprintf("%s: revision %d of order %s after %d", what, got.GetRevision(), f.id, f.last.GetRevision()))
	}
	f.last = got
	return got, nil
}

func decodeRevision(encoding string, body []byte) (*ordersv1.WatchOrderResponse, error) {
	var response ordersv1.WatchOrderResponse
	var err error
	if encoding == "json" {
		err = protojson.Unmarshal(body, &response)
	} else {
		err = proto.Unmarshal(body, &response)
	}
	switch {
	case err != nil:
		return nil, fmt.Errorf("the message cannot be read: %w", err)
	case response.GetOrder() == nil || response.GetRevision() < 1 || strings.TrimSpace(response.GetResumeToken()) == "":
		return nil, fmt.Errorf("the message is not whole: %v", &response)
	}
	return &response, nil
}
