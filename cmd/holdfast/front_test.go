package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/holdfast-dev/holdfast/cmd/holdfast/local"
	"github.com/holdfast-dev/holdfast/pkg/apierror"
	"github.com/holdfast-dev/holdfast/pkg/linger"
)

// echo is a service that says its name and what it was asked for.
func echo(t *testing.T, name string) string {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		_, _ = io.WriteString(w, strings.Join([]string{name, r.Method, r.RequestURI, r.Header.Get("Idempotency-Key"), string(body)}, "|"))
	}))
	t.Cleanup(server.Close)
	return strings.TrimPrefix(server.URL, "http://")
}

func startFrontOf(t *testing.T, orders, payments string, llm ...string) string {
	t.Helper()
	server := httptest.NewServer(newFront(map[string]local.Addresses{
		local.Orders: {HTTP: orders, Probe: "127.0.0.1:8281"}, local.Payments: {HTTP: payments}, local.Sandbox: {HTTP: "127.0.0.1:8183"},
		local.LLMGateway: {HTTP: strings.Join(llm, "")},
	}))
	t.Cleanup(server.Close)
	return server.URL
}

func get(t *testing.T, url string) (int, string, string) {
	t.Helper()
	response, err := http.Get(url)
	require.NoError(t, err)
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	return response.StatusCode, response.Header.Get("Content-Type"), string(body)
}

func TestTheFrontPortKnowsWhoseEveryPathIs(t *testing.T) {
	front := startFrontOf(t, echo(t, "orders"), echo(t, "payments"), echo(t, "llm-gateway"))
	for path, want := range map[string]string{
		"/v1/chat/completions":       "llm-gateway",
		"/v1/messages":               "llm-gateway",
		"/v1/messages/count_tokens":  "llm-gateway",
		"/v1/models":                 "llm-gateway",
		"/v1/models/vendor/model-1":  "llm-gateway",
		"/v1/responses":              "llm-gateway",
		"/v1/llm:generate":           "llm-gateway",
		"/v1/llm/usage":              "llm-gateway",
		"/v1/orders":                 "orders",
		"/v1/orders?page_size=2":     "orders",
		"/v1/orders/1:cancel":        "orders",
		"/v1/products":               "orders",
		"/v1/payments":               "payments",
		"/v1/payments:charge":        "payments",
		"/v1/payments/1%2F2:capture": "payments",
		"/openapi.json":              "orders",
		"/docs":                      "orders",
		"/docs/app.js":               "orders",
	} {
		status, _, body := get(t, front+path)
		require.Equal(t, http.StatusOK, status, path)
		require.Equal(t, want+"|GET|"+path+"||", body)
	}
}

func TestWhatTheFrontPortDoesNotKnowIsAProblem(t *testing.T) {
	front := startFrontOf(t, echo(t, "orders"), echo(t, "payments"))
	for _, path := range []string{"/v1", "/v1/ordersx", "/metrics", "/v1/other"} {
		status, contentType, body := get(t, front+path)
		require.Equal(t, http.StatusNotFound, status, path)
		require.Equal(t, "application/problem+json", contentType)
		require.Contains(t, body, `"UNKNOWN_METHOD"`)
	}
}

func TestTheIndexLinksEverything(t *testing.T) {
	front := startFrontOf(t, echo(t, "orders"), echo(t, "payments"))
	status, _, body := get(t, front+"/")
	require.Equal(t, http.StatusOK, status)
	for _, link := range []string{`href="/docs"`, `href="/openapi.json"`, `http://127.0.0.1:8281/statusz`, `http://127.0.0.1:8281/metrics`, `http://127.0.0.1:8183/v1/ledger`} {
		require.Contains(t, body, link)
	}
}

// TestTheFrontOfServicesElsewhereDrains is `holdfast front`, as Compose runs it.
func TestTheFrontOfServicesElsewhereDrains(t *testing.T) {
	arrived, finish := make(chan struct{}), make(chan struct{})
	slow := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		close(arrived)
		<-finish
		_, _ = io.WriteString(w, "done")
	}))
	t.Cleanup(slow.Close)
	free, err := local.FreeAddresses(t.Context())
	require.NoError(t, err)
	o := frontOptions{addr: free.HTTP, orders: strings.TrimPrefix(slow.URL, "http://"), payments: "127.0.0.1:1"}
	require.ErrorContains(t, frontHealth(t.Context(), o.addr), "does not answer")

	drain, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- serveFront(drain, t.Context(), o, newConsole(io.Discard)) }()
	require.Eventually(t, func() bool { return frontHealth(t.Context(), o.addr) == nil }, 10*time.Second, 10*time.Millisecond)

	_, _, index := get(t, "http://"+o.addr+"/")
	require.Contains(t, index, `href="/docs"`)
	require.NotContains(t, index, "statusz", "an address that only their network knows is no link")

	body := make(chan string, 1)
	go func() {
		response, err := http.Get("http://" + o.addr + "/v1/orders")
		if err != nil {
			body <- err.Error()
			return
		}
		defer response.Body.Close()
		answer, _ := io.ReadAll(response.Body) // what is missing shows
		body <- string(answer)
	}()
	<-arrived
	stop()
	require.Eventually(t, func() bool { return frontHealth(t.Context(), o.addr) != nil }, 10*time.Second, 10*time.Millisecond, "it takes no new request")
	close(finish)
	require.Equal(t, "done", <-body)
	require.NoError(t, <-ended)
}

