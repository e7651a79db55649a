package wire

import "fmt"

// Answer is what accounting needs of an answer that came whole.
type Answer struct {
	// ID is the provider's name of the answer, by which it can be asked about.
	ID string
	// Model is the model that answered, which may be a dated version of the one asked.
	Model string
	// Usage is what it took.
	Usage Usage
	// HasUsage says whether the provider said what was read and what was generated.
	HasUsage bool
	// Finish is why it ended, in the provider's words: of the first choice that says.
	Finish string
}

// ReadAnswer reads the body of an answer with status 200. A body that is an error
// all the same is returned as a *ProviderError, one that is not JSON as an error
// that wraps a *SyntaxError.
func ReadAnswer(p Protocol, body []byte) (Answer, error) {
	var a Answer
	var t tally
	failed := false
	s := scanner{data: body}
	for name := range s.members {
		switch {
		case name.is("id"):
			a.ID = optional(&s)
		case name.is("model"):
			a.Model = optional(&s)
		case name.is("usage"):
			t.read(p, &s)
		case name.is("error"):
			failed = !s.null()
		case p == Anthropic && name.is("stop_reason"):
			a.Finish = optional(&s)
		case p == OpenAI && name.is("choices") && s.peek() == '[':
			for range s.elements {
				if finish := finishOf(&s); a.Finish == "" {
					a.Finish = finish
				}
			}
		}
	}
	s.end()
	if err := s.err(); err != nil {
		return Answer{}, fmt.Errorf("%s's answer: %w", p, err)
	}
	if failed {
		return Answer{}, errorInStream(p, body)
	}
	a.Usage, a.HasUsage = t.usage(p), t.complete()
	return a, nil
}

// finishOf is the finish_reason of a choice.
func finishOf(s *scanner) (finish string) {
	if s.peek() != '{' {
		return ""
	}
	for name := range s.members {
		if name.is("finish_reason") {
			finish = optional(s)
		}
	}
	return finish
}

// optional reads a string, and is empty for anything else.
func optional(s *scanner) string {
	t, _ := s.string()
	return t.String()
}
