package wire

import (
	"bytes"
	"errors"
)

// MaxEvent is how large an event may be, in bytes.
const MaxEvent = 4 << 20

// keptBuffer is how much memory a stream keeps between events.
const keptBuffer = 64 << 10

// ErrEventTooLong says that a provider's event is larger than MaxEvent.
var ErrEventTooLong = errors.New("event is too long")

// Event is a server-sent event. Its bytes are only good until the function that was
// given it returns.
type Event struct {
	// Raw is the event as it came, with the blank line that ends it: what is to be
	// passed on.
	Raw []byte
	// Name is its type; empty when it does not say, as OpenAI's do not.
	Name []byte
	// Data is its data, several lines joined; nil in a comment, or when it has none.
	Data []byte
}

// Events cuts bytes into events, as section 9.2.6 of the HTML standard has it: lines
// end with LF, CRLF or CR, an event with a blank line. Chunks may end anywhere. The
// zero value is at the beginning of a stream.
//
// An event that lies in one chunk is not copied. What comes after the last blank line
// is never an event: a stream that was cut ends with Buffered bytes.
type Events struct {
	buf    []byte // an event whose end has not come
	joined []byte // data of several lines
	pos    int    // up to where buf has been looked through
	line   int    // where its last line begins
	cr     bool   // it ended with a CR: an LF that follows belongs to it
	begun  bool   // the first event, which may have a byte order mark, is through
}

// Feed takes the next bytes of a stream and calls each for every event that they
// complete. An error of each ends it and is returned; the stream is then not to be
// fed again.
func (e *Events) Feed(chunk []byte, each func(Event) error) error {
	p := chunk
	if len(e.buf) > 0 {
		e.buf = append(e.buf, chunk...)
		p = e.buf
	}
	start := 0
	for {
		if e.cr && e.pos < len(p) {
			e.cr = false
			if p[e.pos] == '\n' {
				e.pos++
				e.line = e.pos
			}
		}
		end := lineEnd(p[e.pos:])
		if end < 0 {
			e.pos = len(p)
			break
		}
		end += e.pos
		blank := end == e.line
		e.cr = p[end] == '\r'
		e.pos, e.line = end+1, end+1
		if e.cr && e.pos < len(p) && p[e.pos] == '\n' {
			e.cr = false
			e.pos++
			e.line++
		}
		if !blank {
			continue
		}
		if e.pos-start > MaxEvent {
			return ErrEventTooLong
		}
		event := e.parse(p[start:e.pos])
		start = e.pos
		if err := each(event); err != nil {
			return err
		}
	}
	if len(p)-start > MaxEvent {
		e.buf = nil
		return ErrEventTooLong
	}
	if start > 0 || len(e.buf) == 0 {
		e.keep(p[start:])
	}
	e.pos -= start
	e.line -= start
	return nil
}

// keep holds the bytes of an event that is not whole yet.
func (e *Events) keep(rest []byte) {
	if len(rest) == 0 && cap(e.buf) > keptBuffer {
		e.buf = nil
		return
	}
	// rest may be the end of buf: append copies as memmove does.
	e.buf = append(e.buf[:0], rest...)
}

// Buffered is how many bytes came of an event that has not ended.
func (e *Events) Buffered() int {
	if len(e.buf) == 1 && e.buf[0] == '\n' && e.line == 1 {
		return 0 // the second half of the CRLF that ended the last one
	}
	return len(e.buf)
}

// lineEnd is where the first line end is, -1 if there is none.
func lineEnd(p []byte) int {
	lf := bytes.IndexByte(p, '\n')
	before := p
	if lf >= 0 {
		before = p[:lf]
	}
	if cr := bytes.IndexByte(before, '\r'); cr >= 0 {
		return cr
	}
	return lf
}

// parse reads the lines of a whole event.
func (e *Events) parse(raw []byte) Event {
	event := Event{Raw: raw}
	rest := raw
	if !e.begun {
		e.begun = true
		rest = bytes.TrimPrefix(rest, []byte("\xef\xbb\xbf"))
	}
	lines := 0
	for len(rest) > 0 {
		end := lineEnd(rest)
		line := rest[:end]
		rest = rest[end+1:]
		name, value, _ := bytes.Cut(line, []byte(":"))
		if len(value) > 0 && value[0] == ' ' {
			value = value[1:]
		}
		switch string(name) {
		case "event":
			event.Name = value
		case "data":
			lines++
			switch lines {
			case 1:
				event.Data = value
				if value == nil {
					event.Data = []byte{}
				}
			case 2:
				e.joined = append(append(append(e.joined[:0], event.Data...), '\n'), value...)
				event.Data = e.joined
			default:
				e.joined = append(append(e.joined, '\n'), value...)
				event.Data = e.joined
			}
		}
	}
	return event
}
