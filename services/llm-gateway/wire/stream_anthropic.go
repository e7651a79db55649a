package wire

// seeAnthropic reads an event. Its type is in its data; the name before the data says
// the same.
func (s *Stream) seeAnthropic(sc *scanner) Kind {
	// What an event has beside its type may stand before it.
	var (
		kind  text
		block blockStart
		delta blockDelta
		usage bool
		error bool
	)
	for name := range sc.members {
		switch {
		case name.is("type"):
			kind, _ = sc.string()
		case name.is("message") && sc.peek() == '{':
			s.seeMessage(sc)
		case name.is("content_block") && sc.peek() == '{':
			block.read(sc)
		case name.is("delta") && sc.peek() == '{':
			s.seeDelta(sc, &delta)
		case name.is("usage"):
			usage = s.tally.read(Anthropic, sc)
		case name.is("error"):
			error = !sc.null()
		}
	}
	switch {
	case error, kind.is("error"):
		return Failure
	case kind.is("content_block_delta"):
		s.produced(delta.bytes)
		if delta.some {
			return Content
		}
	case kind.is("content_block_start"):
		s.produced(block.bytes)
		if block.some {
			return Content
		}
	case kind.is("message_delta"):
		s.lastUsage = usage
		if delta.stopped {
			return Content
		}
	case kind.is("ping"):
		return Ping
	case kind.is("message_stop"):
		return End
	case kind.is("message_start"):
		s.begun = true
	}
	return Preamble
}

// seeMessage reads the message of message_start.
func (s *Stream) seeMessage(sc *scanner) {
	for name := range sc.members {
		switch {
		case name.is("id"):
			keepString(sc, &s.id)
		case name.is("model"):
			keepString(sc, &s.model)
		case name.is("usage"):
			s.tally.read(Anthropic, sc)
		}
	}
}

// blockStart is what content_block_start brings: nothing in a block of text or
// thinking, which are filled by deltas, and something in any other, such as the name
// of the tool that is called.
type blockStart struct {
	bytes int
	some  bool
}

func (b *blockStart) read(sc *scanner) {
	fills := false
	for name := range sc.members {
		switch {
		case name.is("type"):
			kind, _ := sc.string()
			fills = kind.is("text") || kind.is("thinking")
		case name.is("text"), name.is("thinking"), name.is("name"):
			t, _ := sc.string()
			b.bytes += len(t.raw)
		}
	}
	b.some = !fills || b.bytes > 0
}

// blockDelta is what the delta of content_block_delta or message_delta brings.
type blockDelta struct {
	bytes   int
	some    bool
	stopped bool // a stop_reason
}

func (s *Stream) seeDelta(sc *scanner, d *blockDelta) {
	for name := range sc.members {
		switch {
		case name.is("type"):
		case name.is("text"), name.is("partial_json"), name.is("thinking"):
			t, _ := sc.string()
			d.bytes += len(t.raw)
			d.some = d.some || len(t.raw) > 0
		case name.is("stop_reason"):
			if reason, ok := sc.string(); ok {
				d.stopped, s.finished = true, true
				if s.finish == "" {
					s.finish = reason.String()
				}
			}
		default: // a signature, a citation, what is yet to come
			d.some = d.some || !sc.null()
		}
	}
}
