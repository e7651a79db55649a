package service

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"regexp"
	"strconv"
	"strings"

	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/holdfast-dev/holdfast/pkg/apierror"
)

// maxDepth is how deep JSON may nest. The messages of an API are shallow; deep
// nesting is an attempt at the stack.
const maxDepth = 64

// inspect looks for what protojson accepts or does not name well: syntax
// errors, fields that the message does not have, and fields that appear twice,
// by either of their names. It returns nil if there is none.
func inspect(text []byte, message protoreflect.MessageDescriptor) *fault {
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	i := inspector{d}
	if f := i.value("", message, 0); f != nil {
		return f
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return malformed("the body has something after its JSON value")
	}
	return nil
}

type inspector struct{ *json.Decoder }

// value inspects the next value. Message is nil where any value may stand.
func (i inspector) value(path string, message protoreflect.MessageDescriptor, depth int) *fault {
	token, err := i.Token()
	if err != nil {
		return badSyntax(err, i.InputOffset())
	}
	if depth > maxDepth {
		return malformed("the body nests too deep")
	}
	switch token {
	case json.Delim('{'):
		return i.object(path, message, depth)
	case json.Delim('['):
		for n := 0; i.More(); n++ {
			if f := i.value(path+"["+strconv.Itoa(n)+"]", message, depth+1); f != nil {
				return f
			}
		}
		return i.end()
	default:
		return nil
	}
}

// object inspects an object after its opening brace.
func (i inspector) object(path string, message protoreflect.MessageDescriptor, depth int) *fault {
	seen := map[string]bool{}
	for i.More() {
		token, err := i.Token()
		if err != nil {
			return badSyntax(err, i.InputOffset())
		}
		name, _ := token.(string) // the decoder allows nothing else here
		at := join(path, name)
		var inner protoreflect.MessageDescriptor
		canonical := name
		if message != nil {
			field := fieldNamed(message, name)
			if field == nil {
				return unknownField(at, "there is no such field")
			}
			canonical = field.TextName()
			inner = inspectable(field)
		}
		if seen[canonical] {
			return malformed("the body has a field twice: "+at, apierror.Violation{Field: at, Description: "appears twice"})
		}
		seen[canonical] = true
		if f := i.value(at, inner, depth+1); f != nil {
			return f
		}
	}
	return i.end()
}

// end reads the closing bracket or brace.
func (i inspector) end() *fault {
	if _, err := i.Token(); err != nil {
		return badSyntax(err, i.InputOffset())
	}
	return nil
}

// fieldNamed finds a field by its JSON name or the one in the proto.
func fieldNamed(message protoreflect.MessageDescriptor, name string) protoreflect.FieldDescriptor {
	if field := message.Fields().ByJSONName(name); field != nil {
		return field
	}
	return message.Fields().ByTextName(name)
}

// inspectable returns the message inside a field, or nil if its JSON does not
// have the message's own fields: scalars, maps, and the well-known types, which
// have a JSON of their own.
func inspectable(field protoreflect.FieldDescriptor) protoreflect.MessageDescriptor {
	if field.IsMap() || field.Message() == nil || field.Message().ParentFile().Package() == "google.protobuf" {
		return nil
	}
	return field.Message()
}

func join(path, name string) string {
	if path == "" {
		return name
	}
	return path + "." + name
}

func badSyntax(err error, offset int64) *fault {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return malformed("the body is not JSON: it ends too early")
	}
	return malformed("the body is not JSON, at byte " + strconv.FormatInt(offset, 10) + ": " + err.Error())
}

var protoPrefix = regexp.MustCompile(`^proto:[\s\x{00a0}]*`)

// explainProto makes an error of protobuf fit for clients: without its prefix,
// whose white space varies on purpose.
func explainProto(err error) string {
	text := protoPrefix.ReplaceAllString(err.Error(), "")
	return strings.ReplaceAll(text, "\u00a0", " ")
}

// bytesInWords writes a size for people.
func bytesInWords(n int64) string {
	switch {
	case n >= 1<<20 && n%(1<<20) == 0:
		return strconv.FormatInt(n>>20, 10) + " MiB"
	case n >= 1<<10 && n%(1<<10) == 0:
		return strconv.FormatInt(n>>10, 10) + " KiB"
	default:
		return strconv.FormatInt(n, 10) + " bytes"
	}
}
