package service

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/holdfast-dev/holdfast/pkg/apierror"
	"github.com/holdfast-dev/holdfast/pkg/auth"
	ordersv1 "github.com/holdfast-dev/holdfast/proto/holdfast/orders/v1"
)

func TestTheSameAPIAnswersOverGRPCAndHTTP(t *testing.T) {
	i := start(t, definition(&shop{}))
	r, err := i.client().GetOrder(t.Context(), &ordersv1.GetOrderRequest{Id: orderFine})
	require.NoError(t, err)
	require.Equal(t, orderFine, r.GetOrder().GetId())

	a := i.send(http.MethodGet, "/v1/orders/"+orderFine, "")
	require.Equal(t, http.StatusOK, a.StatusCode, a.body)
	require.Equal(t, `{"order":{"id":"`+orderFine+`","state":"ORDER_STATE_PAID"}}`, a.body, "compact, and the same each time")
	require.Equal(t, "application/json", a.Header.Get("Content-Type"))
}

// TestBadRequestsOverHTTP is the table of what the edge answers before, or in
// place of, a handler.
func TestBadRequestsOverHTTP(t *testing.T) {
	s := &shop{}
	i := start(t, definition(s), "HOLDFAST_MAX_MESSAGE", "4096")
	order := "/v1/orders/" + orderFine
	for name, test := range map[string]struct {
		method, path, body string
		headers            []string
		code               int
		reason             apierror.Reason
		names              string // what the answer must name
	}{
		"not JSON":               {method: "PATCH", path: order, body: `etag`, code: 400, reason: apierror.ReasonMalformedRequest},
		"half JSON":              {method: "PATCH", path: order, body: `{"etag":"1"`, code: 400, reason: apierror.ReasonMalformedRequest, names: "too early"},
		"two values":             {method: "PATCH", path: order, body: `{"etag":"1"} {}`, code: 400, reason: apierror.ReasonMalformedRequest},
		"not an object":          {method: "PATCH", path: order, body: `[1]`, code: 400, reason: apierror.ReasonMalformedRequest},
		"unknown field":          {method: "PATCH", path: order, body: `{"etag":"1","total":"0"}`, code: 400, reason: apierror.ReasonUnknownField, names: `"total"`},
		"unknown nested field":   {method: "POST", path: "/v1/orders", body: `{"lines":[{"productId":"a","price":1}]}`, headers: []string{headerKey, "k"}, code: 400, reason: apierror.ReasonUnknownField, names: `"lines[0].price"`},
		"duplicate field":        {method: "PATCH", path: order, body: `{"etag":"1","etag":"2"}`, code: 400, reason: apierror.ReasonMalformedRequest, names: `"etag"`},
		"duplicate by two names": {method: "PATCH", path: order, body: `{"etag":"1","shippingNote":"a","shipping_note":"b"}`, code: 400, reason: apierror.ReasonMalformedRequest, names: `"shipping_note"`},
		"NaN":                    {method: "POST", path: "/v1/orders", body: `{"lines":[{"productId":"a","quantity":NaN}]}`, headers: []string{headerKey, "k"}, code: 400, reason: apierror.ReasonMalformedRequest},
		"NaN as text":            {method: "POST", path: "/v1/orders", body: `{"lines":[{"productId":"a","quantity":"NaN"}]}`, headers: []string{headerKey, "k"}, code: 400, reason: apierror.ReasonMalformedRequest},
		"number out of range":    {method: "POST", path: "/v1/orders", body: `{"lines":[{"productId":"a","quantity":2147483648}]}`, headers: []string{headerKey, "k"}, code: 400, reason: apierror.ReasonMalformedRequest},
		"fraction of a whole":    {method: "POST", path: "/v1/orders", body: `{"lines":[{"productId":"a","quantity":1.5}]}`, headers: []string{headerKey, "k"}, code: 400, reason: apierror.ReasonMalformedRequest},
		"invalid UTF-8":          {method: "PATCH", path: order, body: "{\"etag\":\"\xff\"}", code: 400, reason: apierror.ReasonMalformedRequest, names: "UTF-8"},
		"invalid UTF-8 in path":  {method: "GET", path: "/v1/orders/%ff", code: 400, reason: apierror.ReasonMalformedRequest},
		"invalid UTF-8 in query": {method: "GET", path: "/v1/orders?page_token=%ff", code: 400, reason: apierror.ReasonMalformedRequest},
		"nested too deep":        {method: "PATCH", path: order, body: strings.Repeat(`[`, 100) + strings.Repeat(`]`, 100), code: 400, reason: apierror.ReasonMalformedRequest},
		"broken query":           {method: "GET", path: "/v1/orders?page_size=%zz", code: 400, reason: apierror.ReasonMalformedRequest},
		"query that does not fit": {
			method: "GET", path: "/v1/orders?page_size=many", code: 400, reason: apierror.ReasonMalformedRequest,
		},
		"unknown query parameter": {method: "GET", path: "/v1/orders?page_siez=1", code: 400, reason: apierror.ReasonUnknownField, names: `"page_siez"`},
		"a rule broken":           {method: "GET", path: "/v1/orders?page_size=1000", code: 400, reason: apierror.ReasonInvalidField, names: `"page_size"`},
		"a control character":     {method: "PATCH", path: order, body: `{"etag":"1","shippingNote":"a\u0000b"}`, code: 400, reason: apierror.ReasonInvalidField, names: `"shipping_note"`},
		"body too large":          {method: "PATCH", path: order, body: `{"etag":"` + strings.Repeat("x", 5000) + `"}`, code: 413, reason: apierror.ReasonMessageTooLarge},
		"a form":                  {method: "PATCH", path: order, body: `etag=1`, headers: []string{"Content-Type", "application/x-www-form-urlencoded"}, code: 415, reason: apierror.ReasonUnsupportedMediaType},
		"no content type":         {method: "PATCH", path: order, body: `{}`, headers: []string{"Content-Type", ""}, code: 415, reason: apierror.ReasonUnsupportedMediaType},
		"unknown path":            {method: "GET", path: "/v1/nothing", code: 404, reason: apierror.ReasonUnknownMethod},
		"wrong method":            {method: "DELETE", path: order, code: 405, reason: apierror.ReasonMethodNotAllowed},
		"method override":         {method: "POST", path: order, headers: []string{"X-HTTP-Method-Override", "PATCH"}, code: 405, reason: apierror.ReasonMethodNotAllowed},
		"no credentials":          {method: "GET", path: order, headers: []string{"Authorization", ""}, code: 401, reason: apierror.ReasonCredentialsMissing},
		"wrong credentials":       {method: "GET", path: order, headers: []string{"Authorization", "Bearer hf_no_no"}, code: 401, reason: apierror.ReasonCredentialsInvalid},
		"unprintable credentials": {method: "GET", path: order, headers: []string{"Authorization", "Bearer \u00e9"}, code: 401, reason: apierror.ReasonCredentialsInvalid},
		"no key":                  {method: "POST", path: "/v1/orders", body: `{}`, code: 400, reason: apierror.ReasonKeyMissing},
		"unprintable key":         {method: "POST", path: "/v1/orders", body: `{}`, headers: []string{headerKey, "caf\u00e9"}, code: 400, reason: apierror.ReasonKeyMalformed},
		"weak entity tag":         {method: "PATCH", path: order, body: `{}`, headers: []string{"If-Match", `W/"1"`}, code: 400, reason: apierror.ReasonInvalidField},
		"a panic":                 {method: "GET", path: "/v1/orders/" + orderPanics, code: 500, reason: apierror.ReasonInternal, names: "error_id"},
		"an unexpected error":     {method: "GET", path: "/v1/orders/" + orderSecret, code: 500, reason: apierror.ReasonInternal, names: "error_id"},
	} {
		t.Run(name, func(t *testing.T) {
			before := s.calls.Load()
			a := i.send(test.method, test.path, test.body, test.headers...)
			require.Equal(t, test.code, a.StatusCode, a.body)
			require.Equal(t, apierror.ContentType, a.Header.Get("Content-Type"))
			var problem apierror.Problem
			require.NoError(t, json.Unmarshal([]byte(a.body), &problem), a.body)
			require.Equal(t, test.reason, problem.Reason, a.body)
			require.Equal(t, test.code, problem.Status)
			require.Equal(t, a.Header.Get(headerRequestID), problem.Instance)
			require.Contains(t, a.body, test.names)
			for _, secret := range []string{"cards", "/srv/", "goroutine", ".go:", faultMark} {
				require.NotContains(t, a.body, secret, "nothing of the inside is told")
			}
			if test.code < 500 {
				require.Equal(t, before, s.calls.Load(), "the handler was not reached")
			}
		})
	}
}

