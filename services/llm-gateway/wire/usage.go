package wire

// Usage is what an answer took, in tokens. The counts do not overlap, but for
// Reasoning, which is a part of Output: the sum of the others is what is billed.
type Usage struct {
	// Input is what was read, without what came from a cache or went into one.
	// (OpenAI's prompt_tokens includes both, and they are taken off here.)
	Input int64
	// CacheRead came from the provider's prompt cache.
	CacheRead int64
	// CacheWrite went into it, to be kept for five minutes or the provider's default.
	CacheWrite int64
	// CacheWrite1h went into it, to be kept for an hour.
	CacheWrite1h int64
	// Output was generated, reasoning included.
	Output int64
	// Reasoning is the part of Output that the model thought and did not say; 0 where
	// the provider does not tell it apart.
	Reasoning int64
}

// tally reads the usage objects of one answer. Later ones overwrite what they say
// and leave what they do not: Anthropic's message_delta is cumulative, and mostly
// says only the output.
type tally struct {
	input, cacheRead, cacheWrite, cacheWrite1h, output, reasoning int64
	saidInput, saidOutput                                         bool
}

// complete says whether the provider said what was read and what was generated.
func (t *tally) complete() bool { return t.saidInput && t.saidOutput }

func (t *tally) usage(p Protocol) Usage {
	if p == OpenAI {
		return Usage{
			Input:      max(t.input-t.cacheRead-t.cacheWrite, 0),
			CacheRead:  t.cacheRead,
			CacheWrite: t.cacheWrite,
			Output:     t.output,
			Reasoning:  min(t.reasoning, t.output),
		}
	}
	return Usage{
		Input:        t.input,
		CacheRead:    t.cacheRead,
		CacheWrite:   max(t.cacheWrite-t.cacheWrite1h, 0),
		CacheWrite1h: t.cacheWrite1h,
		Output:       t.output,
		Reasoning:    min(t.reasoning, t.output),
	}
}

// read takes a usage object, or null; said is whether there was one.
func (t *tally) read(p Protocol, s *scanner) (said bool) {
	if s.peek() != '{' {
		s.skip()
		return false
	}
	if p == OpenAI {
		t.readOpenAI(s)
	} else {
		t.readAnthropic(s)
	}
	return true
}

func (t *tally) readOpenAI(s *scanner) {
	for name := range s.members {
		switch {
		case name.is("prompt_tokens"):
			t.saidInput = count(s, &t.input)
		case name.is("completion_tokens"):
			t.saidOutput = count(s, &t.output)
		case name.is("prompt_tokens_details") && s.peek() == '{':
			for name := range s.members {
				switch {
				case name.is("cached_tokens"):
					count(s, &t.cacheRead)
				case name.is("cache_write_tokens"): // from GPT-5.6 on
					count(s, &t.cacheWrite)
				}
			}
		case name.is("completion_tokens_details") && s.peek() == '{':
			for name := range s.members {
				if name.is("reasoning_tokens") {
					count(s, &t.reasoning)
				}
			}
		}
	}
}

func (t *tally) readAnthropic(s *scanner) {
	for name := range s.members {
		switch {
		case name.is("input_tokens"):
			t.saidInput = count(s, &t.input) || t.saidInput
		case name.is("output_tokens"):
			t.saidOutput = count(s, &t.output) || t.saidOutput
		case name.is("cache_read_input_tokens"):
			count(s, &t.cacheRead)
		case name.is("cache_creation_input_tokens"): // both lifetimes
			count(s, &t.cacheWrite)
		case name.is("output_tokens_details") && s.peek() == '{':
			for name := range s.members {
				if name.is("thinking_tokens") {
					count(s, &t.reasoning)
				}
			}
		case name.is("cache_creation") && s.peek() == '{':
			for name := range s.members {
				if name.is("ephemeral_1h_input_tokens") {
					count(s, &t.cacheWrite1h)
				}
			}
		}
	}
}

// count reads a count into n, and leaves n alone when there is none.
func count(s *scanner, n *int64) bool {
	read, ok := s.integer()
	if ok {
		*n = read
	}
	return ok
}
