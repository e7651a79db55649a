package validate

import (
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/dynamicpb"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/fieldmaskpb"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/holdfast-dev/holdfast/pkg/apierror"
	llmv1 "github.com/holdfast-dev/holdfast/proto/holdfast/llm/v1"
)

func dynamic(message protoreflect.MessageDescriptor) proto.Message {
	return dynamicpb.NewMessage(message)
}

// fieldsOf returns the fields that violations name.
func fieldsOf(violations []apierror.Option) []string {
	var fields []string
	for _, v := range apierror.New(apierror.ReasonInvalidField, "", violations...).Violations() {
		fields = append(fields, v.Field)
	}
	return fields
}

func text(s string) *structpb.Value { return structpb.NewStringValue(s) }

// structs returns messages that hold messages, lists and maps of their own
// type, each holding s.
func structs(s string) *structpb.Struct {
	return &structpb.Struct{Fields: map[string]*structpb.Value{
		"list": structpb.NewListValue(&structpb.ListValue{Values: []*structpb.Value{text(s), structpb.NewNumberValue(1)}}),
		"map":  structpb.NewStructValue(&structpb.Struct{Fields: map[string]*structpb.Value{"deep": text(s)}}),
	}}
}

func TestStringsAreNormalisedWhereverTheyAre(t *testing.T) {
	for name, row := range map[string]struct{ before, after proto.Message }{
		"list":      {&fieldmaskpb.FieldMask{Paths: []string{" a", "b", "e\u0301 "}}, &fieldmaskpb.FieldMask{Paths: []string{"a", "b", "\u00e9"}}},
		"map":       {&errdetails.ErrorInfo{Metadata: map[string]string{"k": " v "}}, &errdetails.ErrorInfo{Metadata: map[string]string{"k": "v"}}},
		"map key":   {&errdetails.ErrorInfo{Metadata: map[string]string{" k ": "v"}}, &errdetails.ErrorInfo{Metadata: map[string]string{" k ": "v"}}},
		"recursive": {structs(" v\n"), structs("v")},
		"no text":   {durationpb.New(1), durationpb.New(1)},
		"empty":     {&structpb.Struct{}, &structpb.Struct{}},
		"space":     {&fieldmaskpb.FieldMask{Paths: []string{" \t "}}, &fieldmaskpb.FieldMask{Paths: []string{""}}},
	} {
		require.Empty(t, normalise(row.before.ProtoReflect()), name)
		require.True(t, proto.Equal(row.after, row.before), "%s: %v", name, row.before)
	}
}

func TestControlCharactersAreFoundWhereverTheyAre(t *testing.T) {
	for name, row := range map[string]struct {
		message proto.Message
		fields  []string
	}{
		"list":         {&fieldmaskpb.FieldMask{Paths: []string{"a", "b\x1bc"}}, []string{"paths[1]"}},
		"map value":    {&errdetails.ErrorInfo{Metadata: map[string]string{"k": "a\nb"}}, []string{`metadata["k"]`}},
		"map key":      {&errdetails.ErrorInfo{Metadata: map[string]string{"a\nb": "v"}}, []string{`metadata["a\nb"]`}},
		"field":        {&errdetails.ErrorInfo{Reason: "a\x7fb"}, []string{"reason"}},
		"C1 character": {&errdetails.ErrorInfo{Reason: "a\u009fb"}, []string{"reason"}},
		"bad UTF-8":    {&errdetails.ErrorInfo{Reason: "a\xffb"}, []string{"reason"}},
		"recursive": {structs("a\x00b"), []string{
			`fields["list"].list_value.values[0].string_value`,
			`fields["map"].struct_value.fields["deep"].string_value`,
		}},
	} {
		require.ElementsMatch(t, row.fields, fieldsOf(normalise(row.message.ProtoReflect())), name)
	}
}

func TestNothingIsWalkedWhereNoTextCanBe(t *testing.T) {
	require.Empty(t, shapeOf((&durationpb.Duration{}).ProtoReflect().Descriptor()).parts)
	require.NotEmpty(t, shapeOf((&structpb.Struct{}).ProtoReflect().Descriptor()).parts)
	message := durationpb.New(1).ProtoReflect()
	require.Zero(t, testing.AllocsPerRun(100, func() { normalise(message) }))
}

func TestVerbatimTextIsNotTouched(t *testing.T) {
	said := " e\u0301\n\tfor i := range 10 {\x1b[0m "
	prompt := &llmv1.Prompt{
		Model: " m ", System: said, Stop: []string{"\n"},
		Messages: []*llmv1.Message{{Parts: []*llmv1.Part{{Kind: &llmv1.Part_Text{Text: said}}}}},
		Tools:    []*llmv1.Tool{{Name: "f", Parameters: said}},
	}
	before := proto.CloneOf(prompt)
	before.Model = "m"
	require.Empty(t, normalise(prompt.ProtoReflect()))
	require.True(t, proto.Equal(before, prompt), "%v", prompt)
}

func TestAListOfVerbatimTextIsStillBounded(t *testing.T) {
	prompt := &llmv1.Prompt{Stop: []string{"1", "2", "3", "4", "5"}}
	require.Equal(t, []string{"stop"}, fieldsOf(normalise(prompt.ProtoReflect())))
}