// TestAWrongMethodIsToldTheRightOnes: RFC 9110 says that a 405 must.
func TestAWrongMethodIsToldTheRightOnes(t *testing.T) {
	s := &shop{}
	i := start(t, definition(s))
	for path, allow := range map[string]string{
		"/v1/orders/" + orderPanics: "GET, PATCH",
		"/v1/orders":                "GET, POST",
		"/v1/products":              "GET",
	} {
		a := i.send(http.MethodDelete, path, "")
		require.Equal(t, http.StatusMethodNotAllowed, a.StatusCode)
		require.Equal(t, allow, a.Header.Get("Allow"), path)
	}
	require.Zero(t, s.calls.Load(), "asking executes nothing")
}

// TestBadRequestsOverGRPC: the same over the other wire.
func TestBadRequestsOverGRPC(t *testing.T) {
	i := start(t, definition(&shop{}))
	conn := i.dial()
	for name, test := range map[string]struct {
		method, request string
		code            codes.Code
		reason          apierror.Reason
	}{
		"invalid UTF-8":       {ordersv1.OrdersService_GetOrder_FullMethodName, "\x0a\x01\xff", codes.InvalidArgument, apierror.ReasonMalformedRequest},
		"not a message":       {ordersv1.OrdersService_GetOrder_FullMethodName, "\xff\xff\xff", codes.InvalidArgument, apierror.ReasonMalformedRequest},
		"too large":           {ordersv1.OrdersService_GetOrder_FullMethodName, string(make([]byte, 1<<20+1)), codes.ResourceExhausted, apierror.ReasonMessageTooLarge},
		"far too large":       {ordersv1.OrdersService_GetOrder_FullMethodName, string(make([]byte, 5<<20)), codes.ResourceExhausted, ""},
		"a rule broken":       {ordersv1.OrdersService_GetOrder_FullMethodName, "\x0a\x01x", codes.InvalidArgument, apierror.ReasonInvalidField},
		"no key":              {ordersv1.OrdersService_CreateOrder_FullMethodName, "", codes.InvalidArgument, apierror.ReasonKeyMissing},
		"unknown method":      {"/holdfast.orders.v1.OrdersService/Steal", "", codes.Unimplemented, apierror.ReasonUnknownMethod},
		"unknown service":     {"/nobody.Nothing/Do", "", codes.Unimplemented, apierror.ReasonUnknownMethod},
		"a panic":             {ordersv1.OrdersService_GetOrder_FullMethodName, "\x0a\x24" + orderPanics, codes.Internal, apierror.ReasonInternal},
		"an unexpected error": {ordersv1.OrdersService_GetOrder_FullMethodName, "\x0a\x24" + orderSecret, codes.Internal, apierror.ReasonInternal},
	} {
		t.Run(name, func(t *testing.T) {
			var answer []byte
			err := conn.Invoke(t.Context(), test.method, []byte(test.request), &answer, rawCodec)
			require.Equal(t, test.code, status.Code(err), err)
			reason, _ := apierror.ReasonOf(err)
			require.Equal(t, test.reason, reason, err)
			require.NotContains(t, err.Error(), "/srv/")
			require.NotContains(t, err.Error(), "cards")
		})
	}
}

