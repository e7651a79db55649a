package dispatch

// Interrupt ends the stream from another goroutine than the one that reads it: its
// Next returns an error soon. The stream must be closed all the same.
func (s *Stream) Interrupt() { s.f.w.life.cancel(causeCaller) }
