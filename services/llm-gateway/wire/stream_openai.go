package wire

// seeOpenAI reads a chunk: chat.completion.chunk, or {"error": …} in its place.
func (s *Stream) seeOpenAI(sc *scanner, failed bool) Kind {
	var c chunk
	usage := false
	for name := range sc.members {
		switch {
		case name.is("choices") && sc.peek() == '[':
			for range sc.elements {
				c.choices++
				s.seeChoice(sc, &c)
			}
		case name.is("usage"):
			usage = s.tally.read(OpenAI, sc)
		case name.is("id"):
			keepString(sc, &s.id)
		case name.is("model"):
			keepString(sc, &s.model)
		case name.is("error"):
			failed = failed || !sc.null()
		}
	}
	if failed {
		return Failure
	}
	kind := Preamble
	if c.choices > 0 {
		s.begun = true
	}
	if c.content {
		kind = Content
		s.produced(c.bytes)
	}
	if usage {
		s.lastUsage, s.aloneAt = true, c.choices == 0
		if c.choices == 0 {
			kind = UsageOnly
		}
	}
	return kind
}

// chunk is what the choices of a chunk bring.
type chunk struct {
	choices int
	bytes   int
	content bool
}

func (s *Stream) seeChoice(sc *scanner, c *chunk) {
	if sc.peek() != '{' {
		return
	}
	for name := range sc.members {
		switch {
		case name.is("delta") && sc.peek() == '{':
			for name := range sc.members {
				if !name.is("role") {
					n, some := weigh(sc)
					c.bytes += n
					c.content = c.content || some
				}
			}
		case name.is("finish_reason"):
			if finish, ok := sc.string(); ok {
				c.content, s.finished = true, true
				if s.finish == "" {
					s.finish = finish.String()
				}
			}
		}
	}
}

// weigh is how many bytes of the answer a member of a delta holds, and whether it
// holds anything: content, refusal, tool_calls, and what servers other than OpenAI's
// add, such as reasoning_content. Names and ids of calls are not generated.
func weigh(sc *scanner) (n int, some bool) {
	switch sc.peek() {
	case '"':
		t := sc.str()
		return len(t.raw), len(t.raw) > 0
	case '{':
		for name := range sc.members {
			if name.is("id") || name.is("type") || name.is("index") {
				some = true
				continue
			}
			m, more := weigh(sc)
			n, some = n+m, some || more
		}
	case '[':
		for range sc.elements {
			m, more := weigh(sc)
			n, some = n+m, some || more
		}
	default:
		some = !sc.null()
		if some {
			sc.skip()
		}
	}
	return n, some
}
