package service

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/grpc-ecosystem/grpc-gateway/v2/runtime"
	"github.com/grpc-ecosystem/grpc-gateway/v2/utilities"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/holdfast-dev/holdfast/pkg/apierror"
)

// strictQuery reads query parameters. The stock parser ignores parameters that
// it does not know, so that a misspelt filter answers everything.
type strictQuery struct{ runtime.DefaultQueryParser }

// Parse puts the values into the message; the path has those in the filter.
func (p *strictQuery) Parse(message proto.Message, values url.Values, filter *utilities.DoubleArray) error {
	for name, all := range values {
		if !utf8.ValidString(name) || !slices.ContainsFunc(all, utf8.ValidString) {
			return malformed("the query is not valid UTF-8")
		}
		if !inQuery(message.ProtoReflect().Descriptor(), name) {
			return unknownField(name, "there is no such parameter")
		}
	}
	if err := p.DefaultQueryParser.Parse(message, values, filter); err != nil {
		return malformed(fmt.Sprintf("the query does not fit the request: %v", err),
			apierror.Violation{Field: "query", Description: "does not fit the request"})
	}
	return nil
}

// inQuery reports whether a parameter, such as `page_size` or `range.from`,
// names a field.
func inQuery(message protoreflect.MessageDescriptor, parameter string) bool {
	name, _, _ := strings.Cut(parameter, "[") // a map's key
	for part := range strings.SplitSeq(name, ".") {
		if message == nil {
			return false
		}
		field := fieldNamed(message, part)
		if field == nil {
			return false
		}
		message = field.Message()
	}
	return true
}