func TestAPanicIsLoggedWithTheIdThatWasAnswered(t *testing.T) {
	i := start(t, definition(&shop{}))
	a := i.send(http.MethodGet, "/v1/orders/"+orderPanics, "")
	var problem apierror.Problem
	require.NoError(t, json.Unmarshal([]byte(a.body), &problem))
	require.NotEmpty(t, problem.Metadata["error_id"])
	require.Contains(t, i.logs.String(), problem.Metadata["error_id"])
	require.Contains(t, i.logs.String(), "a bug at /srv/orders.go:7", "the log has what the answer has not")
}

func TestHeadersInAndOut(t *testing.T) {
	i := start(t, definition(&shop{}))
	order := "/v1/orders/" + orderFine

	a := i.send(http.MethodGet, order, "", headerRequestID, "mine-1")
	require.Equal(t, "mine-1", a.Header.Get(headerRequestID))
	require.Equal(t, Version, a.Header.Get(headerVersion))
	require.Equal(t, "true", a.Header.Get(headerReplayed), "the trailer becomes a header")
	require.Equal(t, "7", a.Header.Get("Retry-After"), "listed metadata comes out")
	require.Empty(t, a.Header.Get("X-Secret"))
	require.Empty(t, a.Header.Get("Grpc-Metadata-X-Secret"), "only listed metadata comes out")

	a = i.send(http.MethodGet, order, "", headerRequestID, "not a good\tid")
	require.NotContains(t, a.Header.Get(headerRequestID), " ", "an id that cannot be logged is replaced")

	a = i.send(http.MethodPatch, order, `{"etag":"7"}`, "If-Match", `"7"`)
	require.Contains(t, a.body, `"contactEmail":"7"`, "the handler saw If-Match without its quotes")

	a = i.send(http.MethodPatch, order, `{"etag":"1","shippingNote":"later"}`)
	require.Equal(t, http.StatusAccepted, a.StatusCode, a.body)

	a = i.send(http.MethodGet, order, "", "Te", "trailers", "Grpc-Timeout", "never")
	require.Equal(t, http.StatusOK, a.StatusCode, "gRPC's own headers mean nothing here: %s", a.body)

	a = i.send(http.MethodGet, order, "", "Grpc-Metadata-Holdfast-Act-As-Tenant", "globex", auth.MetadataActAs, "globex")
	require.Equal(t, http.StatusOK, a.StatusCode, "what is not listed does not come in: %s", a.body)
}

