package drill

import (
	"context"
	"math/rand/v2"
	"net/http"

	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"

	"github.com/holdfast-dev/holdfast/pkg/auth"
	ordersv1 "github.com/holdfast-dev/holdfast/proto/holdfast/orders/v1"
	"github.com/holdfast-dev/holdfast/test/load"
)

// way is how requests travel.
type way struct {
	rpc         bool // gRPC; else HTTP
	connections load.Connections
}

// everyWay is gRPC and HTTP, on reused and on new connections.
var everyWay = []way{{true, load.Reused}, {false, load.Reused}, {true, load.New}, {false, load.New}}

// connectionsOfStage is how many reused connections each kind of client has: two
// for each of three replicas.
const connectionsOfStage = 6

const credential = "Bearer " + auth.DevelopmentKey

// shopper returns clients that place orders.
func (s *stage) shopper(seed uint64, ways []way) (*shopper, error) {
	var senders []sender
	for _, w := range ways {
		if !w.rpc {
			overHTTP := load.NewHTTP("http://"+s.web+"/v1/orders", http.Header{"Authorization": {credential}}, w.connections, connectionsOfStage)
			senders = append(senders, sender{overHTTP, "json"})
			continue
		}
		overGRPC, err := s.overGRPC(ordersv1.OrdersService_CreateOrder_FullMethodName, w.connections)
		if err != nil {
			return nil, err
		}
		senders = append(senders, sender{overGRPC, "proto"})
	}
	shopper := newShopper(seed, senders...)
	s.onClose(func(context.Context) { shopper.close() })
	return shopper, nil
}

// follower returns clients that follow what the shopper has bought.
func (s *stage) follower(by *shopper) (*follower, error) {
	w, err := newFollower(by, s.rpc, s.web, credential, connectionsOfStage)
	if err == nil {
		s.onClose(func(context.Context) { w.close() })
	}
	return w, err
}

func (s *stage) overGRPC(method string, connections load.Connections) (load.Sender, error) {
	return load.NewGRPC(s.rpc, method, metadata.Pairs("authorization", credential), connections, connectionsOfStage)
}

// question is something that clients read, over gRPC and over HTTP.
type question struct {
	senders []load.Sender
	request func(*rand.Rand) proto.Message
}

// question returns clients that ask method with what request draws, which is
// path over HTTP.
func (s *stage) question(method string, request func(*rand.Rand) proto.Message, path func(proto.Message) string) (question, error) {
	overGRPC, err := s.overGRPC(method, load.Reused)
	if err != nil {
		return question{}, err
	}
	overHTTP := load.NewHTTPGet(func(m proto.Message) string { return "http://" + s.web + path(m) },
		http.Header{"Authorization": {credential}}, load.Reused, connectionsOfStage)
	q := question{[]load.Sender{overGRPC, overHTTP}, request}
	s.onClose(func(context.Context) {
		for _, sender := range q.senders {
			sender.Close()
		}
	})
	return q, nil
}

// products asks what there is to buy.
func (s *stage) products() (question, error) {
	return s.question(ordersv1.OrdersService_ListProducts_FullMethodName,
		func(*rand.Rand) proto.Message { return &ordersv1.ListProductsRequest{} },
		func(proto.Message) string { return "/v1/products" })
}

// listed asks for the newest orders.
func (s *stage) listed() (question, error) {
	return s.question(ordersv1.OrdersService_ListOrders_FullMethodName,
		func(*rand.Rand) proto.Message { return &ordersv1.ListOrdersRequest{PageSize: 10} },
		func(proto.Message) string { return "/v1/orders?page_size=10" })
}

// placedBefore asks for one of the orders that the shopper has placed.
func (s *stage) placedBefore(by *shopper) (question, error) {
	return s.question(ordersv1.OrdersService_GetOrder_FullMethodName,
		func(random *rand.Rand) proto.Message { return &ordersv1.GetOrderRequest{Id: by.anyOrder(random)} },
		func(m proto.Message) string { return "/v1/orders/" + m.(*ordersv1.GetOrderRequest).GetId() })
}

// mixed performs one of the operations for each arrival, drawn from the seed.
func mixed(seed uint64, operations ...func(context.Context, load.Arrival, *rand.Rand) load.Verdict) load.Operation {
	return func(ctx context.Context, a load.Arrival) load.Verdict {
		random := rand.New(rand.NewPCG(seed, uint64(a.Number))) // reproducible on purpose
		return operations[random.IntN(len(operations))](ctx, a, random)
	}
}

// ask asks once, over gRPC or HTTP.
func (q question) ask(ctx context.Context, a load.Arrival, random *rand.Rand) load.Verdict {
	exchange := q.senders[random.IntN(len(q.senders))].Send(ctx, a.Key, q.request(random))
	return load.Verdict{Failure: exchange.Failure(), Version: exchange.Version}
}

// flow is one kind of traffic under way.
type flow struct {
	name string
	*load.Run
}

// flows are all kinds of traffic under way.
type flows []flow

func (f flows) phase(name string) {
	for _, one := range f {
		one.Phase(name)
	}
}

// stop ends all of them, waits for what is under way, and hands it to the judge.
func (f flows) stop(v *Verdict) {
	f.wait()
	for _, one := range f.seen() {
		v.add(one.traffic, one.Report)
	}
}

// wait ends all of them, and waits for what is under way.
func (f flows) wait() {
	for _, one := range f {
		one.End()
	}
	for _, one := range f {
		one.Stop()
	}
}

// seen is what was answered so far.
func (f flows) seen() []seen {
	var all []seen
	for _, one := range f {
		all = append(all, seen{one.name, one.Report()})
	}
	return all
}

// seen is what became of one kind of traffic.
type seen struct {
	traffic string
	load.Report
}

// watches is the kind of traffic that follows orders. Orders have no name where
// they are what a drill is about.
const watches = "watches"

// shopping begins the load of drills in which nothing may fail: orders, and those
// who watch them.
func shopping(ctx context.Context, o Options, retries int, orders *shopper, watching *follower) flows {
	all := flows{{"", load.Start(ctx, load.Plan{Rate: o.Rate, Operation: orders.visit, Retries: retries}, "before")}}
	if o.Watches > 0 {
		all = append(all, flow{watches, load.Start(ctx, load.Plan{Rate: o.Watches, Operation: watching.visit, Retries: retries}, "before")})
	}
	return all
}

// progress is how far all of them together have got.
func (f flows) progress() (all load.Progress) {
	for _, one := range f {
		p := one.Progress()
		all.Sent, all.Failed, all.Outstanding = all.Sent+p.Sent, all.Failed+p.Failed, all.Outstanding+p.Outstanding
	}
	return all
}
