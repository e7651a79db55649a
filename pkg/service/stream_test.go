package service

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"

	"github.com/holdfast-dev/holdfast/pkg/apierror"
	"github.com/holdfast-dev/holdfast/pkg/auth"
	ordersv1 "github.com/holdfast-dev/holdfast/proto/holdfast/orders/v1"
)

// WatchOrder of the shop: the resume token says how many revisions there are
// already, and each id what comes then. It ends with a drain, as a stream must.
func (s *shop) WatchOrder(r *ordersv1.WatchOrderRequest, stream grpc.ServerStreamingServer[ordersv1.WatchOrderResponse]) error {
	s.calls.Add(1)
	s.streaming.Add(1)
	defer s.streaming.Add(-1)
	ctx := stream.Context()
	from, _ := strconv.Atoi(r.GetResumeToken())
	if r.GetId() == orderSecret {
		return apierror.New(apierror.ReasonNotFound, "there is no such order")
	}
	if err := stream.SendHeader(nil); err != nil {
		return err
	}
	for n := from + 1; ; n++ {
		if r.GetId() == orderStuck { // nothing ever comes
			<-Draining(ctx)
			return leavingAt(from)
		}
		note := "a\nline"
		if r.GetId() == orderDeaf { // more than anybody reads
			note = strings.Repeat("x", 64<<10)
		}
		err := stream.Send(&ordersv1.WatchOrderResponse{
			Order: &ordersv1.Order{Id: r.GetId(), ShippingNote: note}, Revision: int64(n), ResumeToken: strconv.Itoa(n),
		})
		switch {
		case err != nil:
			return err
		case r.GetId() == orderPanics && n >= from+2:
			return errSecret
		case r.GetId() == orderDeaf:
			continue
		case r.GetId() == orderBrief && n < from+3:
			continue
		}
		select {
		case <-Draining(ctx):
			return leavingAt(n)
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(slowAnswer):
		}
	}
}

// stream opens a stream over HTTP and returns the answer, and its lines.
func (i *instance) stream(path string, headers ...string) (*http.Response, *lines) {
	i.t.Helper()
	ctx, cancel := context.WithTimeout(i.t.Context(), 20*time.Second)
	i.t.Cleanup(cancel)
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+i.HTTP+path, http.NoBody)
	require.NoError(i.t, err)
	request.Header.Set("Authorization", "Bearer "+auth.DevelopmentKey)
	for n := 0; n+1 < len(headers); n += 2 {
		request.Header.Set(headers[n], headers[n+1])
	}
	response, err := (&http.Client{Transport: &http.Transport{}}).Do(request)
	require.NoError(i.t, err)
	i.t.Cleanup(func() { response.Body.Close() })
	return response, newLines(response.Body)
}

type lines struct{ *bufio.Scanner }

func newLines(r io.Reader) *lines { return &lines{bufio.NewScanner(r)} }

// line returns the next line; empty at the end.
func (l *lines) line() string {
	l.Scan()
	return l.Text()
}

// event returns the next event: what stands before an empty line.
func (l *lines) event() string {
	var event []string
	for l.Scan() && l.Text() != "" {
		event = append(event, l.Text())
	}
	return strings.Join(event, "\n")
}

func leavingAt(n int) error {
	return apierror.New(apierror.ReasonDraining, "go on elsewhere", apierror.WithRetryAfter(time.Millisecond),
		apierror.WithMetadata("resume_token", strconv.Itoa(n)))
}

const asEvents = "text/event-stream"

func TestAStreamOverHTTPIsEventsForWhoAsksForThem(t *testing.T) {
	i := start(t, definition(&shop{}))
	for _, accept := range []string{asEvents, "text/event-stream;charset=utf-8, */*;q=0.1", "application/json, text/event-stream"} {
		response, got := i.stream("/v1/orders/"+orderBrief+":watch", "Accept", accept)
		require.Equal(t, http.StatusOK, response.StatusCode)
		require.Equal(t, asEvents, response.Header.Get("Content-Type"))
		require.Equal(t, "no-store", response.Header.Get("Cache-Control"))
		require.Equal(t, "no", response.Header.Get("X-Accel-Buffering"))
		require.True(t, response.Close, "who comes back does so on another connection")
		require.Equal(t, "retry: 1000", got.event())
		for _, n := range []string{"1", "2", "3"} {
			require.Equal(t, "id: "+n+"\n"+
				`data: {"order":{"id":"`+orderBrief+`","shippingNote":"a\nline"},"revision":"`+n+`","resumeToken":"`+n+`"}`, got.event())
		}
		response.Body.Close()
	}
}

