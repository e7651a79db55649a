package validate

import (
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/holdfast-dev/holdfast/pkg/apierror"
)

// normalise brings every string of a message into one form, in place: without
// white space around it, and in Unicode's NFC, so that what looks equal is
// equal. Control characters, and lists that are too long to look into, are
// violations; at most maxViolations are returned.
func normalise(message protoreflect.Message) []apierror.Option {
	shape := shapeOf(message.Descriptor())
	if len(shape.parts) == 0 {
		return nil
	}
	var found findings
	found.message(message, shape, nil)
	return found.violations
}

// findings collects what is wrong on a walk through one message.
type findings struct{ violations []apierror.Option }

func (f *findings) enough() bool { return len(f.violations) >= maxViolations }

func (f *findings) message(message protoreflect.Message, shape *shape, in *place) {
	for i := range shape.parts {
		part := &shape.parts[i]
		if f.enough() {
			return
		}
		if !message.Has(part.field) {
			continue
		}
		here := place{in: in, name: part.name, index: -1}
		value := message.Get(part.field)
		switch {
		case part.field.IsMap():
			f.values(value.Map(), part, &here)
		case part.field.IsList():
			f.list(value.List(), part, &here)
		case part.inner != nil:
			f.message(value.Message(), part.inner, &here)
		default:
			if text, changed := f.clean(value.String(), &here); changed {
				message.Set(part.field, protoreflect.ValueOfString(text))
			}
		}
	}
}

// list refuses a list that is too long before anything looks into it: rules
// over a list, such as uniqueness, cost seconds for what fits into one request.
func (f *findings) list(list protoreflect.List, part *part, here *place) {
	if part.maxItems > 0 && uint64(list.Len()) > part.maxItems {
		f.violations = append(f.violations, apierror.WithField(here.path(),
			"must contain no more than "+strconv.FormatUint(part.maxItems, 10)+" item(s)"))
		return
	}
	if part.verbatim || (part.inner == nil && part.field.Kind() != protoreflect.StringKind) {
		return
	}
	for i := range list.Len() {
		if f.enough() {
			return
		}
		here.index = i
		if part.inner != nil {
			f.message(list.Get(i).Message(), part.inner, here)
		} else if text, changed := f.clean(list.Get(i).String(), here); changed {
			list.Set(i, protoreflect.ValueOfString(text))
		}
	}
}

// values leaves keys as they are, but for control characters: two keys that
// became one would lose a value.
func (f *findings) values(values protoreflect.Map, part *part, here *place) {
	values.Range(func(key protoreflect.MapKey, value protoreflect.Value) bool {
		here.key = key.String()
		if part.field.MapKey().Kind() == protoreflect.StringKind {
			f.clean(here.key, here)
		}
		switch {
		case part.inner != nil:
			f.message(value.Message(), part.inner, here)
		case part.field.MapValue().Kind() == protoreflect.StringKind:
			if text, changed := f.clean(value.String(), here); changed {
				values.Set(key, protoreflect.ValueOfString(text))
			}
		}
		return !f.enough()
	})
}

func (f *findings) clean(text string, here *place) (string, bool) {
	if plain(text) {
		return text, false
	}
	if !utf8.ValidString(text) {
		f.violations = append(f.violations, apierror.WithField(here.path(), "must be valid UTF-8"))
		return text, false
	}
	// White space around a text is cut off, so a line break there is harmless.
	cleaned := norm.NFC.String(strings.TrimSpace(text))
	if strings.ContainsFunc(cleaned, unicode.IsControl) {
		f.violations = append(f.violations, apierror.WithField(here.path(), "must not have control characters"))
		return text, false
	}
	return cleaned, cleaned != text
}

// plain says that a string is what most are: printable ASCII without space
// around it, with nothing to normalise.
func plain(text string) bool {
	for i := range len(text) {
		if c := text[i]; c < ' ' || c > '~' {
			return false
		}
	}
	return text == "" || (text[0] != ' ' && text[len(text)-1] != ' ')
}

// place is where in a request a string is. It becomes text only when there is
// something to say about it, which there rarely is.
type place struct {
	in    *place
	name  string
	index int // in a list; -1 outside
	key   string
}

func (p *place) path() string {
	path := p.name
	if p.in != nil {
		path = p.in.path() + "." + path
	}
	switch {
	case p.index >= 0:
		path += "[" + strconv.Itoa(p.index) + "]"
	case p.key != "":
		path += "[" + strconv.Quote(p.key) + "]"
	}
	return path
}
