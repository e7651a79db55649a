package validate

import (
	"fmt"
	"regexp/syntax"
	"testing"

	"buf.build/go/protovalidate"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	llmv1 "github.com/holdfast-dev/holdfast/proto/holdfast/llm/v1"
	ordersv1 "github.com/holdfast-dev/holdfast/proto/holdfast/orders/v1"
	paymentsv1 "github.com/holdfast-dev/holdfast/proto/holdfast/payments/v1"
)

// exempt has the fields without a rule of their own, and why.
var exempt = map[protoreflect.FullName]string{
	"google.type.Money.currency_code": "money.FromProto knows the currencies",
	"google.type.Money.units":         "money.FromProto refuses what cannot be counted",
	"google.type.Money.nanos":         "money.FromProto refuses what is finer than the currency",
}

// TestEveryRequestFieldIsBounded holds the contract to "trust nothing": every
// field that a client can set has a rule that bounds it.
func TestEveryRequestFieldIsBounded(t *testing.T) {
	found := requests(protoregistry.GlobalFiles)
	for _, file := range []protoreflect.FileDescriptor{
		llmv1.File_holdfast_llm_v1_llm_proto, ordersv1.File_holdfast_orders_v1_orders_proto, paymentsv1.File_holdfast_payments_v1_payments_proto,
	} {
		for i := range file.Services().Len() {
			methods := file.Services().Get(i).Methods()
			for j := range methods.Len() {
				require.Contains(t, found, methods.Get(j).Input(), "a request is not checked")
			}
		}
	}
	walked := map[protoreflect.FullName]bool{}
	for _, request := range found {
		for _, problem := range unbounded(request, walked) {
			t.Error(problem)
		}
	}
	for field := range exempt {
		require.True(t, walked[field], "%s is exempt, but is in no request", field)
	}
}

// The control: answers have no rules, and each of their fields is found.
func TestAFieldWithoutARuleIsFound(t *testing.T) {
	order := (&ordersv1.ListOrdersResponse{}).ProtoReflect().Descriptor()
	found := unbounded(order, map[protoreflect.FullName]bool{})
	for _, problem := range []string{
		"holdfast.orders.v1.ListOrdersResponse.orders: a list needs max_items",
		"holdfast.orders.v1.ListOrdersResponse.next_page_token: a string needs a maximum length",
		"holdfast.orders.v1.Order.state: an enum needs defined_only",
		"holdfast.orders.v1.OrderLine.quantity: a number needs bounds",
	} {
		require.Contains(t, found, problem)
	}
}

// unbounded names the fields of a message, and of those in it, that a client
// could fill with anything.
func unbounded(message protoreflect.MessageDescriptor, walked map[protoreflect.FullName]bool) []string {
	var problems []string
	for i := range message.Fields().Len() {
		field := message.Fields().Get(i)
		if walked[field.FullName()] {
			continue
		}
		walked[field.FullName()] = true
		if _, ok := exempt[field.FullName()]; ok {
			continue
		}
		rules, err := protovalidate.ResolveFieldRules(field)
		if err != nil {
			problems = append(problems, err.Error())
			continue
		}
		wrong := func(says string) { problems = append(problems, fmt.Sprintf("%s: %s", field.FullName(), says)) }
		if field.IsMap() {
			wrong("a map has no rule that this test knows")
			continue
		}
		if field.IsList() {
			if rules.GetRepeated().GetMaxItems() == 0 {
				wrong("a list needs max_items")
			}
			rules = rules.GetRepeated().GetItems()
		}
		switch field.Kind() {
		case protoreflect.MessageKind:
			if field.Message().FullName() == "google.protobuf.Timestamp" {
				if at := rules.GetTimestamp(); !at.HasGt() || !at.GetLtNow() {
					wrong("a time needs bounds")
				}
				continue
			}
			problems = append(problems, unbounded(field.Message(), walked)...)
		case protoreflect.StringKind:
			s := rules.GetString()
			if s.GetMaxLen() == 0 && !s.GetUuid() && !finite(s.GetPattern()) {
				wrong("a string needs a maximum length")
			}
		case protoreflect.EnumKind:
			if !rules.GetEnum().GetDefinedOnly() {
				wrong("an enum needs defined_only")
			}
		case protoreflect.Int32Kind:
			n := rules.GetInt32()
			if !n.HasGte() || !n.HasLte() {
				wrong("a number needs bounds")
			}
		case protoreflect.Int64Kind:
			n := rules.GetInt64()
			if !n.HasGte() || !n.HasLte() {
				wrong("a number needs bounds")
			}
		case protoreflect.DoubleKind:
			n := rules.GetDouble()
			if (!n.HasGte() && !n.HasGt()) || !n.HasLte() {
				wrong("a number needs bounds")
			}
		case protoreflect.BytesKind:
			if rules.GetBytes().GetMaxLen() == 0 {
				wrong("bytes need a maximum length")
			}
		case protoreflect.BoolKind: // has two values
		default:
			wrong("this test knows no rule for a " + field.Kind().String())
		}
	}
	return problems
}

// finite reports whether a pattern is anchored and matches no text without end.
func finite(pattern string) bool {
	parsed, err := syntax.Parse(pattern, syntax.Perl)
	if err != nil || parsed.Op != syntax.OpConcat ||
		parsed.Sub[0].Op != syntax.OpBeginText || parsed.Sub[len(parsed.Sub)-1].Op != syntax.OpEndText {
		return false
	}
	return !endless(parsed)
}

func endless(r *syntax.Regexp) bool {
	if r.Op == syntax.OpStar || r.Op == syntax.OpPlus || (r.Op == syntax.OpRepeat && r.Max < 0) {
		return true
	}
	for _, sub := range r.Sub {
		if endless(sub) {
			return true
		}
	}
	return false
}

func TestFinitePatterns(t *testing.T) {
	for pattern, want := range map[string]bool{
		"^pm_[a-z]{1,61}$": true,
		"^[a-z]+$":         false,
		"^(a|b*)c$":        false,
		"^a{2,}$":          false,
		"[a-z]{3}":         false, // not anchored: anything may stand around it
		"":                 false,
	} {
		require.Equal(t, want, finite(pattern), pattern)
	}
}
