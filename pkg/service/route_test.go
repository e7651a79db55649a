package service

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/fx"

	"github.com/holdfast-dev/holdfast/pkg/apierror"
	"github.com/holdfast-dev/holdfast/pkg/auth"
	"github.com/holdfast-dev/holdfast/pkg/policy"
	ordersv1 "github.com/holdfast-dev/holdfast/proto/holdfast/orders/v1"
)

// teller is a service's protocol of somebody else's: it answers in plain words.
type teller struct {
	handled atomic.Int64
	open    atomic.Int64
	// before is closed when an ending stream has seen the end of its context.
	left chan struct{}
}

const tellPath = "/v1/tell"

// The bodies that the teller answers in a special way.
const (
	tellPieces  = `"pieces"` // one every slowAnswer, four of them
	tellPanic   = `"panic"`
	tellHalf    = `"half"`  // half an answer and a panic
	tellAbort   = `"abort"` // half an answer and an error that was told
	tellCut     = `"cut"`   // not even half of one
	tellSecret  = `"secret"`
	tellLimits  = `"limits"` // what is over a limit of its own
	tellFlood   = `"flood"`  // more than anybody reads
	tellDrains  = `"drains"` // until the drain
	tellStays   = `"stays"`  // until it is about to be cut off
	tellForever = `"forever"`
	tellSlow    = `"slow"`
)

func (s *teller) route() Route {
	return Route{
		Pattern: "POST " + tellPath, Method: ordersv1.OrdersService_WatchOrder_FullMethodName, MaxBody: 2 << 20,
		Handle: s.handle,
		Refuse: func(w http.ResponseWriter, _ *http.Request, err error) {
			e := apierror.From(err)
			w.Header().Set("Content-Type", "text/plain")
			w.WriteHeader(e.HTTPStatus())
			fmt.Fprintf(w, "no: %s %s %s", e.Reason(), e.Message(), e.Metadata("error_id"))
		},
		Credential: func(r *http.Request) string { return r.Header.Get("X-Api-Key") },
	}
}

// routes are the one above, and one of a method that is no stream.
func (s *teller) routes() []Route {
	call := s.route()
	call.Pattern, call.Method, call.MaxBody = "GET /v1/tell/{what}", ordersv1.OrdersService_GetOrder_FullMethodName, 0
	call.Handle = func(w http.ResponseWriter, r *http.Request, _ []byte) error {
		deadline, _ := r.Context().Deadline()
		method, _ := policy.FromContext(r.Context())
		_, err := fmt.Fprintf(w, "%s %v %v", r.PathValue("what"), !deadline.IsZero(), time.Until(deadline) <= method.Timeout)
		return err
	}
	return []Route{s.route(), call}
}

func (s *teller) handle(w http.ResponseWriter, r *http.Request, body []byte) error {
	s.handled.Add(1)
	s.open.Add(1)
	defer s.open.Add(-1)
	ctx, flush := r.Context(), http.NewResponseController(w).Flush
	say := func(words string) error {
		if _, err := io.WriteString(w, words); err != nil {
			return err
		}
		return flush()
	}
	switch string(body) {
	case tellPieces:
		w.Header().Set("Content-Type", mimeEvents+"; charset=utf-8")
		for n := range 4 {
			if err := say(fmt.Sprintf("piece %d\n", n)); err != nil {
				return err
			}
			wait(ctx, slowAnswer)
		}
		return ctx.Err()
	case tellPanic:
		panic("a bug at /srv/tell.go:7")
	case tellHalf:
		_ = say("half\n")
		panic("a bug at /srv/tell.go:8")
	case tellCut:
		panic(http.ErrAbortHandler)
	case tellAbort:
		return errors.Join(say("half\nand why\n"), errSecret)
	case tellSecret:
		return errSecret
	case tellLimits:
		return apierror.New(apierror.ReasonRateLimited, "enough", apierror.WithRetryAfter(2500*time.Millisecond))
	case tellFlood:
		for {
			if err := say(strings.Repeat("x", 64<<10)); err != nil {
				return err
			}
		}
	case tellDrains:
		return errors.Join(say("here\n"), until(Draining(ctx)), say("drained\n"))
	case tellStays:
		return errors.Join(say("here\n"), until(CutOff(ctx)), say("cut off\n"))
	case tellForever:
		err := say("here\n")
		<-ctx.Done()
		time.Sleep(100 * time.Millisecond) // what it still has to write down
		close(s.left)
		return err
	case tellSlow:
		wait(ctx, slowAnswer)
	}
	principal, _ := auth.FromContext(ctx)
	method, _ := policy.FromContext(ctx)
	_, timed := ctx.Deadline()
	return say(fmt.Sprintf("%s asks %s for %d bytes, in time: %v", principal.Tenant, method.FullName, len(body), timed))
}

