package wire

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math/bits"
)

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

// text is a string as it is written, without its quotes.
type text struct {
	raw     []byte
	escaped bool
}

// is says whether the text is name.
func (t text) is(name string) bool {
	if !t.escaped {
		return string(t.raw) == name
	}
	return t.String() == name
}

// String is the text with its escapes decoded. A half of a surrogate pair, and a
// byte that is not UTF-8, become U+FFFD.
func (t text) String() string {
	if !t.escaped {
		return string(t.raw)
	}
	quoted := make([]byte, 0, len(t.raw)+2)
	quoted = append(append(append(quoted, '"'), t.raw...), '"')
	var decoded string
	if json.Unmarshal(quoted, &decoded) != nil {
		return string(t.raw) // not reached: the scanner has seen that it is valid
	}
	return decoded
}

// string reads a string; ok is false for any other value, which it skips.
func (s *scanner) string() (t text, ok bool) {
	if s.peek() != '"' {
		s.skip()
		return text{}, false
	}
	t = s.str()
	return t, s.wrong == ""
}

// str reads the string at whose opening quote the scanner is.
func (s *scanner) str() text {
	s.pos++
	start, escaped := s.pos, false
	for {
		s.plain()
		if s.pos >= len(s.data) {
			s.fail("a string does not end")
			return text{}
		}
		switch s.data[s.pos] {
		case '"':
			s.pos++
			return text{raw: s.data[start : s.pos-1], escaped: escaped}
		case '\\':
			escaped = true
			i := s.pos
			for i+1 < len(s.data) && s.data[i] == '\\' && short[s.data[i+1]] {
				i += 2 // they come in rows: a line break and the tabs after it
			}
			if i > s.pos {
				s.pos = i
			} else if !s.escape() {
				return text{}
			}
		default:
			s.fail("a control character in a string")
			return text{}
		}
	}
}

// escape goes past an escape of six bytes.
func (s *scanner) escape() bool {
	const length = 6 // of \u00e9
	if s.pos+length <= len(s.data) && s.data[s.pos+1] == 'u' && isHex(s.data[s.pos+2:s.pos+length]) {
		s.pos += length
		return true
	}
	s.fail("an escape that there is not")
	return false
}

// short are the escapes of two bytes, by their second.
var short = [256]bool{'"': true, '\\': true, '/': true, 'b': true, 'f': true, 'n': true, 'r': true, 't': true}

func isHex(digits []byte) bool {
	for _, c := range digits {
		if !('0' <= c && c <= '9' || 'a' <= c|0x20 && c|0x20 <= 'f') {
			return false
		}
	}
	return true
}

// plain goes to the next quote, backslash or control character, eight bytes at a
// time: the classic tests for a zero byte and for a byte below n in a word (Sean
// Anderson, Bit Twiddling Hacks). They may also mark bytes above one that they
// rightly mark, so only the lowest mark is believed.
func (s *scanner) plain() {
	const ones, tops = 0x0101010101010101, 0x8080808080808080
	var seen uint64
	i := s.pos
	for ; i+8 <= len(s.data); i += 8 {
		w := binary.LittleEndian.Uint64(s.data[i:])
		seen |= w
		quote, slash := w^(ones*'"'), w^(ones*'\\')
		if hit := ((quote-ones)&^quote | (slash-ones)&^slash | (w-ones*0x20)&^w) & tops; hit != 0 {
			s.wide = s.wide || seen&tops != 0
			s.pos = i + bits.TrailingZeros64(hit)/8
			return
		}
	}
	s.wide = s.wide || seen&tops != 0
	for ; i < len(s.data); i++ {
		c := s.data[i]
		if c == '"' || c == '\\' || c < 0x20 {
			break
		}
		s.wide = s.wide || c >= 0x80
	}
	s.pos = i
}