func TestARequestWaitsForAServiceThatIsBeingStartedAgain(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	address := listener.Addr().String()
	listener.Close()
	front := startFrontOf(t, address, "")

	answered := make(chan string)
	go func() {
		response, err := http.Post(front+"/v1/orders", "application/json", strings.NewReader("{}"))
		if err != nil {
			answered <- err.Error()
			return
		}
		defer response.Body.Close()
		answered <- response.Status
	}()
	select {
	case status := <-answered:
		t.Fatalf("answered %s while nobody listened", status)
	case <-time.After(200 * time.Millisecond): // it must go on waiting, for as long as one cares to look
	}
	listener, err = net.Listen("tcp", address)
	require.NoError(t, err)
	server := &httptest.Server{Listener: listener, Config: &http.Server{Handler: http.NotFoundHandler()}}
	server.Start()
	t.Cleanup(server.Close)
	require.Equal(t, "404 Not Found", <-answered)
}

func TestAServiceThatDiesMidRequestIsATypedError(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		panic(http.ErrAbortHandler)
	}))
	t.Cleanup(server.Close)
	front := startFrontOf(t, strings.TrimPrefix(server.URL, "http://"), "")
	response, err := http.Post(front+"/v1/orders", "application/json", strings.NewReader("{}"))
	require.NoError(t, err)
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	require.Equal(t, http.StatusServiceUnavailable, response.StatusCode)
	require.NotEmpty(t, response.Header.Get("Retry-After"))
	require.Contains(t, string(body), `"same_key"`)
	require.NotContains(t, string(body), "EOF", "the cause is for logs")
}

// TestARefusedBodyIsToldThroughTheFrontPort, as long as it is: to a client that sends
// all of it before it looks, while the service refuses after its headers.
func TestARefusedBodyIsToldThroughTheFrontPort(t *testing.T) {
	orders := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		finish := linger.Watch(w, r) // as every service does
		apierror.WriteProblem(w, apierror.New(apierror.ReasonMessageTooLarge, "the body is larger than that"))
		finish()
	}))
	t.Cleanup(orders.Close)
	front := strings.TrimPrefix(startFrontOf(t, strings.TrimPrefix(orders.URL, "http://"), ""), "http://")
	const size = 8 << 20 // far more than connections buffer
	for _, more := range []string{"", "Connection: close\r\n"} {
		for path, status := range map[string]int{"/v1/orders": http.StatusRequestEntityTooLarge, "/v1/other": http.StatusNotFound} {
			for range 3 {
				conn, err := net.Dial("tcp", front)
				require.NoError(t, err)
				_, err = fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n%s\r\n", path, size, more)
				require.NoError(t, err)
				_, err = io.Copy(conn, io.LimitReader(endless{}, size))
				require.NoError(t, err)
				response, err := http.ReadResponse(bufio.NewReader(conn), nil)
				require.NoError(t, err)
				require.Equal(t, status, response.StatusCode)
				require.NoError(t, conn.Close())
			}
		}
	}
}

// endless is a body without an end.
type endless struct{}

func (endless) Read(into []byte) (int, error) { return len(into), nil }

// TestAFrontThatLeavesWaitsForWhatAModelSays: it has an end, and half of it must not
// look whole.
func TestAFrontThatLeavesWaitsForWhatAModelSays(t *testing.T) {
	left := make(chan struct{})
	model := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		_, _ = io.WriteString(w, "data: one\n\n")
		_ = http.NewResponseController(w).Flush()
		<-left
		_, _ = io.WriteString(w, "data: [DONE]\n\n")
	}))
	t.Cleanup(model.Close)
	server := newFrontServer(map[string]local.Addresses{local.LLMGateway: {HTTP: strings.TrimPrefix(model.URL, "http://")}})
	server.RegisterOnShutdown(func() { close(left) })
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()

	response, err := http.Post("http://"+listener.Addr().String()+"/v1/chat/completions", "application/json", strings.NewReader("{}"))
	require.NoError(t, err)
	defer response.Body.Close()
	first := make([]byte, len("data: one\n\n"))
	_, err = io.ReadFull(response.Body, first)
	require.NoError(t, err, "it comes as it was said")
	bounded, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	ended := make(chan error, 1)
	go func() { ended <- server.Shutdown(bounded) }()
	rest, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	require.Equal(t, "data: [DONE]\n\n", string(rest))
	require.NoError(t, <-ended)
	require.ErrorIs(t, <-served, http.ErrServerClosed)
}

// TestAFrontThatLeavesEndsStreams: they have no end of their own, and a shutdown
// waits for every answer.
func TestAFrontThatLeavesEndsStreams(t *testing.T) {
	orders := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		_, _ = io.WriteString(w, "data: one\n\n")
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
	}))
	t.Cleanup(orders.Close)
	server := newFrontServer(map[string]local.Addresses{local.Orders: {HTTP: strings.TrimPrefix(orders.URL, "http://")}})
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()

	response, err := http.Get("http://" + listener.Addr().String() + "/v1/orders/1:watch")
	require.NoError(t, err)
	defer response.Body.Close()
	first := make([]byte, len("data: one\n\n"))
	_, err = io.ReadFull(response.Body, first)
	require.NoError(t, err)

	bounded, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	require.NoError(t, server.Shutdown(bounded))
	require.ErrorIs(t, <-served, http.ErrServerClosed)
	rest, err := io.ReadAll(response.Body)
	require.NoError(t, err, "it ends as a whole answer does")
	require.Empty(t, rest)
}