func until(c <-chan struct{}) error {
	<-c
	return nil
}

// tellers is the shop with the routes.
func tellers(s *teller) Definition {
	return definition(&shop{}, ProvideRoutes(func() []Route { return s.routes() }))
}

// tell asks, with the key where the protocol has it.
func (i *instance) tell(body string, headers ...string) answerOf {
	i.t.Helper()
	return do(i.t, i.telling(i.t.Context(), strings.NewReader(body), headers...))
}

func (i *instance) telling(ctx context.Context, body io.Reader, headers ...string) *http.Request {
	i.t.Helper()
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+i.HTTP+tellPath, body)
	require.NoError(i.t, err)
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("X-Api-Key", auth.DevelopmentKey)
	for n := 0; n+1 < len(headers); n += 2 {
		if r.Header.Del(headers[n]); headers[n+1] != "" {
			r.Header.Set(headers[n], headers[n+1])
		}
	}
	return r
}

// listen opens a stream of the route and returns its lines.
func (i *instance) listen(body string) (*http.Response, *lines) {
	i.t.Helper()
	ctx, cancel := context.WithTimeout(i.t.Context(), 20*time.Second)
	i.t.Cleanup(cancel)
	response, err := (&http.Client{Transport: &http.Transport{}}).Do(i.telling(ctx, strings.NewReader(body)))
	require.NoError(i.t, err)
	i.t.Cleanup(func() { response.Body.Close() })
	return response, newLines(response.Body)
}

func TestARouteIsServedBehindWhatStandsBeforeAnRPC(t *testing.T) {
	i := start(t, tellers(&teller{}))
	const served = "acme asks /holdfast.orders.v1.OrdersService/WatchOrder for 2 bytes, in time: false"
	answer := i.tell("{}", "X-Request-Id", "asked-1", "Traceparent", "")
	require.Equal(t, http.StatusOK, answer.StatusCode, answer.body)
	require.Equal(t, served, answer.body)
	require.Equal(t, "asked-1", answer.Header.Get(headerRequestID))
	require.Equal(t, Version, answer.Header.Get(headerVersion))
	require.Equal(t, "nosniff", answer.Header.Get("X-Content-Type-Options"))
	require.NotEmpty(t, answer.Header.Get("RateLimit"), "what is left of the tenant's limit")

	bearer := "Bearer " + auth.DevelopmentKey
	require.Equal(t, served, i.tell("{}", "X-Api-Key", "", "Authorization", bearer).body)
	require.Equal(t, served, i.tell("{}", "Authorization", bearer).body, "the same twice is no other")

	answer = i.send(http.MethodGet, tellPath+"/pages", "")
	require.Equal(t, "pages true true", answer.body, "a method that is no stream has its timeout")
	require.Equal(t, http.StatusOK, i.send(http.MethodGet, finePath, "").StatusCode, "and the gateway is where it was")

	metrics := get(t, i.Probe, "/metrics").body
	require.Regexp(t, `holdfast_streams_ended_total\{[^}]*reason="COMPLETE",rpc_method="holdfast.orders.v1.OrdersService/WatchOrder"\} 3\n`, metrics)
	require.Regexp(t, `rpc_server_call_duration_seconds_count\{[^}]*rpc_method="holdfast.orders.v1.OrdersService/GetOrder"[^}]*\} 2\n`, metrics)
	require.NotRegexp(t, `holdfast_streams_ended_total\{[^}]*GetOrder`, metrics)
}

