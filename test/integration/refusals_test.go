package integration

import (
	"bytes"
	"context"
	"fmt"
	"math"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"google.golang.org/genproto/googleapis/type/money"
	"google.golang.org/grpc/codes"

	"github.com/holdfast-dev/holdfast/pkg/apierror"
	"github.com/holdfast-dev/holdfast/pkg/idempotency"
	ordersv1 "github.com/holdfast-dev/holdfast/proto/holdfast/orders/v1"
	paymentsv1 "github.com/holdfast-dev/holdfast/proto/holdfast/payments/v1"
)

// refusal is one way to be wrong, over HTTP, over gRPC, or over both: the same
// mistake has the same reason on both.
type refusal struct {
	name   string
	reason apierror.Reason
	code   codes.Code // of gRPC
	status int        // of HTTP
	retry  apierror.Retry
	field  string // a field that the error must name, if any

	http *request
	rpc  func(context.Context, *platform) error
}

// request is an HTTP request as a careless client makes it.
type request struct {
	service string // orders unless it says payments
	method  string
	path    string
	body    string
	token   string // the tenant's key unless it says otherwise; "none" for none
	key     string // a fresh idempotency key unless it says otherwise; "none" for none
	header  http.Header
}

const none = "none"

func post(path, body string) *request {
	return &request{method: http.MethodPost, path: path, body: body}
}
func get(path string) *request { return &request{method: http.MethodGet, path: path, key: none} }

func (r *request) with(change func(*request)) *request {
	change(r)
	return r
}

// order is the body of an order that is fine but for what is added to it.
func order(more string) string {
	return `{"lines":[{"product_id":"espresso-cup","quantity":1}],"payment_method":"pm_card_ok"` + more + `}`
}

func linesOf(lines string) string {
	return `{"lines":[` + lines + `],"payment_method":"pm_card_ok"}`
}

// create is the same over gRPC.
func create(change func(*ordersv1.CreateOrderRequest)) func(context.Context, *platform) error {
	return func(ctx context.Context, p *platform) error {
		r := fine()
		change(r)
		_, err := p.orders.CreateOrder(p.as(ctx, p.tenant), r)
		return err
	}
}

func fine() *ordersv1.CreateOrderRequest {
	return &ordersv1.CreateOrderRequest{
		Lines:         []*ordersv1.CreateOrderRequest_Line{{ProductId: "espresso-cup", Quantity: 1}},
		PaymentMethod: "pm_card_ok",
	}
}

func charge(amount *money.Money) func(context.Context, *platform) error {
	return func(ctx context.Context, p *platform) error {
		_, err := p.payments.ChargePayment(p.as(ctx, p.tenant), &paymentsv1.ChargePaymentRequest{
			Reference: "by-hand", Amount: amount, PaymentMethod: "pm_card_ok",
		})
		return err
	}
}

func chargeBody(amount string) *request {
	return post("/v1/payments:charge", `{"reference":"by-hand","amount":`+amount+`,"payment_method":"pm_card_ok"}`).
		with(func(r *request) { r.service = "payments" })
}

