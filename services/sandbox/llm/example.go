package llm

import (
	"encoding/json"
	"math/rand/v2"
	"slices"
)

// example is a small value that fits a JSON schema, as far as type, properties,
// required, items, enum, const, anyOf and minimum go: every property is there,
// and every list has one element. What cannot be read is an empty object.
func example(schema json.RawMessage, draw *rand.Rand) []byte {
	var s any
	if json.Unmarshal(schema, &s) != nil {
		s = nil
	}
	value := exampleOf(s, draw)
	if value == nil {
		value = map[string]any{}
	}
	data, err := json.Marshal(value)
	if err != nil {
		return []byte("{}") // nothing but what JSON made went in
	}
	return data
}

func exampleOf(schema any, draw *rand.Rand) any {
	s, ok := schema.(map[string]any)
	if !ok {
		return nil
	}
	if value, ok := s["const"]; ok {
		return value
	}
	if values, ok := s["enum"].([]any); ok && len(values) > 0 {
		return values[draw.IntN(len(values))]
	}
	if either, ok := s["anyOf"].([]any); ok && len(either) > 0 {
		return exampleOf(either[0], draw)
	}
	kind, ok := s["type"].(string)
	if several, list := s["type"].([]any); list && len(several) > 0 {
		kind, ok = several[0].(string)
	}
	if _, object := s["properties"]; !ok && object {
		kind = "object"
	}
	switch kind {
	case "object":
		properties, _ := s["properties"].(map[string]any)
		names := make([]string, 0, len(properties))
		for name := range properties {
			names = append(names, name)
		}
		slices.Sort(names) // draws are in an order
		object := map[string]any{}
		for _, name := range names {
			object[name] = exampleOf(properties[name], draw)
		}
		return object
	case "array":
		return []any{exampleOf(s["items"], draw)}
	case "integer", "number":
		if least, ok := s["minimum"].(float64); ok {
			return least
		}
		return draw.IntN(100)
	case "boolean":
		return draw.IntN(2) == 0
	case "string":
		return words[draw.IntN(len(words))]
	default:
		return nil
	}
}