// TestARouteRefusesInItsOwnWords whatever is wrong, and nothing of it reaches the
// handler.
func TestARouteRefusesInItsOwnWords(t *testing.T) {
	s := &teller{}
	i := start(t, tellers(s))
	long := strings.Repeat(" ", 2<<20) + "x"
	for name, test := range map[string]struct {
		body    io.Reader
		headers []string
		status  int
		reason  apierror.Reason
	}{
		"no credential":             {strings.NewReader("{}"), []string{"X-Api-Key", ""}, http.StatusUnauthorized, apierror.ReasonCredentialsMissing},
		"a wrong one":               {strings.NewReader("{}"), []string{"X-Api-Key", "nobody"}, http.StatusUnauthorized, apierror.ReasonCredentialsInvalid},
		"one of two":                {strings.NewReader("{}"), []string{"Authorization", "Bearer " + auth.DevelopmentKeyOther}, http.StatusUnauthorized, apierror.ReasonCredentialsMissing},
		"one that cannot be":        {strings.NewReader("{}"), []string{"Authorization", "Bearer \u00e9"}, http.StatusUnauthorized, apierror.ReasonCredentialsInvalid},
		"a body that says its size": {strings.NewReader(long), nil, http.StatusRequestEntityTooLarge, apierror.ReasonMessageTooLarge},
		"a body that does not":      {struct{ io.Reader }{strings.NewReader(long)}, nil, http.StatusRequestEntityTooLarge, apierror.ReasonMessageTooLarge},
		"not JSON":                  {strings.NewReader("{}"), []string{"Content-Type", "text/plain"}, http.StatusUnsupportedMediaType, apierror.ReasonUnsupportedMediaType},
		"a key that is none":        {strings.NewReader("{}"), []string{headerKey, "two words"}, http.StatusBadRequest, apierror.ReasonKeyMalformed},
	} {
		t.Run(name, func(t *testing.T) {
			answer := do(t, i.telling(t.Context(), test.body, test.headers...))
			require.Equal(t, test.status, answer.StatusCode, answer.body)
			require.Equal(t, "text/plain", answer.Header.Get("Content-Type"))
			require.Equal(t, "no-store", answer.Header.Get("Cache-Control"))
			require.True(t, strings.HasPrefix(answer.body, "no: "+string(test.reason)), answer.body)
			require.Equal(t, test.status == http.StatusUnauthorized, answer.Header.Get("WWW-Authenticate") == "Bearer")
		})
	}
	require.Zero(t, s.handled.Load())
	almost := strings.Repeat(" ", 2<<20)
	require.Equal(t, http.StatusOK, i.tell(almost).StatusCode, "as long as it may be, though other requests may not")
	require.Equal(t, http.StatusRequestEntityTooLarge, i.send(http.MethodPatch, finePath, almost).StatusCode)
}

func TestALimitOnARouteSaysWhenToComeBack(t *testing.T) {
	i := start(t, tellers(&teller{}), limited("TENANT_READS")...)
	require.Equal(t, http.StatusOK, i.tell("{}").StatusCode)
	answer := i.tell(tellLimits)
	require.Equal(t, http.StatusTooManyRequests, answer.StatusCode)
	require.Equal(t, "3", answer.Header.Get("Retry-After"), "in whole seconds, not too soon")
	require.Contains(t, answer.Header.Get("RateLimit"), "r=0")
	answer = i.tell("{}")
	require.Equal(t, http.StatusTooManyRequests, answer.StatusCode)
	require.Contains(t, answer.body, "no: RATE_LIMITED")
	require.Regexp(t, `^\d{3,4}$`, answer.Header.Get("Retry-After"))

	i = start(t, tellers(&teller{}), limited("ADDRESS")...)
	for range 2 {
		require.Equal(t, http.StatusOK, i.tell("{}").StatusCode)
	}
	answer = i.tell("{}")
	require.Equal(t, http.StatusTooManyRequests, answer.StatusCode)
	require.Contains(t, answer.body, "no: RATE_LIMITED", "what the edge refuses is in the route's words as well")
	require.NotEmpty(t, answer.Header.Get("RateLimit"))

	i = start(t, tellers(&teller{}), limited("FAILED_AUTH")...)
	for range 2 {
		require.Equal(t, http.StatusUnauthorized, i.tell("{}", "X-Api-Key", "guess").StatusCode)
	}
	require.Equal(t, http.StatusTooManyRequests, i.tell("{}").StatusCode, "guesses count")
}