// malformed requests do not decode; what a gRPC client cannot even encode is
// sent as bytes.
func malformed() []refusal {
	bad := func(name, body string) refusal {
		return refusal{
			name: name, reason: apierror.ReasonMalformedRequest, status: http.StatusBadRequest,
			http: post("/v1/orders", body),
		}
	}
	raw := func(name string, wire []byte) refusal {
		return refusal{
			name: name, reason: apierror.ReasonMalformedRequest, code: codes.InvalidArgument,
			rpc: func(ctx context.Context, p *platform) error {
				return p.sendRaw(p.as(ctx, p.tenant), ordersv1.OrdersService_CreateOrder_FullMethodName, wire)
			},
		}
	}
	return []refusal{
		bad("JSON that ends early", `{"lines":[`),
		bad("JSON of another shape", `[1,2,3]`),
		bad("no JSON", `lines=espresso-cup`),
		bad("two documents", order("")+order("")),
		bad("a duplicate field", order(`,"shipping_note":"a","shipping_note":"b"`)),
		bad("NaN", linesOf(`{"product_id":"espresso-cup","quantity":NaN}`)),
		bad("a quantity that is no number", linesOf(`{"product_id":"espresso-cup","quantity":"many"}`)),
		bad("a quantity beyond int32", linesOf(`{"product_id":"espresso-cup","quantity":99999999999}`)),
		bad("a quantity that is not whole", linesOf(`{"product_id":"espresso-cup","quantity":1.5}`)),
		bad("text that is not UTF-8", order(",\"shipping_note\":\"\xff\xfe\"")),
		raw("bytes that are no message", []byte{0xff, 0xff, 0xff, 0xff}),
		raw("a message that ends early", []byte{0x0a, 0x7f, 0x01}),
		raw("a string that is not UTF-8", []byte{0x12, 0x02, 0xff, 0xfe}),
		{
			name: "a field that does not exist", reason: apierror.ReasonUnknownField, status: http.StatusBadRequest, field: "discount",
			http: post("/v1/orders", order(`,"discount":100`)),
		},
		{
			name: "a field that is ours to set", reason: apierror.ReasonUnknownField, status: http.StatusBadRequest, field: "total",
			http: post("/v1/orders", order(`,"total":{"units":"0"}`)),
		},
		{
			name: "a body in another language", reason: apierror.ReasonUnsupportedMediaType, status: http.StatusUnsupportedMediaType,
			http: post("/v1/orders", "<order/>").with(func(r *request) { r.header = http.Header{"Content-Type": {"application/xml"}} }),
		},
		{
			name: "a body that is too large", reason: apierror.ReasonMessageTooLarge,
			code: codes.ResourceExhausted, status: http.StatusRequestEntityTooLarge,
			http: post("/v1/orders", order(`,"shipping_note":"`+strings.Repeat("x", 2<<20)+`"`)),
			rpc:  create(func(r *ordersv1.CreateOrderRequest) { r.ShippingNote = strings.Repeat("x", 2<<20) }),
		},
	}
}

