package idempotency_test

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/grpc-ecosystem/grpc-gateway/v2/runtime"
	"github.com/stretchr/testify/require"
	"google.golang.org/genproto/googleapis/type/money"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/test/bufconn"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"github.com/holdfast-dev/holdfast/pkg/apierror"
	"github.com/holdfast-dev/holdfast/pkg/auth"
	"github.com/holdfast-dev/holdfast/pkg/idempotency"
	"github.com/holdfast-dev/holdfast/pkg/policy"
	"github.com/holdfast-dev/holdfast/pkg/validate"
	paymentsv1 "github.com/holdfast-dev/holdfast/proto/holdfast/payments/v1"
)

// server is the least service there can be: one keyed method over one store.
type server struct {
	paymentsv1.UnimplementedPaymentsServiceServer
	db     *database
	charge func(context.Context, *paymentsv1.ChargePaymentRequest) (*paymentsv1.ChargePaymentResponse, error)
}

func (s *server) ChargePayment(ctx context.Context, r *paymentsv1.ChargePaymentRequest) (*paymentsv1.ChargePaymentResponse, error) {
	return s.charge(ctx, r)
}

// once is a handler as services write them.
func (s *server) once(ctx context.Context, r *paymentsv1.ChargePaymentRequest) (*paymentsv1.ChargePaymentResponse, error) {
	call, _ := idempotency.FromContext(ctx)
	id := s.db.ResourceID(call, "payment")
	answer := &paymentsv1.ChargePaymentResponse{Payment: &paymentsv1.Payment{
		Id: id.String(), Reference: r.GetReference(), Amount: r.GetAmount(), DeclineCode: uuid.NewString(),
	}}
	out, err := s.db.Insert(ctx, call, insertEffect, answer, [16]byte(id), r.GetAmount().GetUnits())
	if err != nil {
		return nil, err
	}
	return answer, out.Into(answer)
}

// serving is a server with its clients.
type serving struct {
	*server
	conn   *grpc.ClientConn
	client paymentsv1.PaymentsServiceClient
	http   string
}

func serve(t *testing.T, db *database, innermost ...grpc.UnaryServerInterceptor) *serving {
	t.Helper()
	policies, err := policy.Load(paymentsv1.File_holdfast_payments_v1_payments_proto.Services().Get(0))
	require.NoError(t, err)
	validation, err := validate.UnaryServerInterceptor()
	require.NoError(t, err)
	chain := append([]grpc.UnaryServerInterceptor{
		apierror.UnaryServerInterceptor(slog.New(slog.DiscardHandler)),
		policies.UnaryServerInterceptor(),
		tenantByToken,
		idempotency.UnaryServerInterceptor(db.Store, policies),
		validation,
	}, innermost...)
	grpcServer := grpc.NewServer(grpc.ChainUnaryInterceptor(chain...), grpc.ForceServerCodecV2(idempotency.Codec()))
	s := &server{db: db}
	s.charge = s.once
	paymentsv1.RegisterPaymentsServiceServer(grpcServer, s)
	listener := bufconn.Listen(1 << 20)
	go func() { _ = grpcServer.Serve(listener) }()
	t.Cleanup(grpcServer.Stop)

	conn, err := grpc.NewClient("passthrough:///test", grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return listener.DialContext(ctx) }))
	require.NoError(t, err)
	t.Cleanup(func() { conn.Close() })
	return &serving{server: s, conn: conn, client: paymentsv1.NewPaymentsServiceClient(conn), http: gateway(t, conn)}
}

// tenantByToken stands for authentication: the token is the tenant.
func tenantByToken(ctx context.Context, r any, _ *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
	token := strings.TrimPrefix(strings.Join(metadata.ValueFromIncomingContext(ctx, "authorization"), ""), "Bearer ")
	return next(auth.NewContext(ctx, auth.Principal{Tenant: token}), r)
}

// gateway is an HTTP edge in small.
func gateway(t *testing.T, conn *grpc.ClientConn) string {
	t.Helper()
	mux := runtime.NewServeMux(
		runtime.WithMarshalerOption(runtime.MIMEWildcard, compactJSON{&runtime.JSONPb{MarshalOptions: protojson.MarshalOptions{}}}),
		runtime.WithIncomingHeaderMatcher(func(h string) (string, bool) {
			h = strings.ToLower(h)
			return h, h == idempotency.KeyMetadata // the gateway adds authorization itself
		}),
		runtime.WithForwardResponseOption(func(ctx context.Context, w http.ResponseWriter, _ proto.Message) error {
			if md, ok := runtime.ServerMetadataFromContext(ctx); ok && len(md.TrailerMD.Get(idempotency.ReplayedTrailer)) > 0 {
				w.Header().Set("Idempotent-Replayed", "true")
			}
			return nil
		}),
		runtime.WithErrorHandler(func(_ context.Context, _ *runtime.ServeMux, _ runtime.Marshaler, w http.ResponseWriter, _ *http.Request, err error) {
			apierror.WriteProblem(w, err)
		}))
	require.NoError(t, paymentsv1.RegisterPaymentsServiceHandler(t.Context(), mux, conn))
	edge := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for i, k := range r.Header.Values("Idempotency-Key") {
			r.Header["Idempotency-Key"][i] = idempotency.UnquoteHeader(k)
		}
		mux.ServeHTTP(w, r)
	}))
	t.Cleanup(edge.Close)
	return edge.URL
}

// compactJSON takes out the white space that protojson adds at random, by build.
type compactJSON struct{ *runtime.JSONPb }

func (c compactJSON) Marshal(v any) ([]byte, error) {
	b, err := c.JSONPb.Marshal(v)
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	err = json.Compact(&out, b)
	return out.Bytes(), err
}

func (s *serving) call(ctx context.Context, key string, r *paymentsv1.ChargePaymentRequest) (*paymentsv1.ChargePaymentResponse, bool, error) {
	ctx = metadata.AppendToOutgoingContext(ctx, idempotency.KeyMetadata, key, "authorization", "Bearer "+tenant)
	var trailer metadata.MD
	response, err := s.client.ChargePayment(ctx, r, grpc.Trailer(&trailer))
	return response, len(trailer.Get(idempotency.ReplayedTrailer)) > 0, err
}

func aPayment() *paymentsv1.ChargePaymentRequest {
	return &paymentsv1.ChargePaymentRequest{
		Reference: "order-" + uuid.NewString(), PaymentMethod: "pm_card_ok",
		Amount: &money.Money{CurrencyCode: "USD", Units: 12},
	}
}

func outgoing(ctx context.Context, key string) context.Context {
	return metadata.AppendToOutgoingContext(ctx, idempotency.KeyMetadata, key, "authorization", "Bearer "+tenant)
}

// captureCodec keeps the bytes of the answer.
type captureCodec struct{ to *[]byte }

func (captureCodec) Marshal(v any) (mem.BufferSlice, error) {
	b, err := proto.Marshal(v.(proto.Message))
	return mem.BufferSlice{mem.SliceBuffer(b)}, err
}

func (c captureCodec) Unmarshal(data mem.BufferSlice, _ any) error {
	*c.to = data.Materialize()
	return nil
}

func (captureCodec) Name() string { return "proto" }