// TestWhatGoesWrongInARouteIsTyped, and told as long as nothing was sent. Half an
// answer never looks whole.
func TestWhatGoesWrongInARouteIsTyped(t *testing.T) {
	i := start(t, tellers(&teller{}))
	for _, body := range []string{tellPanic, tellSecret} {
		answer := i.tell(body)
		require.Equal(t, http.StatusInternalServerError, answer.StatusCode)
		id := answer.body[strings.LastIndexByte(answer.body, ' ')+1:]
		require.Len(t, id, 36, answer.body)
		require.NotContains(t, answer.body, "srv")
		require.Equal(t, 1, i.logs.Count(id), i.logs)
	}
	response, err := lonely.Do(i.telling(t.Context(), strings.NewReader(tellHalf)))
	require.NoError(t, err)
	defer response.Body.Close()
	half, err := io.ReadAll(response.Body)
	require.ErrorIs(t, err, io.ErrUnexpectedEOF)
	require.Equal(t, "half\n", string(half))

	bugs := i.logs.Count("internal error")
	_, err = lonely.Do(i.telling(t.Context(), strings.NewReader(tellCut)))
	require.ErrorIs(t, err, io.EOF, "a handler may ask for the connection to be cut")
	require.Equal(t, bugs, i.logs.Count("internal error"), "which is no bug")

	answer := i.tell(tellAbort)
	require.Equal(t, http.StatusOK, answer.StatusCode)
	require.Equal(t, "half\nand why\n", answer.body, "whoever has begun an answer says why it ends")
	require.Regexp(t, `holdfast_streams_ended_total\{[^}]*reason="INTERNAL",[^}]*WatchOrder"\} 4\n`, get(t, i.Probe, "/metrics").body)
}

func TestThePathsOfRoutesSayWhatTheyTake(t *testing.T) {
	i := start(t, tellers(&teller{}))
	answer := i.send(http.MethodGet, tellPath, "")
	require.Equal(t, http.StatusMethodNotAllowed, answer.StatusCode)
	require.Equal(t, "POST", answer.Header.Get("Allow"))
	require.Contains(t, answer.body, "no: METHOD_NOT_ALLOWED")
	for _, path := range []string{"/v1/tel", "/v1/tell/", "/v1//tell", "/v1/tell/a/b", "/v1/x/../tell"} {
		answer = i.send(http.MethodGet, path, "")
		require.Equal(t, http.StatusNotFound, answer.StatusCode, path)
		require.Equal(t, apierror.ContentType, answer.Header.Get("Content-Type"))
	}
	answer = i.send(http.MethodDelete, finePath, "")
	require.Equal(t, http.StatusMethodNotAllowed, answer.StatusCode)
	require.Equal(t, "GET, PATCH", answer.Header.Get("Allow"))
}

// TestTheTimesOfARequestDoNotEndAnAnswerOfARoute, and each piece is there when it
// was sent.
func TestTheTimesOfARequestDoNotEndAnAnswerOfARoute(t *testing.T) {
	i := start(t, tellers(&teller{}), "HOLDFAST_READ_TIMEOUT", "300ms", "HOLDFAST_WRITE_TIMEOUT", "300ms")
	began := time.Now()
	response, got := i.listen(tellPieces)
	require.Equal(t, "no", response.Header.Get("X-Accel-Buffering"))
	require.Equal(t, "no-store", response.Header.Get("Cache-Control"))
	require.Equal(t, "piece 0", got.line())
	require.Less(t, time.Since(began), 4*slowAnswer, "before there are others")
	for n := 1; n < 4; n++ {
		require.Equal(t, fmt.Sprintf("piece %d", n), got.line())
	}
	require.False(t, got.Scan())
	require.NoError(t, got.Err())
	require.Equal(t, http.StatusOK, i.tell(tellSlow).StatusCode, "also of one that says nothing for long")
}

func TestAReaderOfARouteThatStopsIsCutOff(t *testing.T) {
	s := &teller{}
	i := start(t, tellers(s), "HOLDFAST_WRITE_TIMEOUT", "500ms")
	response, _ := i.listen(tellFlood)
	require.Equal(t, http.StatusOK, response.StatusCode)
	require.Eventually(t, func() bool { return s.open.Load() == 0 }, 10*time.Second, 10*time.Millisecond)
}

func TestAClientThatLeavesEndsItsRoute(t *testing.T) {
	s := &teller{left: make(chan struct{})}
	i := start(t, tellers(s))
	response, got := i.listen(tellForever)
	require.Equal(t, "here", got.line())
	response.Body.Close()
	<-s.left
}

