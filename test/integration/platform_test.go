package integration

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/holdfast-dev/holdfast/pkg/apierror"
	"github.com/holdfast-dev/holdfast/pkg/auth"
	"github.com/holdfast-dev/holdfast/pkg/idempotency"
	"github.com/holdfast-dev/holdfast/pkg/postgres/pgtest"
	ordersv1 "github.com/holdfast-dev/holdfast/proto/holdfast/orders/v1"
	paymentsv1 "github.com/holdfast-dev/holdfast/proto/holdfast/payments/v1"
)

// platform is everything, running.
type platform struct {
	orders   ordersv1.OrdersServiceClient
	payments paymentsv1.PaymentsServiceClient
	tenant   string // the key of acme
	other    string // the key of globex
	reader   readerKey

	ordersProcess, paymentsProcess, sandboxProcess *process
	ordersDB, paymentsDB                           *pgxpool.Pool

	ordersConn *grpc.ClientConn
}

// start runs the platform on databases of its own. It ends with the test.
func start(t *testing.T) *platform {
	t.Helper()
	return startOn(t, pgtest.New(t, nil, "integration"), pgtest.New(t, nil, "integration"))
}

// startOn runs the platform on these databases.
func startOn(t testing.TB, ordersDB, paymentsDB *pgtest.Database) *platform {
	t.Helper()
	return startWith(t, ordersDB, paymentsDB, nil)
}

// startWith runs it with variables beside the usual ones.
func startWith(t testing.TB, ordersDB, paymentsDB *pgtest.Database, more map[string]string) *platform {
	t.Helper()
	p := &platform{tenant: auth.DevelopmentKey, other: auth.DevelopmentKeyOther, reader: writeReaderKey(t)}
	p.ordersDB, p.paymentsDB = ordersDB.Pool, paymentsDB.Pool
	secrets := "v1:" + strings.Repeat("0f", 32)

	p.sandboxProcess = newProcess(t, "sandbox", map[string]string{"HOLDFAST_SANDBOX_DATA_DIR": t.TempDir()})
	p.paymentsProcess = newProcess(t, "payments", map[string]string{
		"HOLDFAST_DATABASE_URL":       paymentsDB.URL,
		"HOLDFAST_DERIVATION_SECRETS": secrets,
		"HOLDFAST_SANDBOX_URL":        "http://" + p.sandboxProcess.http,
		// The leases that a crash leaves behind are waited for: shorter ones than
		// the defaults, in the same proportions.
		"HOLDFAST_PROCESSOR_TIMEOUT": "1500ms",
		"HOLDFAST_IDEMPOTENCY_BOUND": "2500ms",
		"HOLDFAST_IDEMPOTENCY_LEASE": "3500ms",
	})
	p.ordersProcess = newProcess(t, "orders", map[string]string{
		"HOLDFAST_DATABASE_URL":        ordersDB.URL,
		"HOLDFAST_DERIVATION_SECRETS":  secrets,
		"HOLDFAST_PAYMENTS_TARGET":     "dns:///" + p.paymentsProcess.grpc,
		"HOLDFAST_API_KEYS_FILE":       p.reader.file,
		"HOLDFAST_IDEMPOTENCY_BOUND":   "3500ms",
		"HOLDFAST_IDEMPOTENCY_LEASE":   "4500ms",
		"HOLDFAST_READ_HEADER_TIMEOUT": "500ms", // so that waiting for it is short
	})
	for _, process := range []*process{p.ordersProcess, p.paymentsProcess} {
		maps.Copy(process.environment, more)
	}
	p.paymentsProcess.migrate(t)
	p.ordersProcess.migrate(t)
	p.sandboxProcess.start(t)
	p.paymentsProcess.start(t)
	p.ordersProcess.start(t)

	p.ordersConn = dial(t, p.ordersProcess.grpc)
	p.orders = ordersv1.NewOrdersServiceClient(p.ordersConn)
	p.payments = paymentsv1.NewPaymentsServiceClient(dial(t, p.paymentsProcess.grpc))
	return p
}

// readerKey is a key of acme that may read and no more.
type readerKey struct{ token, file string }

func writeReaderKey(t testing.TB) readerKey {
	t.Helper()
	token, stored := auth.NewKey("acme", []string{"orders.read"}, false)
	file := filepath.Join(t.TempDir(), "keys.yaml")
	content := fmt.Sprintf("keys:\n  - {id: %q, hash: %q, tenant: acme, scopes: [orders.read]}\n", stored.ID, stored.Hash)
	require.NoError(t, os.WriteFile(file, []byte(content), 0o600))
	return readerKey{token, file}
}

func dial(t testing.TB, address string) *grpc.ClientConn {
	t.Helper()
	conn, err := grpc.NewClient(address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	require.NoError(t, err)
	t.Cleanup(func() { conn.Close() })
	return conn
}

// as is the context of one request: whose it is, and a key of its own.
func (p *platform) as(ctx context.Context, token string) context.Context {
	return p.asWith(ctx, token, idempotency.NewKey().String())
}

func (p *platform) asWith(ctx context.Context, token, key string) context.Context {
	if token != none {
		ctx = metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+token)
	}
	if key != none {
		ctx = metadata.AppendToOutgoingContext(ctx, idempotency.KeyMetadata, key)
	}
	return ctx
}