// invalid requests decode, and break a rule of the contract.
func invalid() []refusal {
	field := func(name, field string, h *request, rpc func(context.Context, *platform) error) refusal {
		return refusal{
			name: name, reason: apierror.ReasonInvalidField, field: field,
			code: codes.InvalidArgument, status: http.StatusBadRequest, http: h, rpc: rpc,
		}
	}
	quantity := func(name string, n int32) refusal {
		return field(name, "lines[0].quantity",
			post("/v1/orders", linesOf(fmt.Sprintf(`{"product_id":"espresso-cup","quantity":%d}`, n))),
			create(func(r *ordersv1.CreateOrderRequest) { r.Lines[0].Quantity = n }))
	}
	return []refusal{
		quantity("no quantity", 0),
		quantity("a negative quantity", -1),
		quantity("a quantity beyond the limit", 10_001),
		quantity("the largest quantity there is", math.MaxInt32),
		field("no lines", "lines",
			post("/v1/orders", linesOf("")), create(func(r *ordersv1.CreateOrderRequest) { r.Lines = nil })),
		field("too many lines", "lines",
			post("/v1/orders", linesOf(strings.TrimSuffix(strings.Repeat(`{"product_id":"a","quantity":1},`, 101), ","))),
			create(func(r *ordersv1.CreateOrderRequest) {
				for range 100 {
					r.Lines = append(r.Lines, r.GetLines()[0])
				}
			})),
		field("one product in two lines", "lines",
			post("/v1/orders", linesOf(`{"product_id":"espresso-cup","quantity":1},{"product_id":"espresso-cup","quantity":1}`)),
			create(func(r *ordersv1.CreateOrderRequest) { r.Lines = append(r.Lines, r.GetLines()[0]) })),
		field("an unknown product", "lines[0].product_id",
			post("/v1/orders", linesOf(`{"product_id":"tea","quantity":1}`)),
			create(func(r *ordersv1.CreateOrderRequest) { r.Lines[0].ProductId = "tea" })),
		field("a product id that tries its luck", "lines[0].product_id",
			post("/v1/orders", linesOf(`{"product_id":"x'; DROP TABLE orders; --","quantity":1}`)),
			create(func(r *ordersv1.CreateOrderRequest) { r.Lines[0].ProductId = "x'; DROP TABLE orders; --" })),
		field("two currencies in one order", "lines[1].product_id",
			post("/v1/orders", linesOf(`{"product_id":"espresso-cup","quantity":1},{"product_id":"siphon-brewer","quantity":1}`)),
			create(func(r *ordersv1.CreateOrderRequest) {
				r.Lines = append(r.Lines, &ordersv1.CreateOrderRequest_Line{ProductId: "siphon-brewer", Quantity: 1})
			})),
		field("a sum beyond int64", "lines",
			post("/v1/orders", linesOf(`{"product_id":"planet","quantity":10},{"product_id":"espresso-cup","quantity":10}`)),
			create(func(r *ordersv1.CreateOrderRequest) {
				r.Lines = []*ordersv1.CreateOrderRequest_Line{{ProductId: "planet", Quantity: 10}, {ProductId: "espresso-cup", Quantity: 10}}
			})),
		field("a card number in place of a token", "payment_method",
			post("/v1/orders", strings.Replace(order(""), "pm_card_ok", "4242424242424242", 1)),
			create(func(r *ordersv1.CreateOrderRequest) { r.PaymentMethod = "4242424242424242" })),
		field("a note that is too long", "shipping_note",
			post("/v1/orders", order(`,"shipping_note":"`+strings.Repeat("x", 501)+`"`)),
			create(func(r *ordersv1.CreateOrderRequest) { r.ShippingNote = strings.Repeat("x", 501) })),
		field("control characters", "shipping_note",
			post("/v1/orders", order(`,"shipping_note":"a\u0000b\u001bc"`)),
			create(func(r *ordersv1.CreateOrderRequest) { r.ShippingNote = "a\x00b\x1bc" })),
		field("no e-mail address", "contact_email",
			post("/v1/orders", order(`,"contact_email":"nobody"`)),
			create(func(r *ordersv1.CreateOrderRequest) { r.ContactEmail = "nobody" })),
		field("a page that is too large", "page_size",
			get("/v1/orders?page_size=201"),
			func(ctx context.Context, p *platform) error {
				_, err := p.orders.ListOrders(p.as(ctx, p.tenant), &ordersv1.ListOrdersRequest{PageSize: 201})
				return err
			}),
		field("a state that does not exist", "state", nil,
			func(ctx context.Context, p *platform) error {
				_, err := p.orders.ListOrders(p.as(ctx, p.tenant), &ordersv1.ListOrdersRequest{State: 99})
				return err
			}),
		field("an id that is none", "id",
			get("/v1/orders/1%20OR%201=1"),
			func(ctx context.Context, p *platform) error {
				_, err := p.orders.GetOrder(p.as(ctx, p.tenant), &ordersv1.GetOrderRequest{Id: "1 OR 1=1"})
				return err
			}),
		field("an unsupported currency", "amount",
			chargeBody(`{"currency_code":"XAU","units":"1"}`), charge(&money.Money{CurrencyCode: "XAU", Units: 1})),
		field("an amount of nothing", "amount",
			chargeBody(`{"currency_code":"USD"}`), charge(&money.Money{CurrencyCode: "USD"})),
		field("a negative amount", "amount",
			chargeBody(`{"currency_code":"USD","units":"-1"}`), charge(&money.Money{CurrencyCode: "USD", Units: -1})),
		field("an amount beyond int64", "amount",
			chargeBody(`{"currency_code":"USD","units":"9223372036854775807"}`), charge(&money.Money{CurrencyCode: "USD", Units: math.MaxInt64})),
		field("a fraction of a cent", "amount",
			chargeBody(`{"currency_code":"USD","units":"1","nanos":1}`), charge(&money.Money{CurrencyCode: "USD", Units: 1, Nanos: 1})),
		{
			name: "a page token that is none", reason: apierror.ReasonInvalidPageToken,
			code: codes.InvalidArgument, status: http.StatusBadRequest,
			http: get("/v1/orders?page_token=bm9uc2Vuc2U"),
			rpc: func(ctx context.Context, p *platform) error {
				_, err := p.orders.ListOrders(p.as(ctx, p.tenant), &ordersv1.ListOrdersRequest{PageToken: "bm9uc2Vuc2U"})
				return err
			},
		},
	}
}