func TestEveryAnswerSaysWhichVersionGaveIt(t *testing.T) {
	client := start(t, definition(&shop{})).client()
	for _, id := range []string{orderFine, orderPanics} {
		var trailer metadata.MD
		_, _ = client.GetOrder(t.Context(), &ordersv1.GetOrderRequest{Id: id}, grpc.Trailer(&trailer))
		require.Equal(t, []string{Version}, trailer.Get(VersionTrailer), "of an error, too: %s", id)
	}
}

func TestTheServersDeadlineHoldsWithoutAClientsOne(t *testing.T) {
	i := start(t, definition(&shop{}))
	_, err := i.client().GetOrder(t.Context(), &ordersv1.GetOrderRequest{Id: orderStuck})
	require.Equal(t, codes.DeadlineExceeded, status.Code(err))
	reason, _ := apierror.ReasonOf(err)
	require.Equal(t, apierror.ReasonDeadline, reason)
}

func TestDevelopmentHasDocsAndReflectionAndProductionHasNot(t *testing.T) {
	i := start(t, definition(&shop{}))
	require.Contains(t, get(t, i.HTTP, "/docs").body, "<title>Holdfast API</title>")
	require.True(t, json.Valid([]byte(get(t, i.HTTP, "/openapi.json").body)))
	require.Contains(t, reflected(t, i.dial()), "holdfast.orders.v1.OrdersService")

	keys := keyFile(t)
	i = start(t, definition(&shop{}), "HOLDFAST_ENV", "production", "HOLDFAST_API_KEYS_FILE", keys)
	require.Equal(t, http.StatusNotFound, get(t, i.HTTP, "/docs").StatusCode)
	require.Equal(t, http.StatusNotFound, get(t, i.HTTP, "/openapi.json").StatusCode)
	require.Empty(t, reflected(t, i.dial()))
}
