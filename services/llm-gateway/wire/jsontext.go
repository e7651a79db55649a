package wire

import (
	"encoding/binary"
	"encoding/json"
	"math/bits"
)

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
		digit := '0' <= c && c <= '9'
		letter := 'a' <= c|0x20 && c|0x20 <= 'f'
		if !digit && !letter {
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
