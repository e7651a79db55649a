package payments

import (
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	"github.com/holdfast-dev/holdfast/pkg/auth"
	"github.com/holdfast-dev/holdfast/pkg/idempotency"
	"github.com/holdfast-dev/holdfast/pkg/idempotency/idempotencytest"
	"github.com/holdfast-dev/holdfast/pkg/service/servicetest"
	paymentsv1 "github.com/holdfast-dev/holdfast/proto/holdfast/payments/v1"
	"github.com/holdfast-dev/holdfast/services/payments/migrations"
)

// whole is the service as pkg/service runs it, gateway and all.
type whole struct {
	harness
	conn *grpc.ClientConn
	http string
}

func startWhole(t *testing.T, changes ...string) *whole {
	t.Helper()
	w := &whole{harness: harness{sandbox: startSandbox(t)}}
	running := servicetest.Start(t, Definition, append([]string{
		"HOLDFAST_DERIVATION_SECRETS", keyConfig().Secrets,
		"HOLDFAST_SANDBOX_URL", w.sandbox.url,
		"HOLDFAST_PROCESSOR_TIMEOUT", "1s",
		"HOLDFAST_COMPLETER_INTERVAL", "100ms",
		"HOLDFAST_COMPLETER_MAX_PAUSE", "1s",
	}, changes...)...)
	w.pool, w.http, w.conn = running.Database.Pool, running.HTTPURL, running.GRPC
	w.client = dial(t, running.Target, auth.DevelopmentKey)
	return w
}

// The state table of idempotency keys, for every method that needs one, counted
// by what the processor did.
func TestEveryWriteKeepsThePromisesOfItsKey(t *testing.T) {
	w := startWhole(t)
	for _, test := range []struct {
		kind               Kind
		method             string
		request            func(testing.TB) proto.Message
		mutate, invalidate func(proto.Message)
	}{
		{
			kind: Charge, method: paymentsv1.PaymentsService_ChargePayment_FullMethodName,
			request: func(testing.TB) proto.Message {
				return &paymentsv1.ChargePaymentRequest{Reference: "suite-" + uuid.NewString(), Amount: eur(1000), PaymentMethod: "pm_card_ok"}
			},
			mutate:     func(m proto.Message) { m.(*paymentsv1.ChargePaymentRequest).Amount = eur(1001) },
			invalidate: func(m proto.Message) { m.(*paymentsv1.ChargePaymentRequest).PaymentMethod = "4242424242424242" },
		},
		{
			kind: Authorize, method: paymentsv1.PaymentsService_AuthorizePayment_FullMethodName,
			request: func(testing.TB) proto.Message {
				return &paymentsv1.AuthorizePaymentRequest{Reference: "suite-" + uuid.NewString(), Amount: eur(1000), PaymentMethod: "pm_card_ok"}
			},
			mutate:     func(m proto.Message) { m.(*paymentsv1.AuthorizePaymentRequest).PaymentMethod = "pm_card_slow" },
			invalidate: func(m proto.Message) { m.(*paymentsv1.AuthorizePaymentRequest).Reference = "two words" },
		},
		{
			kind: Capture, method: paymentsv1.PaymentsService_CapturePayment_FullMethodName,
			request: func(t testing.TB) proto.Message {
				return &paymentsv1.CapturePaymentRequest{Id: w.authorize(t, "suite-"+uuid.NewString(), "pm_card_ok", 1000).GetId()}
			},
			mutate:     func(m proto.Message) { m.(*paymentsv1.CapturePaymentRequest).Id = uuid.NewString() },
			invalidate: func(m proto.Message) { m.(*paymentsv1.CapturePaymentRequest).Id = "not-an-id" },
		},
		{
			kind: Void, method: paymentsv1.PaymentsService_VoidPayment_FullMethodName,
			request: func(t testing.TB) proto.Message {
				return &paymentsv1.VoidPaymentRequest{Id: w.authorize(t, "suite-"+uuid.NewString(), "pm_card_ok", 1000).GetId()}
			},
			mutate:     func(m proto.Message) { m.(*paymentsv1.VoidPaymentRequest).Id = uuid.NewString() },
			invalidate: func(m proto.Message) { m.(*paymentsv1.VoidPaymentRequest).Id = "not-an-id" },
		},
		{
			kind: Refund, method: paymentsv1.PaymentsService_RefundPayment_FullMethodName,
			request: func(t testing.TB) proto.Message {
				return &paymentsv1.RefundPaymentRequest{Id: w.charge(t, "suite-"+uuid.NewString(), "pm_card_ok", 1000).GetId()}
			},
			mutate:     func(m proto.Message) { m.(*paymentsv1.RefundPaymentRequest).Amount = eur(1) },
			invalidate: func(m proto.Message) { m.(*paymentsv1.RefundPaymentRequest).Id = "not-an-id" },
		},
	} {
		t.Run(string(test.kind), func(t *testing.T) {
			idempotencytest.Suite(t, idempotencytest.Subject{
				Method: test.method, Conn: w.conn, HTTP: w.http, Pool: w.pool,
				Tenant: "acme", Token: auth.DevelopmentKey, OtherToken: auth.DevelopmentKeyOther,
				Request: test.request, Mutate: test.mutate, Invalidate: test.invalidate,
				Effects: func(t testing.TB) int { return w.sandbox.performed(t, test.kind) },
				// What was done once is the obstruction: the reference is taken, the
				// payment captured, voided or given back.
				Obstruct: func(testing.TB, proto.Message) func() { return func() {} },
			})
		})
	}
}

func TestTheFirstMigrationIsTheOneOfPkgIdempotency(t *testing.T) {
	t.Parallel()
	idempotencytest.MigrationIsCurrent(t, migrations.FS)
}

// post sends JSON with a key and returns status, body and the replay marker.
func (w *whole) post(t *testing.T, path, key, body string) (int, string, string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, w.http+path, strings.NewReader(body))
	require.NoError(t, err)
	r.Header.Set("Authorization", "Bearer "+auth.DevelopmentKey)
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Idempotency-Key", key)
	response, err := http.DefaultClient.Do(r)
	require.NoError(t, err)
	defer response.Body.Close()
	data, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	return response.StatusCode, string(data), response.Header.Get("Idempotent-Replayed")
}

func TestOverHTTPAnUnknownOutcomeIs202AlsoWhenReplayed(t *testing.T) {
	t.Parallel()
	w := startWhole(t)
	key := idempotency.NewKey().String()
	body := `{"reference":"order-1","amount":{"currencyCode":"EUR","units":"10"},"paymentMethod":"pm_card_drop_after"}`
	status, first, replayed := w.post(t, "/v1/payments:charge", key, body)
	require.Equal(t, http.StatusAccepted, status, first)
	require.Empty(t, replayed)
	require.Contains(t, first, "PAYMENT_STATE_PROCESSING")

	var answered struct{ Payment struct{ ID string } }
	require.NoError(t, json.Unmarshal([]byte(first), &answered))
	w.becomes(t, answered.Payment.ID, captured)
	status, again, replayed := w.post(t, "/v1/payments:charge", key, body)
	require.Equal(t, http.StatusAccepted, status)
	require.Equal(t, "true", replayed)
	require.Equal(t, first, again)

	status, done, _ := w.post(t, "/v1/payments/"+answered.Payment.ID+":refund", idempotency.NewKey().String(), `{}`)
	require.Equal(t, http.StatusOK, status, done)
	w.agrees(t, answered.Payment.ID)
}
