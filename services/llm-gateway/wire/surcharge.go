package wire

// Prices are for tokens. What a client can ask for that costs something else, or
// makes tokens dearer, has a place in no reservation, so a gateway that keeps budgets
// has to know that it was asked for:
//
//	service_tier        a dearer tier than the one that is for everybody
//	speed               Anthropic's faster mode
//	web_search_options  OpenAI's search, charged by the call
//	modalities          OpenAI's audio, whose tokens have a price of their own
//	tools               those that the provider itself runs: searches, code, computers
//
// Everything else is what tokens measure.

// usualTiers are values of service_tier that cost what the price list says, or less.
var usualTiers = []string{"auto", "default", "standard_only", "standard", "flex"}

// readSurcharge takes the value of a member by which more can be asked for.
func (r *Request) readSurcharge(s *scanner, m member) {
	dear := true
	switch m {
	case memberServiceTier:
		value, ok := s.string()
		dear = !ok || !oneOf(value, usualTiers)
	case memberSpeed:
		value, ok := s.string()
		dear = !ok || !value.is("standard")
	case memberModalities:
		dear = anyIsNot(s, func(s *scanner) bool {
			value, ok := s.string()
			return ok && value.is("text")
		})
	case memberTools:
		dear = anyIsNot(s, clientRuns)
	default:
		s.skip()
	}
	if dear && r.Surcharge == "" {
		r.Surcharge = names[m]
	}
}

// anyIsNot reads an array, and reports whether an element is not as it should be.
// What is no array is left for the provider to refuse.
func anyIsNot(s *scanner, right func(*scanner) bool) (wrong bool) {
	if s.peek() != '[' {
		s.skip()
		return false
	}
	for range s.elements {
		if !right(s) {
			wrong = true
		}
	}
	return wrong
}

// clientRuns reads a tool, and reports whether it is one that the client runs: of type
// function or custom, or without a type, as Anthropic's are.
func clientRuns(s *scanner) bool {
	if s.peek() != '{' {
		s.skip()
		return true
	}
	client := true
	for name := range s.members {
		if !name.is("type") {
			continue
		}
		if value, ok := s.string(); !ok || !oneOf(value, clientTools) {
			client = false
		}
	}
	return client
}

var clientTools = []string{"function", "custom"}

func oneOf(value text, of []string) bool {
	for _, known := range of {
		if value.is(known) {
			return true
		}
	}
	return false
}
