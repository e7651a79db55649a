package wire

import "bytes"

const (
	// framing is what providers add to every request, such as the words in which tools
	// are explained to the model.
	framing = 1024
	// pictureTokens is what a picture may take. Anthropic's largest and OpenAI's in
	// tiles stay below it; gpt-4o-mini counts a large picture as up to ten times as much.
	pictureTokens = 5000
)

// EstimateTokens is an upper bound of the tokens that a request's body is read as. A
// token stands for at least one byte of text, and the JSON around a message is longer
// than the tokens that frame it, so the bytes bound the tokens; in English they are
// about four times as many. A reservation is large so, and is given back when the
// provider has counted.
//
// A picture in the body counts as pictureTokens rather than by its bytes, and one at a
// URL as much. The bound does not hold for documents at a URL or uploaded before,
// whose size is not in the body.
func EstimateTokens(body []byte) int64 {
	n := int64(len(body)) + framing
	if !bytes.Contains(body, []byte(`"image`)) {
		return n
	}
	s := scanner{data: body}
	for name := range s.members {
		if name.is("messages") {
			n += contentTokens(&s)
		}
	}
	return n
}

// contentTokens is what pictures in messages, or in the parts of one, add to the bytes
// of the body: less than nothing, when they are in it.
func contentTokens(s *scanner) (n int64) {
	if s.peek() != '[' {
		s.skip()
		return 0
	}
	for range s.elements {
		if s.peek() != '{' {
			continue
		}
		for name := range s.members {
			switch {
			case name.is("content"):
				n += contentTokens(s)
			case (name.is("image_url") || name.is("source")) && s.peek() == '{':
				n += pictureIn(s)
			}
		}
	}
	return n
}

// pictureIn reads OpenAI's image_url, or Anthropic's source, which may also be one of
// a document: that counts by its bytes.
func pictureIn(s *scanner) int64 {
	var inside int64
	picture := true
	for name := range s.members {
		switch {
		case name.is("data"):
			t, _ := s.string()
			inside = int64(len(t.raw))
		case name.is("url"):
			if t, _ := s.string(); bytes.HasPrefix(t.raw, []byte("data:image/")) {
				inside = int64(len(t.raw))
			}
		case name.is("media_type"):
			t, _ := s.string()
			picture = bytes.HasPrefix(t.raw, []byte("image/"))
		}
	}
	if !picture {
		return 0
	}
	return pictureTokens - inside
}
