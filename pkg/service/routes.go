package service

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/stats"

	"github.com/holdfast-dev/holdfast/pkg/apierror"
	"github.com/holdfast-dev/holdfast/pkg/policy"
)

// routes are the service's HTTP routes that speak protocols of their own. They
// stand beside the gateway; what the gateway is to API methods, the route itself
// is to its RPC.
type routes struct {
	mux      *http.ServeMux
	all      []*route
	inFlight atomic.Int64
}

// route is a [Route] behind the interceptors of streams.
type route struct {
	Route
	method  policy.Method
	maxBody int64
	// patience is how long the client may take to read one piece.
	patience time.Duration
	// call passes the interceptors, and then has the exchange serve.
	call     grpc.StreamHandler
	stats    stats.Handler
	inFlight *atomic.Int64
}

// newRoutes puts routes behind the interceptors of the blueprint. Its error has
// every route that could not work.
func newRoutes(all []Route, plan blueprint, ends func() endings) (*routes, error) {
	rs := &routes{mux: http.NewServeMux()}
	var problems []error
	interceptors := plan.chain.stream(throughGateway, ends)
	for _, r := range all {
		method, known := plan.chain.policies.Lookup(r.Method)
		switch {
		case !known:
			problems = append(problems, fmt.Errorf("the service refuses to start: route %q is of %q, which is none of its methods", r.Pattern, r.Method))
			continue
		case r.Handle == nil || r.Refuse == nil:
			problems = append(problems, fmt.Errorf("the service refuses to start: route %q lacks Handle or Refuse", r.Pattern))
			continue
		}
		added := &route{
			Route: r, method: method, maxBody: r.MaxBody, patience: plan.cfg.patience(),
			stats: plan.stats, inFlight: &rs.inFlight,
		}
		if added.maxBody == 0 {
			added.maxBody = int64(plan.cfg.MaxMessage)
		}
		added.call = chained(interceptors, &grpc.StreamServerInfo{FullMethod: r.Method, IsServerStream: true}, serveExchange)
		if err := rs.add(added); err != nil {
			problems = append(problems, err)
		}
	}
	return rs, errors.Join(problems...)
}

// add registers a route. A ServeMux panics at patterns that are malformed or
// conflict.
func (rs *routes) add(r *route) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("the service refuses to start: route %q: %v", r.Pattern, p)
		}
	}()
	if method, path, ok := strings.Cut(r.Pattern, " "); !ok || method == "" || !strings.HasPrefix(path, "/") {
		return fmt.Errorf("the service refuses to start: route %q must be a method and a path", r.Pattern)
	}
	rs.mux.Handle(r.Pattern, r)
	rs.all = append(rs.all, r)
	return nil
}

// chained makes one handler of interceptors, as gRPC does when a server is made.
func chained(interceptors []grpc.StreamServerInterceptor, info *grpc.StreamServerInfo, last grpc.StreamHandler) grpc.StreamHandler {
	for _, interceptor := range slices.Backward(interceptors) {
		next := last
		last = func(srv any, stream grpc.ServerStream) error { return interceptor(srv, stream, info, next) }
	}
	return last
}

// find returns the route of a request; nil if there is none.
func (rs *routes) find(r *http.Request) *route {
	if len(rs.all) == 0 {
		return nil
	}
	handler, _ := rs.mux.Handler(r)
	found, _ := handler.(*route) // or the mux's own: not found, or a redirect, which no API answers with
	return found
}

// at returns the methods that a path takes among the routes, and one of the routes;
// nil if none is there.
func (rs *routes) at(r *http.Request) (methods []string, one *route) {
	for _, method := range requestMethods {
		other := *r
		other.Method = method
		if found := rs.find(&other); found != nil {
			methods, one = append(methods, method), found
		}
	}
	return methods, one
}

// abandon waits a while for handlers whose connections were cut: what follows
// closes what they use.
func (rs *routes) abandon() {
	deadline := time.After(stubbornHandlers)
	tick := time.NewTicker(stubbornHandlers / 100)
	defer tick.Stop()
	for rs.inFlight.Load() > 0 {
		select {
		case <-tick.C:
		case <-deadline:
			return
		}
	}
}