func TestAStreamOverHTTPIsJSONALineOtherwise(t *testing.T) {
	i := start(t, definition(&shop{}))
	response, got := i.stream("/v1/orders/"+orderPanics+":watch", "Accept", "application/json")
	require.Equal(t, http.StatusOK, response.StatusCode)
	require.Equal(t, mimeLines, response.Header.Get("Content-Type"))
	for _, n := range []string{"1", "2"} {
		require.Equal(t, `{"result":{"order":{"id":"`+orderPanics+`","shippingNote":"a\nline"},"revision":"`+n+`","resumeToken":"`+n+`"}}`, got.line())
	}
	end := got.line()
	var last struct{ Error apierror.Problem }
	require.NoError(t, json.Unmarshal([]byte(end), &last))
	require.Equal(t, apierror.ReasonInternal, last.Error.Reason)
	require.NotContains(t, end, "cards", "what an error was is for the log")
	require.False(t, got.Scan(), "and that is all")
}

func TestWhatIsNoStreamIsJSONForWhoAsksForEvents(t *testing.T) {
	i := start(t, definition(&shop{}))
	answer := i.send(http.MethodGet, "/v1/orders/"+orderFine, "", "Accept", asEvents)
	require.Equal(t, http.StatusOK, answer.StatusCode)
	require.Equal(t, "application/json", answer.Header.Get("Content-Type"))
	require.Contains(t, answer.body, orderFine)
}

// TestAStreamThatIsRefusedIsAProblem: with its status, like every other request.
func TestAStreamThatIsRefusedIsAProblem(t *testing.T) {
	i := start(t, definition(&shop{}))
	for _, accept := range []string{asEvents, "*/*"} {
		for path, want := range map[string]int{
			"/v1/orders/" + orderSecret + ":watch":               http.StatusNotFound,
			"/v1/orders/not-an-id:watch":                         http.StatusBadRequest,
			"/v1/orders/" + orderFine + ":watch?resume_tokken=1": http.StatusBadRequest,
		} {
			answer := i.send(http.MethodGet, path, "", "Accept", accept)
			require.Equal(t, want, answer.StatusCode, path)
			require.Equal(t, apierror.ContentType, answer.Header.Get("Content-Type"), path)
		}
	}
	answer := i.send(http.MethodGet, "/v1/orders/"+orderFine+":watch", "", "Accept", asEvents, "Authorization", "Bearer nobody")
	require.Equal(t, http.StatusUnauthorized, answer.StatusCode)
	answer = i.send(http.MethodGet, "/v1/orders/"+orderFine+":watch", "", headerLastEvent, "\xff")
	require.Equal(t, http.StatusBadRequest, answer.StatusCode)
	require.Contains(t, answer.body, apierror.ReasonInvalidResumeToken)
}

// TestTheTimesOfARequestDoNotEndAStream: a request must arrive and be answered in
// a time, a stream must not, and while there is nothing to say it gives signs of
// life.
func TestTheTimesOfARequestDoNotEndAStream(t *testing.T) {
	i := start(t, definition(&shop{}), "HOLDFAST_READ_TIMEOUT", "300ms", "HOLDFAST_WRITE_TIMEOUT", "300ms", "HOLDFAST_STREAM_HEARTBEAT", "100ms")
	_, got := i.stream("/v1/orders/"+orderFine+":watch", "Accept", asEvents)
	require.Equal(t, "retry: 1000", got.event())
	quiet := time.Now()
	for messages := 0; messages < 4; { // every 700 ms
		switch piece := got.event(); {
		case piece == ":":
		case strings.HasPrefix(piece, "id: "):
			messages++
		default:
			t.Fatalf("unexpected: %q", piece)
		}
		require.Less(t, time.Since(quiet), 600*time.Millisecond, "it is not silent for longer than a message is away")
		quiet = time.Now()
	}

	_, got = i.stream("/v1/orders/"+orderFine+":watch", "Accept", "*/*")
	for range 4 {
		require.Contains(t, got.line(), `"result"`)
	}
}

// TestADrainEndsStreamsOverHTTP with where to go on, also of those that have got
// nothing yet.
func TestADrainEndsStreamsOverHTTP(t *testing.T) {
	i := start(t, definition(&shop{}), "HOLDFAST_STREAM_HEARTBEAT", "1m")
	var open []*lines
	for _, test := range []struct {
		id     string
		events int // before the drain
	}{{orderBrief, 3}, {orderStuck, 0}} {
		_, got := i.stream("/v1/orders/"+test.id+":watch?resume_token=7", "Accept", asEvents)
		require.Equal(t, "retry: 1000", got.event())
		for range test.events {
			require.Contains(t, got.event(), "data: ")
		}
		open = append(open, got)
	}
	require.NoError(t, i.drain(), "a stream does not hold a drain up")
	for _, got := range open {
		requireEnd(t, got)
	}
}

// requireEnd reads a stream to its end, which says where to go on.
func requireEnd(t *testing.T, got *lines) {
	t.Helper()
	var last string
	for piece := got.event(); piece != ""; piece = got.event() {
		last = piece
	}
	fields := strings.SplitN(last, "\n", 3)
	require.Len(t, fields, 3, last)
	require.Equal(t, []string{"event: end", "retry: 100"}, fields[:2])
	var problem apierror.Problem
	require.NoError(t, json.Unmarshal([]byte(strings.TrimPrefix(fields[2], "data: ")), &problem))
	require.Equal(t, apierror.ReasonDraining, problem.Reason)
	require.EqualValues(t, 1, problem.RetryAfterMillis)
	require.NotEmpty(t, problem.Metadata["resume_token"])
}