// keys that cannot stand for the request they came with.
func badKeys(taken string) []refusal {
	with := func(name, key string, reason apierror.Reason, code codes.Code, status int, retry apierror.Retry) refusal {
		return refusal{
			name: name, reason: reason, code: code, status: status, retry: retry,
			http: post("/v1/orders", order(`,"shipping_note":"another"`)).with(func(r *request) { r.key = key }),
			rpc: func(ctx context.Context, p *platform) error {
				r := fine()
				r.ShippingNote = "another"
				_, err := p.orders.CreateOrder(p.asWith(ctx, p.tenant, key), r)
				return err
			},
		}
	}
	at := func(offset time.Duration) string { return idempotency.NewKeyAt(time.Now().Add(offset)).String() }
	return []refusal{
		with("no key", none, apierror.ReasonKeyMissing, codes.InvalidArgument, http.StatusBadRequest, apierror.RetryNewKey),
		with("a key that is too long", strings.Repeat("k", 256), apierror.ReasonKeyMalformed, codes.InvalidArgument, http.StatusBadRequest, apierror.RetryNewKey),
		with("a key with spaces", "a key", apierror.ReasonKeyMalformed, codes.InvalidArgument, http.StatusBadRequest, apierror.RetryNewKey),
		with("an expired key", at(-25*time.Hour), apierror.ReasonKeyExpired, codes.FailedPrecondition, http.StatusGone, apierror.RetryNewKey),
		with("a key from the future", at(time.Hour), apierror.ReasonKeyFromFuture, codes.InvalidArgument, http.StatusBadRequest, apierror.RetryNewKey),
		with("a key that was used for something else", taken, apierror.ReasonKeyReused, codes.FailedPrecondition, http.StatusUnprocessableEntity, apierror.RetryNewKey),
	}
}

