package service

import (
	"encoding/json"
	"errors"
	"strings"

	"google.golang.org/grpc/status"

	"github.com/holdfast-dev/holdfast/pkg/apierror"
)

// faultMark begins the text of a fault. No other error of the gateway begins
// with it.
const faultMark = "holdfast-fault:"

// fault is what is wrong with an HTTP request, on its way through the generated
// gateway: that code keeps only the text of what our decoders answer, so the
// text carries the rest.
type fault struct {
	Reason  apierror.Reason      `json:"reason"`
	Message string               `json:"message"`
	Fields  []apierror.Violation `json:"fields,omitempty"`
}

// Error is the fault in a form that faultOf reads back.
func (f *fault) Error() string {
	text, _ := json.Marshal(f) // strings only
	return faultMark + string(text)
}

// typed is the fault as an API error.
func (f *fault) typed() *apierror.Error {
	var options []apierror.Option
	for _, v := range f.Fields {
		options = append(options, apierror.WithField(v.Field, v.Description))
	}
	return apierror.New(f.Reason, f.Message, options...)
}

// faultOf returns the fault in an error of the gateway, or nil.
func faultOf(err error) *fault {
	var f *fault
	if errors.As(err, &f) {
		return f
	}
	text, marked := strings.CutPrefix(status.Convert(err).Message(), faultMark)
	if !marked {
		return nil
	}
	var read fault
	if err := json.Unmarshal([]byte(text), &read); err != nil {
		return &fault{Reason: apierror.ReasonInternal} // we wrote it ourselves
	}
	return &read
}

func malformed(message string, fields ...apierror.Violation) *fault {
	return &fault{Reason: apierror.ReasonMalformedRequest, Message: message, Fields: fields}
}

func unknownField(path, description string) *fault {
	return &fault{
		Reason:  apierror.ReasonUnknownField,
		Message: "the request has a field that this method does not know: " + path,
		Fields:  []apierror.Violation{{Field: path, Description: description}},
	}
}