func (p *platform) actingAs(ctx context.Context, tenant string) context.Context {
	return auth.ActAs(ctx, tenant)
}

// token resolves the short names that cases use.
func (p *platform) token(name string) string {
	switch name {
	case "":
		return p.tenant
	case "other":
		return p.other
	case "reader":
		return p.reader.token
	default:
		return name
	}
}

// sendRaw calls a method with bytes that no client would make.
func (p *platform) sendRaw(ctx context.Context, method string, wire []byte) error {
	var answer []byte
	return p.ordersConn.Invoke(ctx, method, wire, &answer, grpc.ForceCodecV2(rawCodec{}))
}

type rawCodec struct{}

var _ encoding.CodecV2 = rawCodec{}

func (rawCodec) Marshal(v any) (mem.BufferSlice, error) {
	return mem.BufferSlice{mem.SliceBuffer(v.([]byte))}, nil
}

func (rawCodec) Unmarshal(data mem.BufferSlice, v any) error {
	*v.(*[]byte) = data.Materialize()
	return nil
}

func (rawCodec) Name() string { return "proto" }

// problem is an HTTP error as it arrived.
type problem struct {
	Status int            `json:"status"`
	Reason string         `json:"reason"`
	Retry  string         `json:"retry"`
	Errors []problemField `json:"errors"`
	raw    string
}

type problemField struct {
	Field string `json:"field"`
}

func (p problem) fields() []string {
	var fields []string
	for _, e := range p.Errors {
		fields = append(fields, e.Field)
	}
	return fields
}

// do sends an HTTP request.
func (p *platform) do(t *testing.T, r *request) (*http.Response, []byte) {
	t.Helper()
	address := p.ordersProcess.http
	if r.service == "payments" {
		address = p.paymentsProcess.http
	}
	sent, err := http.NewRequestWithContext(t.Context(), r.method, "http://"+address+r.path, strings.NewReader(r.body))
	require.NoError(t, err)
	sent.Header.Set("Content-Type", "application/json")
	if token := p.token(r.token); token != none {
		sent.Header.Set("Authorization", "Bearer "+token)
	}
	switch r.key {
	case none:
	case "":
		sent.Header.Set("Idempotency-Key", idempotency.NewKey().String())
	default:
		sent.Header.Set("Idempotency-Key", r.key)
	}
	for name, values := range r.header {
		sent.Header[name] = values
	}
	response, err := http.DefaultClient.Do(sent)
	require.NoError(t, err)
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	return response, body
}

// send sends a request that is going to be refused, and reads the refusal.
func (p *platform) send(t *testing.T, r *request) problem {
	t.Helper()
	response, body := p.do(t, r)
	require.Equal(t, apierror.ContentType, response.Header.Get("Content-Type"), "%s", body)
	var answer problem
	require.NoError(t, json.Unmarshal(body, &answer), "%s", body)
	require.Equal(t, response.StatusCode, answer.Status)
	for name := range response.Header {
		require.NotContains(t, strings.ToLower(name), "grpc", "a header of the inside")
	}
	answer.raw = string(body)
	return answer
}

// details are a gRPC error as it arrived.
type details struct {
	code   codes.Code
	reason string
	retry  string
	fields []string
	text   string
}

func detailsOf(err error) details {
	refused := status.Convert(err)
	d := details{code: refused.Code(), text: refused.Proto().String()}
	for _, detail := range refused.Details() {
		switch detail := detail.(type) {
		case *errdetails.ErrorInfo:
			d.reason, d.retry = detail.GetReason(), detail.GetMetadata()["retry"]
		case *errdetails.BadRequest:
			for _, v := range detail.GetFieldViolations() {
				d.fields = append(d.fields, v.GetField())
			}
		}
	}
	return d
}

// fingerprint is the content of every table of both services, and of the
// processor's ledger. Two that are equal mean that nothing has changed.
func (p *platform) fingerprint(t *testing.T) map[string]string {
	t.Helper()
	found := map[string]string{}
	for name, db := range map[string]*pgxpool.Pool{"orders": p.ordersDB, "payments": p.paymentsDB} {
		rows, err := db.Query(t.Context(), `
			SELECT relname FROM pg_class
			WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p') AND NOT relispartition
			  AND relname NOT LIKE 'river%' AND relname NOT LIKE 'goose%'`)
		require.NoError(t, err)
		tables, err := pgx.CollectRows(rows, pgx.RowTo[string])
		require.NoError(t, err)
		require.NotEmpty(t, tables)
		for _, table := range tables {
			var content string
			require.NoError(t, db.QueryRow(t.Context(),
				`SELECT count(*) || ' rows, ' || coalesce(md5(string_agg(x::text, '|' ORDER BY x::text)), '') FROM `+pgx.Identifier{table}.Sanitize()+` x`,
			).Scan(&content))
			found[name+"."+table] = content
		}
	}
	response, err := http.Get("http://" + p.sandboxProcess.http + "/v1/ledger")
	require.NoError(t, err)
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	found["sandbox"] = string(body)
	return found
}

// exec changes the database of orders behind its back.
func (p *platform) exec(t *testing.T, sql string, args ...any) {
	t.Helper()
	_, err := p.ordersDB.Exec(t.Context(), sql, args...)
	require.NoError(t, err)
}
