package wire

import "fmt"

// maxDepth is how deep values may be nested. Schemas of tools are the deepest that
// clients send, and stay far below; whoever parses recursively is safe up to it.
const maxDepth = 512

// SyntaxError says that bytes are not the JSON they should be.
type SyntaxError struct {
	Offset  int    // of the byte at which it shows
	Message string // what is wrong
}

// Error names the place.
func (e *SyntaxError) Error() string {
	return fmt.Sprintf("invalid JSON at byte %d: %s", e.Offset, e.Message)
}

// scanner walks over JSON (RFC 8259) without decoding it. It accepts exactly what
// encoding/json accepts, up to maxDepth: whatever it skips is valid, so that two
// readers cannot disagree about where a string or an object ends.
//
// The first mistake is kept, and puts the scanner at the end of its bytes, where
// nothing is left to be read: callers look at it once, at the end.
type scanner struct {
	data  []byte
	pos   int
	depth int
	wide  bool // a byte outside ASCII was seen in a string

	wrong string // the first mistake
	at    int    // and where
}

func (s *scanner) fail(why string) {
	if s.wrong == "" {
		s.wrong, s.at = why, s.pos
	}
	s.pos = len(s.data)
}

// err is the first mistake.
func (s *scanner) err() error {
	if s.wrong == "" {
		return nil
	}
	return &SyntaxError{Offset: s.at, Message: s.wrong}
}

// end wants nothing but space to be left.
func (s *scanner) end() {
	if s.peek() != 0 || s.pos < len(s.data) {
		s.fail("something follows the value")
	}
}

// peek skips space and is the byte that follows, 0 at the end.
func (s *scanner) peek() byte {
	for s.pos < len(s.data) {
		switch c := s.data[s.pos]; c {
		case ' ', '\t', '\n', '\r':
			s.pos++
		default:
			return c
		}
	}
	return 0
}

// members goes over an object. The loop's body finds the scanner at the member's
// value and reads it or leaves it alone; breaking out leaves the scanner there.
func (s *scanner) members(yield func(name text) bool) {
	if !s.enter('{', "an object is wanted") {
		return
	}
	if s.peek() == '}' {
		s.leave()
		return
	}
	for {
		if s.peek() != '"' {
			s.fail("the name of a member is wanted")
			return
		}
		name := s.str()
		if s.peek() != ':' {
			s.fail("a colon is wanted")
			return
		}
		s.pos++
		if !s.item(yield, name) || !s.more('}') {
			return
		}
	}
}

// elements goes over an array, as members does over an object.
func (s *scanner) elements(yield func() bool) {
	if !s.enter('[', "an array is wanted") {
		return
	}
	if s.peek() == ']' {
		s.leave()
		return
	}
	for {
		s.peek()
		before := s.pos
		if !yield() {
			return
		}
		if s.pos == before {
			s.skip()
		}
		if !s.more(']') {
			return
		}
	}
}

func (s *scanner) item(yield func(text) bool, name text) bool {
	s.peek()
	before := s.pos
	if !yield(name) {
		return false
	}
	if s.pos == before {
		s.skip()
	}
	return true
}

// more says whether another item follows, and leaves at the closing byte.
func (s *scanner) more(closing byte) bool {
	switch s.peek() {
	case ',':
		s.pos++
		return true
	case closing:
		s.leave()
	default:
		s.fail("a comma or the end is wanted")
	}
	return false
}

func (s *scanner) enter(opening byte, otherwise string) bool {
	if s.peek() != opening {
		s.fail(otherwise)
		return false
	}
	if s.depth == maxDepth {
		s.fail("nested too deep")
		return false
	}
	s.depth++
	s.pos++
	return true
}

func (s *scanner) leave() {
	s.depth--
	s.pos++
}

// skip goes past a value.
func (s *scanner) skip() {
	switch c := s.peek(); {
	case c == '"':
		s.str()
	case c == '{':
		for range s.members {
		}
	case c == '[':
		for range s.elements {
		}
	case c == '-' || '0' <= c && c <= '9':
		s.number()
	case c == 't':
		s.literal("true")
	case c == 'f':
		s.literal("false")
	case c == 'n':
		s.literal("null")
	default:
		s.fail("a value is wanted")
	}
}

func (s *scanner) literal(want string) {
	if rest := s.data[s.pos:]; len(rest) < len(want) || string(rest[:len(want)]) != want {
		s.fail("a value is wanted")
		return
	}
	s.pos += len(want)
}

// null skips a null, if there is one.
func (s *scanner) null() bool {
	if s.peek() != 'n' {
		return false
	}
	s.literal("null")
	return true
}

// boolean reads true or false; ok is false for anything else, which it skips.
func (s *scanner) boolean() (value, ok bool) {
	c := s.peek()
	s.skip()
	return c == 't', c == 't' || c == 'f'
}

// number skips a number and is its bytes.
func (s *scanner) number() []byte {
	start := s.pos
	if s.at0('-') {
		s.pos++
	}
	switch {
	case s.at0('0'):
		s.pos++
	case !s.digits():
		return nil
	}
	if s.at0('.') {
		s.pos++
		if !s.digits() {
			return nil
		}
	}
	if s.at0('e') || s.at0('E') {
		s.pos++
		if s.at0('+') || s.at0('-') {
			s.pos++
		}
		if !s.digits() {
			return nil
		}
	}
	return s.data[start:s.pos]
}

func (s *scanner) at0(c byte) bool { return s.pos < len(s.data) && s.data[s.pos] == c }

func (s *scanner) digits() bool {
	start := s.pos
	for s.pos < len(s.data) && '0' <= s.data[s.pos] && s.data[s.pos] <= '9' {
		s.pos++
	}
	if s.pos == start {
		s.fail("a digit is wanted")
		return false
	}
	return true
}

// maxInteger is the largest that integer reads: more than any count of tokens, and
// small enough to be multiplied by a few thousand.
const maxInteger = 1_000_000_000_000

// integer reads a whole number from 0 to maxInteger; ok is false for any other
// value, which it skips.
func (s *scanner) integer() (n int64, ok bool) {
	if c := s.peek(); c < '0' || c > '9' {
		s.skip()
		return 0, false
	}
	for _, c := range s.number() {
		if c < '0' || c > '9' {
			return 0, false
		}
		if n = n*10 + int64(c-'0'); n > maxInteger {
			return 0, false
		}
	}
	return n, s.wrong == ""
}