// TestADrainWaitsForRoutes, and tells them.
func TestADrainWaitsForRoutes(t *testing.T) {
	i := start(t, tellers(&teller{}))
	_, watching := i.listen(tellDrains)
	_, working := i.listen(tellPieces)
	require.Equal(t, "here", watching.line())
	require.Equal(t, "piece 0", working.line())
	require.NoError(t, i.drain())
	require.Equal(t, "drained", watching.line())
	for n := 1; n < 4; n++ {
		require.Equal(t, fmt.Sprintf("piece %d", n), working.line())
	}
	require.False(t, working.Scan())
	require.NoError(t, working.Err())
}

// TestWhatIsAboutToBeCutOffIsTold in time to say so, and then nothing was.
func TestWhatIsAboutToBeCutOffIsTold(t *testing.T) {
	i := start(t, tellers(&teller{}), "HOLDFAST_DRAIN_CAP", "4s", "HOLDFAST_CUT_OFF_BEFORE", "3s", "HOLDFAST_LAME_DUCK", "0s")
	_, got := i.listen(tellStays)
	require.Equal(t, "here", got.line())
	require.NoError(t, i.drain(), "nothing was cut off")
	require.Equal(t, "cut off", got.line())
	require.False(t, got.Scan())
	require.NoError(t, got.Err())
}

// TestAHandlerThatWasCutOffIsWaitedFor: what it uses is closed next.
func TestAHandlerThatWasCutOffIsWaitedFor(t *testing.T) {
	s := &teller{left: make(chan struct{})}
	i := launch(t, tellers(s), "HOLDFAST_DRAIN_CAP", "200ms", "HOLDFAST_LAME_DUCK", "0s")
	_, got := i.listen(tellForever)
	require.Equal(t, "here", got.line())
	require.ErrorIs(t, i.drain(), errForced)
	select {
	case <-s.left:
	default:
		require.Fail(t, "the drain was over before its handler")
	}
}

func TestARouteThatCouldNotWorkStopsTheStart(t *testing.T) {
	s := &teller{}
	broken := func(change func(*Route)) Route {
		r := s.route()
		change(&r)
		return r
	}
	_, err := run(t, definition(&shop{}, ProvideRoutes(func() []Route {
		return []Route{
			s.route(),
			broken(func(*Route) {}), // twice
			broken(func(r *Route) { r.Pattern = "/v1/any" }),
			broken(func(r *Route) { r.Pattern = "POST /v1/{" }),
			broken(func(r *Route) { r.Method = "/holdfast.orders.v1.OrdersService/Nothing" }),
			broken(func(r *Route) { r.Refuse = nil }),
		}
	})), environment())
	for _, wanted := range []string{"conflicts with pattern", `"/v1/any" must be a method and a path`, `"POST /v1/{"`, "OrdersService/Nothing", "lacks Handle or Refuse"} {
		require.ErrorContains(t, err, wanted)
	}
	require.Equal(t, 5, strings.Count(err.Error(), "refuses to start"), err)
}

// TestRoutesOfSeveralPartsAreOne: each part of a service may provide its own.
func TestRoutesOfSeveralPartsAreOne(t *testing.T) {
	s := &teller{}
	i := start(t, definition(&shop{},
		fx.Provide(func() *bytes.Buffer { return &bytes.Buffer{} }),
		ProvideRoutes(func(*bytes.Buffer) ([]Route, error) { return s.routes()[:1], nil }),
		ProvideRoutes(func() []Route { return s.routes()[1:] }),
	))
	require.Equal(t, http.StatusOK, i.tell("{}").StatusCode)
	require.Equal(t, http.StatusOK, i.send(http.MethodGet, tellPath+"/x", "").StatusCode)
}

// TestAClientThatWaitsToBeToldToGoOnIsRefusedAtOnce: it is told no, not to send what
// nobody wants.
func TestAClientThatWaitsToBeToldToGoOnIsRefusedAtOnce(t *testing.T) {
	i := start(t, tellers(&teller{}), "HOLDFAST_READ_TIMEOUT", "1m")
	conn, err := net.Dial("tcp", i.HTTP)
	require.NoError(t, err)
	defer conn.Close()
	require.NoError(t, conn.SetDeadline(time.Now().Add(20*time.Second)))
	_, err = fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 100\r\nExpect: 100-continue\r\n\r\n", tellPath)
	require.NoError(t, err)
	answer, err := http.ReadResponse(bufio.NewReader(conn), nil)
	require.NoError(t, err)
	require.Equal(t, http.StatusUnauthorized, answer.StatusCode)
	require.True(t, answer.Close)
}