// outOfReach are things that are not there, or not the caller's, or not in the
// state for it. Globex is the tenant that knocks; the ids are acme's, and over is
// an order that is cancelled already.
func outOfReach(owned *ordersv1.Order, over string) []refusal {
	notFound := func(name string, h *request, rpc func(context.Context, *platform) error) refusal {
		return refusal{name: name, reason: apierror.ReasonNotFound, code: codes.NotFound, status: http.StatusNotFound, http: h, rpc: rpc}
	}
	nobody, id := uuid.NewString(), owned.GetId()
	stranger := func(r *request) { r.token = "other" }
	return []refusal{
		notFound("an order that is not there", get("/v1/orders/"+nobody), func(ctx context.Context, p *platform) error {
			_, err := p.orders.GetOrder(p.as(ctx, p.tenant), &ordersv1.GetOrderRequest{Id: nobody})
			return err
		}),
		notFound("reading another tenant's order", get("/v1/orders/"+id).with(stranger), func(ctx context.Context, p *platform) error {
			_, err := p.orders.GetOrder(p.as(ctx, p.other), &ordersv1.GetOrderRequest{Id: id})
			return err
		}),
		notFound("cancelling another tenant's order", post("/v1/orders/"+id+":cancel", "{}").with(stranger), func(ctx context.Context, p *platform) error {
			_, err := p.orders.CancelOrder(p.as(ctx, p.other), &ordersv1.CancelOrderRequest{Id: id})
			return err
		}),
		notFound("changing another tenant's order",
			(&request{method: http.MethodPatch, path: "/v1/orders/" + id, body: `{"etag":"` + owned.GetEtag() + `","shipping_note":"mine"}`}).with(stranger),
			func(ctx context.Context, p *platform) error {
				_, err := p.orders.UpdateOrder(p.as(ctx, p.other), &ordersv1.UpdateOrderRequest{Id: id, Etag: owned.GetEtag(), ShippingNote: new("mine")})
				return err
			}),
		notFound("reading another tenant's payment",
			get("/v1/payments/"+owned.GetPaymentId()).with(stranger).with(func(r *request) { r.service = "payments" }),
			func(ctx context.Context, p *platform) error {
				_, err := p.payments.GetPayment(p.as(ctx, p.other), &paymentsv1.GetPaymentRequest{Id: owned.GetPaymentId()})
				return err
			}),
		notFound("refunding another tenant's payment",
			post("/v1/payments/"+owned.GetPaymentId()+":refund", "{}").with(stranger).with(func(r *request) { r.service = "payments" }),
			func(ctx context.Context, p *platform) error {
				_, err := p.payments.RefundPayment(p.as(ctx, p.other), &paymentsv1.RefundPaymentRequest{Id: owned.GetPaymentId()})
				return err
			}),
		{
			name: "cancelling what is cancelled", reason: apierror.ReasonWrongState, code: codes.FailedPrecondition, status: http.StatusConflict,
			http: post("/v1/orders/"+over+":cancel", "{}"),
			rpc: func(ctx context.Context, p *platform) error {
				_, err := p.orders.CancelOrder(p.as(ctx, p.tenant), &ordersv1.CancelOrderRequest{Id: over})
				return err
			},
		},
		{
			name: "a stale etag", reason: apierror.ReasonEtagMismatch, code: codes.FailedPrecondition, status: http.StatusPreconditionFailed,
			http: &request{
				method: http.MethodPatch, path: "/v1/orders/" + id, body: `{"shipping_note":"late"}`,
				header: http.Header{"If-Match": {`"v1"`}},
			},
			rpc: func(ctx context.Context, p *platform) error {
				_, err := p.orders.UpdateOrder(p.as(ctx, p.tenant), &ordersv1.UpdateOrderRequest{Id: id, Etag: "v1", ShippingNote: new("late")})
				return err
			},
		},
	}
}

// unwelcome are callers without a right to call, and calls of nothing.
func unwelcome() []refusal {
	caller := func(name, token string, reason apierror.Reason, code codes.Code, status int) refusal {
		return refusal{
			name: name, reason: reason, code: code, status: status,
			http: post("/v1/orders", order("")).with(func(r *request) { r.token = token }),
			rpc: func(ctx context.Context, p *platform) error {
				_, err := p.orders.CreateOrder(p.as(ctx, p.token(token)), fine())
				return err
			},
		}
	}
	return []refusal{
		caller("no credentials", none, apierror.ReasonCredentialsMissing, codes.Unauthenticated, http.StatusUnauthorized),
		caller("credentials of nobody", "hf_nobody_"+strings.Repeat("x", 40), apierror.ReasonCredentialsInvalid, codes.Unauthenticated, http.StatusUnauthorized),
		caller("credentials of another kind", "sk_live_123", apierror.ReasonCredentialsInvalid, codes.Unauthenticated, http.StatusUnauthorized),
		caller("credentials without the scope", "reader", apierror.ReasonPermissionDenied, codes.PermissionDenied, http.StatusForbidden),
		{
			name: "acting for another tenant without being a service", reason: apierror.ReasonPermissionDenied,
			code: codes.PermissionDenied,
			rpc: func(ctx context.Context, p *platform) error {
				_, err := p.orders.CreateOrder(p.actingAs(p.as(ctx, p.tenant), "globex"), fine())
				return err
			},
		},
		{
			name: "a method that does not exist", reason: apierror.ReasonUnknownMethod,
			code: codes.Unimplemented, status: http.StatusNotFound,
			http: post("/v1/orders:explode", "{}"),
			rpc: func(ctx context.Context, p *platform) error {
				return p.sendRaw(p.as(ctx, p.tenant), "/holdfast.orders.v1.OrdersService/Explode", nil)
			},
		},
		{
			name: "a verb that the path does not have", reason: apierror.ReasonMethodNotAllowed, status: http.StatusMethodNotAllowed,
			http: &request{method: http.MethodDelete, path: "/v1/orders", key: none},
		},
	}
}

