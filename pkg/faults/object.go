//go:build faults

package faults

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"

	"github.com/holdfast-dev/holdfast/pkg/apierror"
)

// problems collects what is wrong with a document. encoding/json alone would
// tell the first and stop, and would take the last of two fields of one name.
type problems struct{ found []apierror.Violation }

func (p *problems) add(field, format string, args ...any) {
	p.found = append(p.found, apierror.Violation{Field: cmp.Or(field, "body"), Description: fmt.Sprintf(format, args...)})
}

// object is a JSON object whose fields are taken one by one.
type object struct {
	path     string
	fields   map[string]json.RawMessage
	bad      map[string]bool // what a problem was added for
	problems *problems
}

// object begins to read a JSON object, which must be all of the text.
func (p *problems) object(path string, text []byte) *object {
	o := &object{path: path, fields: map[string]json.RawMessage{}, bad: map[string]bool{}, problems: p}
	if !json.Valid(text) {
		p.add(path, "the text is not JSON: %v", json.Unmarshal(text, new(any)))
		return o
	}
	decoder := json.NewDecoder(bytes.NewReader(text))
	if token, _ := decoder.Token(); token != json.Delim('{') { // it is valid
		p.add(path, "must be an object")
		return o
	}
	for decoder.More() {
		token, _ := decoder.Token() // a name, since it is valid
		name, _ := token.(string)
		var value json.RawMessage
		if err := decoder.Decode(&value); err != nil {
			p.add(path, "the text is not JSON: %v", err) // cannot be
			return o
		}
		if _, twice := o.fields[name]; twice {
			o.wrong(name, "appears twice")
		}
		o.fields[name] = value
	}
	return o
}

// wrong says what is wrong with a field.
func (o *object) wrong(name, format string, args ...any) {
	o.bad[name] = true
	if o.path != "" {
		name = o.path + "." + name
	}
	o.problems.add(name, format, args...)
}

// end says that all fields have been taken: what is left is not known.
func (o *object) end() {
	for _, name := range slices.Sorted(maps.Keys(o.fields)) {
		o.wrong(name, "there is no such field here")
	}
}

// take takes a field, and reports whether it is there and a T.
func take[T any](o *object, name string) (value T, given bool) {
	text, there := o.fields[name]
	delete(o.fields, name)
	if !there {
		return value, false
	}
	if err := json.Unmarshal(text, &value); err != nil || string(text) == "null" {
		o.wrong(name, "must be %s", typeName(value))
		return value, false
	}
	return value, true
}

// typeName names a type for people who write JSON.
func typeName(v any) string {
	switch v.(type) {
	case string:
		return "a string"
	case float64:
		return "a number"
	case int:
		return "a whole number"
	case uint64:
		return "a whole number from 0 up"
	default:
		return "a list"
	}
}

// readAll reads a body of which nobody needs more than that.
func readAll(r io.Reader) ([]byte, error) {
	const most = 1 << 20
	text, err := io.ReadAll(io.LimitReader(r, most+1))
	if len(text) > most {
		return nil, errors.New("it is larger than 1 MiB")
	}
	return text, err
}
