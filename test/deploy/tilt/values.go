package tilt

import (
	"errors"
	"fmt"

	"go.starlark.net/starlark"
)

// blob is the text that a command or a built-in produced. Tilt keeps it apart
// from a string: it has none of the methods of one until it goes through str().
type blob string

// String implements starlark.Value; it is what str() returns.
func (b blob) String() string { return string(b) }

// Type implements starlark.Value.
func (blob) Type() string { return "blob" }

// Freeze implements starlark.Value.
func (blob) Freeze() {}

// Truth implements starlark.Value.
func (b blob) Truth() starlark.Bool { return b != "" }

// Hash implements starlark.Value.
func (b blob) Hash() (uint32, error) { return starlark.String(b).Hash() }

// constant is a value of Tilt's own, such as a port forward: it can be passed on
// and nothing else.
type constant struct {
	kind string
	of   any
}

// String implements starlark.Value.
func (c constant) String() string { return fmt.Sprintf("%s(%v)", c.kind, c.of) }

// Type implements starlark.Value.
func (c constant) Type() string { return c.kind }

// Freeze implements starlark.Value.
func (constant) Freeze() {}

// Truth implements starlark.Value.
func (constant) Truth() starlark.Bool { return true }

// Hash implements starlark.Value.
func (constant) Hash() (uint32, error) { return 0, errors.New("cannot be a key") }

// values turns what YAML decodes to into Starlark's values.
func values(decoded any) starlark.Value {
	switch v := decoded.(type) {
	case map[string]any:
		dict := starlark.NewDict(len(v))
		for key, value := range v {
			_ = dict.SetKey(starlark.String(key), values(value)) // a string can be a key
		}
		return dict
	case []any:
		list := make([]starlark.Value, len(v))
		for i, element := range v {
			list[i] = values(element)
		}
		return starlark.NewList(list)
	case bool:
		return starlark.Bool(v)
	case int:
		return starlark.MakeInt(v)
	case nil:
		return starlark.None
	default:
		return starlark.String(fmt.Sprint(v))
	}
}