// TestAReaderThatStopsIsCutOff when a piece has taken as long as it may.
func TestAReaderThatStopsIsCutOff(t *testing.T) {
	s := &shop{}
	i := start(t, definition(s), "HOLDFAST_WRITE_TIMEOUT", "500ms")
	response, _ := i.stream("/v1/orders/"+orderDeaf+":watch", "Accept", asEvents)
	require.Equal(t, http.StatusOK, response.StatusCode)
	require.EqualValues(t, 1, s.streaming.Load())
	require.Eventually(t, func() bool { return s.streaming.Load() == 0 }, 10*time.Second, 10*time.Millisecond)
}

// TestStreamsTakeNoPlaceFromRequests: the gateway has as many calls in flight on
// one connection as a connection may have.
func TestStreamsTakeNoPlaceFromRequests(t *testing.T) {
	i := start(t, definition(&shop{}), "HOLDFAST_MAX_STREAMS", "2")
	for range 5 {
		_, got := i.stream("/v1/orders/"+orderStuck+":watch", "Accept", asEvents)
		require.Equal(t, "retry: 1000", got.event(), "it is accepted before there is a message")
	}
	require.Equal(t, http.StatusOK, i.send(http.MethodGet, "/v1/orders/"+orderFine, "").StatusCode)
}

func TestAStreamSaysWhichVersionAnswers(t *testing.T) {
	i := start(t, definition(&shop{}))
	stream, err := i.client().WatchOrder(t.Context(), &ordersv1.WatchOrderRequest{Id: orderSecret})
	require.NoError(t, err)
	_, err = stream.Recv()
	require.Error(t, err)
	require.Equal(t, []string{Version}, stream.Trailer().Get(VersionTrailer))
}

// TestRequestsOfStreamsAreChecked as those of other methods are.
func TestRequestsOfStreamsAreChecked(t *testing.T) {
	s := &shop{}
	i := start(t, definition(s))
	stream, err := i.client().WatchOrder(t.Context(), &ordersv1.WatchOrderRequest{Id: "not-an-id"})
	require.NoError(t, err)
	_, err = stream.Recv()
	reason, _ := apierror.ReasonOf(err)
	require.Equal(t, apierror.ReasonInvalidField, reason)
	require.Zero(t, s.calls.Load())
}

// TestWhoGoesOnAtOnceDoesSoOnAnotherConnection: the one of the server that leaves
// is known to be of no use before a stream on it ends.
func TestWhoGoesOnAtOnceDoesSoOnAnotherConnection(t *testing.T) {
	i := start(t, definition(&shop{}))
	client := i.client()
	watch := func() grpc.ServerStreamingClient[ordersv1.WatchOrderResponse] {
		stream, err := client.WatchOrder(t.Context(), &ordersv1.WatchOrderRequest{Id: orderFine})
		require.NoError(t, err)
		_, err = stream.Recv()
		require.NoError(t, err)
		return stream
	}
	stream := watch()
	for range 5 {
		drained := make(chan answerOf, 1)
		go func() { drained <- i.admin(http.MethodPost) }()
		for {
			if _, err := stream.Recv(); err != nil {
				reason, _ := apierror.ReasonOf(err)
				require.Equal(t, apierror.ReasonDraining, reason)
				break
			}
		}
		stream = watch()
		_, err := stream.Recv()
		require.NoError(t, err, "it is not ended by the same drain")
		require.Equal(t, http.StatusOK, (<-drained).StatusCode)
	}
}

// TestStreamsAreCountedApart: an alert on slow calls, or on failed ones, is not to
// look at what lasts as long as somebody watches, and ends with each deploy.
func TestStreamsAreCountedApart(t *testing.T) {
	i := start(t, definition(&shop{}))
	stream, err := i.client().WatchOrder(t.Context(), &ordersv1.WatchOrderRequest{Id: orderFine})
	require.NoError(t, err)
	_, err = stream.Recv()
	require.NoError(t, err)
	refused, err := i.client().WatchOrder(t.Context(), &ordersv1.WatchOrderRequest{Id: orderSecret})
	require.NoError(t, err)
	_, err = refused.Recv()
	require.Error(t, err)
	require.Equal(t, http.StatusOK, i.send(http.MethodGet, "/v1/orders/"+orderFine, "").StatusCode)

	const method = `rpc_method="holdfast.orders.v1.OrdersService/WatchOrder"`
	metrics := get(t, i.Probe, "/metrics").body
	require.Regexp(t, `holdfast_streams_open\{[^}]*`+method+`\} 1\n`, metrics)
	require.Regexp(t, `holdfast_streams_ended_total\{[^}]*reason="NOT_FOUND",`+method+`\} 1\n`, metrics)
	require.Contains(t, metrics, `rpc_server_call_duration_seconds_count{`)
	require.NotRegexp(t, `rpc_server_call_duration[^\n]*WatchOrder`, metrics)
}
