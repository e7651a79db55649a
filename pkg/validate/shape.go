package validate

import (
	"sync"

	"buf.build/go/protovalidate"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	policyv1 "github.com/holdfast-dev/holdfast/proto/holdfast/policy/v1"
)

// shape is where a message type can hold strings and lists: what normalising must
// look at, worked out once a type.
type shape struct{ parts []part }

// part is a field that holds strings, or messages that do, or a bounded list.
type part struct {
	field protoreflect.FieldDescriptor
	name  string
	inner *shape // nil where the field, or a map's key only, is text
	// maxItems is how long a list may be; 0 where the proto has no bound.
	maxItems uint64
	// verbatim text is nobody's to touch: only the length of its list is looked at.
	verbatim bool
}

var shapes sync.Map // protoreflect.MessageDescriptor to *shape

func shapeOf(message protoreflect.MessageDescriptor) *shape {
	if known, ok := shapes.Load(message); ok {
		return known.(*shape)
	}
	// Types may contain themselves, so a shape is known before it is filled,
	// and published only when all of them are.
	built := map[protoreflect.FullName]*shape{}
	kept, _ := shapes.LoadOrStore(message, build(message, built))
	return kept.(*shape)
}

func build(message protoreflect.MessageDescriptor, built map[protoreflect.FullName]*shape) *shape {
	if s, ok := built[message.FullName()]; ok {
		return s
	}
	s := &shape{}
	built[message.FullName()] = s
	for i := range message.Fields().Len() {
		field := message.Fields().Get(i)
		value, keyed := field, false
		if field.IsMap() {
			value, keyed = field.MapValue(), field.MapKey().Kind() == protoreflect.StringKind
		}
		p := part{field: field, name: string(field.Name())}
		if rules, err := protovalidate.ResolveFieldRules(field); err == nil && field.IsList() {
			p.maxItems = rules.GetRepeated().GetMaxItems()
		}
		p.verbatim = verbatim(field)
		switch {
		case p.verbatim && p.maxItems == 0:
			continue
		case p.verbatim:
		case value.Message() != nil && concerns(value.Message(), map[protoreflect.FullName]bool{}):
			p.inner = build(value.Message(), built)
		case value.Kind() != protoreflect.StringKind && !keyed && p.maxItems == 0:
			continue
		}
		s.parts = append(s.parts, p)
	}
	return s
}

// verbatim reports whether the proto says that the field's text is kept as it is.
func verbatim(field protoreflect.FieldDescriptor) bool {
	return proto.HasExtension(field.Options(), policyv1.E_Verbatim) && proto.GetExtension(field.Options(), policyv1.E_Verbatim).(bool)
}

// concerns reports whether a string or a list can be anywhere in a message of
// the type.
func concerns(message protoreflect.MessageDescriptor, seen map[protoreflect.FullName]bool) bool {
	if seen[message.FullName()] {
		return false
	}
	seen[message.FullName()] = true
	for i := range message.Fields().Len() {
		field := message.Fields().Get(i)
		if field.Kind() == protoreflect.StringKind || field.IsList() || (field.Message() != nil && concerns(field.Message(), seen)) {
			return true
		}
	}
	return false
}
