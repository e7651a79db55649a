package llm

import "unicode/utf8"

// The rule of tokens. It is nobody's tokenizer: it is simple enough to be
// checked by hand, and the same for what goes in and for what comes out.
const (
	// tokenBytes is how long a token is, and the rest of a rune that begins within.
	// White space belongs to the token that follows it, and is free.
	tokenBytes = 4
	// messageTokens is what a message costs beyond its text, for its role and its
	// ends.
	messageTokens = 4
	// imageTokens is what an image costs, whatever its size.
	imageTokens = 85
)

// countTokens is the number of tokens of a text.
func countTokens[T ~string | ~[]byte](text T) int64 {
	var tokens int64
	inToken := 0 // bytes of the token that is open
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case isSpace(c):
			inToken = 0
		case inToken == 0 || (inToken >= tokenBytes && utf8.RuneStart(c)):
			tokens++
			inToken = 1
		default:
			inToken++
		}
	}
	return tokens
}

// split cuts a text into its tokens, whose sequence is the text.
func split(text string) []string {
	var tokens []string
	start, inToken := 0, 0
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case isSpace(c):
			if inToken > 0 {
				tokens = append(tokens, text[start:i])
				start, inToken = i, 0
			}
		case inToken >= tokenBytes && utf8.RuneStart(c):
			tokens = append(tokens, text[start:i])
			start, inToken = i, 1
		default:
			inToken++
		}
	}
	if inToken > 0 {
		tokens = append(tokens, text[start:])
	} else if start < len(text) && len(tokens) > 0 {
		tokens[len(tokens)-1] += text[start:] // white space at the end
	}
	return tokens
}

func isSpace(c byte) bool { return c == ' ' || c == '\n' || c == '\t' || c == '\r' }