// ServeHTTP answers a request that has passed the edge.
func (rt *route) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	rt.inFlight.Add(1)
	defer rt.inFlight.Add(-1)
	began := time.Now()
	ctx := rt.stats.TagRPC(callContext(r, rt.credential(r)), &stats.RPCTagInfo{FullMethodName: rt.Method})
	rt.stats.HandleRPC(ctx, &stats.Begin{BeginTime: began, IsServerStream: rt.method.Streaming}) //nolint:contextcheck // it is the request's, tagged

	timely := ctx
	if !rt.method.Streaming {
		var cancel context.CancelFunc
		timely, cancel = context.WithTimeout(ctx, rt.method.Timeout) // the interceptors of streams know none
		defer cancel()
	}
	stream := newRouteStream(rt.Method, w)
	x := &exchange{route: rt, request: r, answer: &routeAnswer{
		ResponseWriter: w, control: http.NewResponseController(w), patience: rt.patience, says: stream,
	}}
	stream.ctx = grpc.NewContextWithServerTransportStream(timely, transportOf{stream})
	err := rt.call(x, stream)
	rt.stats.HandleRPC(ctx, &stats.End{BeginTime: began, EndTime: time.Now(), Error: err}) //nolint:contextcheck // the same
	x.end(err)
}

// credential is the API key where the route has it, as Authorization says it.
func (rt *route) credential(r *http.Request) []string {
	credentials := r.Header.Values("Authorization")
	if rt.Credential == nil {
		return credentials
	}
	key := rt.Credential(r)
	if key == "" {
		return credentials
	}
	if bearer := "Bearer " + key; len(credentials) != 1 || !strings.EqualFold(credentials[0], bearer) {
		credentials = append([]string{bearer}, credentials...) // two are none: see pkg/auth
	}
	return credentials
}

// refuse answers with an error that everything before has typed.
func (rt *route) refuse(w http.ResponseWriter, r *http.Request, err error) {
	e, h := apierror.From(err), w.Header()
	if wait := e.RetryAfter(); wait > 0 {
		h.Set("Retry-After", strconv.Itoa(int(math.Ceil(wait.Seconds())))) // whole seconds; early is wasted
	}
	if e.HTTPStatus() == http.StatusUnauthorized {
		h.Set("WWW-Authenticate", "Bearer")
	}
	h.Set("Cache-Control", "no-store")
	rt.Refuse(w, r, e)
}

// exchange is one request of a route and its answer.
type exchange struct {
	route    *route
	request  *http.Request
	answer   *routeAnswer
	finished bool // Handle has returned without an error
	cut      bool // Handle panicked after the answer had begun, or to cut it off
}

// serveExchange is what the interceptors of a route call last.
func serveExchange(srv any, stream grpc.ServerStream) error {
	x, ok := srv.(*exchange)
	if !ok {
		return errUnknownMethod // an interceptor that puts another in its place would be a bug
	}
	return x.serve(stream)
}

// serve reads the body and has the route handle it.
func (x *exchange) serve(stream grpc.ServerStream) (err error) {
	ctx := stream.Context()
	body, err := readBody(x.request)
	if err != nil {
		return err
	}
	x.answer.stream = stream
	defer func() {
		switch p := recover(); {
		case p == nil:
		case p == any(http.ErrAbortHandler): // no bug: how a handler asks for the connection to be cut
			x.cut, err = true, context.Canceled
		default:
			x.cut = x.answer.begun
			panic(p) // what types errors turns it into one, and logs it
		}
	}()
	if err := x.route.Handle(x.answer, x.request.WithContext(ctx), body); err != nil {
		return err
	}
	x.finished = true
	return nil
}

// end is what becomes of the answer when the call has ended.
func (x *exchange) end(err error) {
	w := x.answer
	switch {
	case x.cut, w.broken != nil, w.begun && x.finished && err != nil:
		// What was sent is not all, and there is no way left to say so but this.
		panic(http.ErrAbortHandler)
	case err != nil && !w.begun:
		w.begin()
		_ = w.extend() // however long it took to find out
		x.route.refuse(w.ResponseWriter, x.request, err)
	}
	_ = w.extend() // the rest is sent when this returns
}
