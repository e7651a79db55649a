package service

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"os"
	"unicode/utf8"

	"github.com/grpc-ecosystem/grpc-gateway/v2/runtime"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"github.com/holdfast-dev/holdfast/pkg/apierror"
)

// strictJSON is the JSON of the API. Requests are read strictly: a field that
// is unknown, appears twice, or does not fit is an error that names it. Answers
// are compact, so that equal answers are equal bytes; protojson varies its
// white space on purpose.
type strictJSON struct{ runtime.JSONPb }

func newStrictJSON() *strictJSON {
	return &strictJSON{runtime.JSONPb{MarshalOptions: protojson.MarshalOptions{}}}
}

// Marshal returns v as compact JSON.
func (m *strictJSON) Marshal(v any) ([]byte, error) {
	if piece, ok := v.(map[string]proto.Message); ok {
		if problem, ok := problemOf(piece); ok { // the end of a stream
			return json.Marshal(map[string]apierror.Problem{"error": problem})
		}
	}
	loose, err := m.JSONPb.Marshal(v)
	if err != nil {
		return nil, err
	}
	var tight bytes.Buffer
	tight.Grow(len(loose))
	if err := json.Compact(&tight, loose); err != nil {
		return nil, err
	}
	return tight.Bytes(), nil
}

// NewEncoder writes compact JSON values.
func (m *strictJSON) NewEncoder(w io.Writer) runtime.Encoder {
	return runtime.EncoderFunc(func(v any) error {
		text, err := m.Marshal(v)
		if err != nil {
			return err
		}
		_, err = w.Write(text)
		return err
	})
}

// NewDecoder reads one JSON value, which must be all there is. Nothing at all
// is an empty message.
func (m *strictJSON) NewDecoder(r io.Reader) runtime.Decoder {
	return runtime.DecoderFunc(func(v any) error {
		text, err := io.ReadAll(r)
		if err != nil {
			return unreadable(err)
		}
		if len(bytes.TrimSpace(text)) == 0 {
			return io.EOF
		}
		return m.Unmarshal(text, v)
	})
}

// Unmarshal reads a message strictly.
func (m *strictJSON) Unmarshal(text []byte, v any) error {
	message, ok := v.(proto.Message)
	if !ok {
		return m.JSONPb.Unmarshal(text, v)
	}
	if !utf8.Valid(text) {
		return malformed("the body is not valid UTF-8")
	}
	if f := inspect(text, message.ProtoReflect().Descriptor()); f != nil {
		return f
	}
	if err := protojson.Unmarshal(text, message); err != nil {
		return malformed("the body does not fit the request: " + explainProto(err))
	}
	return nil
}

// unreadable explains why a body could not be read.
func unreadable(err error) error {
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		return tooLargeFault(tooLarge.Limit)
	case errors.Is(err, os.ErrDeadlineExceeded):
		return malformed("the body did not arrive in time")
	default:
		return malformed("the body ended early")
	}
}

func tooLargeFault(limit int64) *fault {
	return &fault{Reason: apierror.ReasonMessageTooLarge, Message: "the body is larger than " + bytesInWords(limit)}
}
