package validate

import (
	"context"
	"strings"
	"testing"

	rules "buf.build/gen/go/bufbuild/protovalidate/protocolbuffers/go/buf/validate"
	"buf.build/go/protovalidate"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"

	"github.com/holdfast-dev/holdfast/pkg/apierror"
	ordersv1 "github.com/holdfast-dev/holdfast/proto/holdfast/orders/v1"
)

// checked sends a request through the interceptor and returns what the handler
// got, or the refusal.
func checked(t testing.TB, request any) (got any, _ *apierror.Error) {
	t.Helper()
	intercept, err := UnaryServerInterceptor()
	require.NoError(t, err)
	_, err = intercept(t.Context(), request, &grpc.UnaryServerInfo{},
		func(_ context.Context, request any) (any, error) { got = request; return nil, nil })
	return got, apierror.From(err)
}

func order(change func(*ordersv1.CreateOrderRequest)) *ordersv1.CreateOrderRequest {
	r := &ordersv1.CreateOrderRequest{
		Lines:         []*ordersv1.CreateOrderRequest_Line{{ProductId: "espresso-beans", Quantity: 2}},
		PaymentMethod: "pm_card_ok",
	}
	change(r)
	return r
}

func TestHandlersGetTheNormalisedRequest(t *testing.T) {
	got, refusal := checked(t, order(func(r *ordersv1.CreateOrderRequest) {
		r.PaymentMethod = " pm_card_ok\n"
		r.ShippingNote = "Cafe\u0301\u00a0"
		r.Lines[0].ProductId = "\tespresso-beans"
	}))
	require.Nil(t, refusal)
	require.True(t, proto.Equal(order(func(r *ordersv1.CreateOrderRequest) { r.ShippingNote = "Caf\u00e9" }), got.(proto.Message)))
}

func TestEveryBrokenRuleIsListed(t *testing.T) {
	got, refusal := checked(t, order(func(r *ordersv1.CreateOrderRequest) {
		r.Lines[0].Quantity = 0
		r.PaymentMethod = "4111111111111111"
		r.ContactEmail = "nobody"
	}))
	require.Nil(t, got, "the handler ran")
	require.Equal(t, apierror.ReasonInvalidField, refusal.Reason())
	var fields []string
	for _, v := range refusal.Violations() {
		require.NotEmpty(t, v.Description)
		fields = append(fields, v.Field)
	}
	require.ElementsMatch(t, []string{"lines[0].quantity", "payment_method", "contact_email"}, fields)
}

func TestControlCharactersAreRefused(t *testing.T) {
	_, refusal := checked(t, order(func(r *ordersv1.CreateOrderRequest) {
		r.ShippingNote = "ring\x00twice"
		r.Lines[0].ProductId = "espresso\u0085beans"
	}))
	require.Equal(t, []apierror.Violation{
		{Field: "lines[0].product_id", Description: "must not have control characters"},
		{Field: "shipping_note", Description: "must not have control characters"},
	}, refusal.Violations())
}

// What fits into one request must not keep a core busy for seconds, nor make an
// answer that no proxy lets through: rules over a list run only if it is short.
func TestALongListIsRefusedBeforeItIsLookedInto(t *testing.T) {
	_, refusal := checked(t, order(func(r *ordersv1.CreateOrderRequest) {
		for range 250_000 { // half a megabyte
			r.Lines = append(r.Lines, &ordersv1.CreateOrderRequest_Line{})
		}
	}))
	require.Equal(t, []apierror.Violation{{Field: "lines", Description: "must contain no more than 100 item(s)"}}, refusal.Violations())
	_, refusal = checked(t, order(func(r *ordersv1.CreateOrderRequest) {
		for range 99 {
			r.Lines = append(r.Lines, &ordersv1.CreateOrderRequest_Line{Quantity: 1, ProductId: "x\x00"})
		}
	}))
	require.Len(t, refusal.Violations(), maxViolations, "100 items are looked into")
	_, refusal = checked(t, order(func(r *ordersv1.CreateOrderRequest) { r.Lines = make([]*ordersv1.CreateOrderRequest_Line, 100) }))
	require.Len(t, refusal.Violations(), maxViolations, "rules list no more either")
	require.Less(t, proto.Size(refusal.GRPCStatus().Proto()), 16<<10)
}

func TestWhatIsNoMessageIsLeftAlone(t *testing.T) {
	got, refusal := checked(t, "text")
	require.Nil(t, refusal)
	require.Equal(t, "text", got)
}

// broken describes a request with a rule that does not compile.
func broken(t *testing.T) protoreflect.MessageDescriptor {
	t.Helper()
	options := &descriptorpb.FieldOptions{}
	proto.SetExtension(options, rules.E_Field, &rules.FieldRules{
		Cel: []*rules.Rule{{Id: proto.String("broken"), Expression: proto.String("this.nonsense(")}},
	})
	file, err := protodesc.NewFile(&descriptorpb.FileDescriptorProto{
		Name: proto.String("test.proto"), Package: proto.String("test"), Syntax: proto.String("proto3"),
		MessageType: []*descriptorpb.DescriptorProto{{Name: proto.String("Request"), Field: []*descriptorpb.FieldDescriptorProto{{
			Name: proto.String("text"), Number: proto.Int32(1), Options: options,
			Type:  descriptorpb.FieldDescriptorProto_TYPE_STRING.Enum(),
			Label: descriptorpb.FieldDescriptorProto_LABEL_OPTIONAL.Enum(),
		}}}},
	}, protoregistry.GlobalFiles)
	require.NoError(t, err)
	return file.Messages().Get(0)
}

func TestARuleThatCannotWorkFailsTheStart(t *testing.T) {
	validator, err := protovalidate.New()
	require.NoError(t, err)
	require.ErrorContains(t, compile(validator, []protoreflect.MessageDescriptor{broken(t)}), "rules of test.Request")
	require.NoError(t, compile(validator, requests(protoregistry.GlobalFiles)))
}

func TestARuleThatFailsIsOurFault(t *testing.T) {
	validator, err := protovalidate.New()
	require.NoError(t, err)
	err = check(validator, dynamic(broken(t)))
	require.Equal(t, codes.Internal, apierror.From(err).GRPCStatus().Code())
}

func TestAllocationsStayFew(t *testing.T) {
	intercept, err := UnaryServerInterceptor()
	require.NoError(t, err)
	handler := func(context.Context, any) (any, error) { return nil, nil }
	request := order(func(r *ordersv1.CreateOrderRequest) {
		r.ContactEmail, r.ShippingNote = "a@example.com", strings.Repeat("x", 100)
	})
	allocations := testing.AllocsPerRun(100, func() { _, _ = intercept(t.Context(), request, nil, handler) })
	require.LessOrEqual(t, allocations, 40.0, "half of what the whole chain may take")
}