// TestEveryRefusalIsTypedChangesNothingAndLeaksNothing is the platform's answer
// to bad input: for every case the error of the contract's table, over gRPC and
// HTTP, no row more anywhere, and nothing of the inside in the answer.
func TestEveryRefusalIsTypedChangesNothingAndLeaksNothing(t *testing.T) {
	t.Parallel()
	p := start(t)
	p.exec(t, `INSERT INTO products VALUES ('planet', 'A planet', 'USD', $1)`, int64(math.MaxInt64/10))
	taken := idempotency.NewKey().String()
	placed, err := p.orders.CreateOrder(p.asWith(t.Context(), p.tenant, taken), fine())
	require.NoError(t, err)
	require.Equal(t, ordersv1.OrderState_ORDER_STATE_PAID, placed.GetOrder().GetState())

	cancelled, err := p.orders.CreateOrder(p.as(t.Context(), p.tenant), fine())
	require.NoError(t, err)
	over := cancelled.GetOrder().GetId()
	_, err = p.orders.CancelOrder(p.as(t.Context(), p.tenant), &ordersv1.CancelOrderRequest{Id: over})
	require.NoError(t, err)
	p.await(t, over, ordersv1.OrderState_ORDER_STATE_CANCELLED)
	p.requireSound(t)

	var cases []refusal
	for _, some := range [][]refusal{malformed(), invalid(), badKeys(taken), outOfReach(placed.GetOrder(), over), unwelcome()} {
		cases = append(cases, some...)
	}
	before := p.fingerprint(t)
	for _, c := range cases {
		if c.http != nil {
			t.Run(c.name+"/HTTP", func(t *testing.T) {
				problem := p.send(t, c.http)
				require.Equal(t, c.status, problem.Status, problem.raw)
				require.Equal(t, string(c.reason), problem.Reason, problem.raw)
				requireAdvice(t, c, problem.Retry)
				if c.field != "" {
					require.Contains(t, problem.fields(), c.field, problem.raw)
				}
				requireNoLeak(t, problem.raw)
			})
		}
		if c.rpc != nil {
			t.Run(c.name+"/gRPC", func(t *testing.T) {
				ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
				defer cancel()
				refused := detailsOf(c.rpc(ctx, p))
				require.Equal(t, c.code, refused.code, refused.text)
				require.Equal(t, string(c.reason), refused.reason, refused.text)
				requireAdvice(t, c, refused.retry)
				if c.field != "" {
					require.Contains(t, refused.fields, c.field, refused.text)
				}
				requireNoLeak(t, refused.text)
			})
		}
	}
	require.Equal(t, before, p.fingerprint(t), "a refusal has changed something")

	// The control: the comparison sees what is not refused.
	_, err = p.orders.CreateOrder(p.as(t.Context(), p.tenant), fine())
	require.NoError(t, err)
	require.NotEqual(t, before, p.fingerprint(t))
}

// requireAdvice holds an error to saying what to do next.
func requireAdvice(t *testing.T, c refusal, got string) {
	t.Helper()
	require.Contains(t, []string{"same_key", "new_key", "never"}, got)
	if c.retry != "" {
		require.Equal(t, string(c.retry), got)
	}
}

// inside are words that only somebody inside should read.
var inside = []string{
	"SQLSTATE", "pgx", "pq:", "SELECT ", "INSERT ", "UPDATE ", "relation \"", "idempotency_keys", "violates",
	".go:", "goroutine", "runtime error", "panic", "/root", "/home", "/work", "/tmp", "127.0.0.1", "127.0.0.1:",
}

func requireNoLeak(t *testing.T, answer string) {
	t.Helper()
	for _, word := range inside {
		if strings.Contains(answer, word) {
			t.Errorf("the answer says %q: %s", word, answer)
		}
	}
	if bytes.ContainsRune([]byte(answer), 0) {
		t.Error("the answer has a NUL in it")
	}
}
