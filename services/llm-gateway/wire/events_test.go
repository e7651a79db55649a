package wire

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// seen is an event whose bytes may be kept.
type seen struct{ raw, name, data string }

// feed cuts stream into chunks at those places.
func feed(t require.TestingT, stream []byte, cuts ...int) (events []seen, left int) {
	var e Events
	begin := 0
	for _, cut := range append(cuts, len(stream)) {
		chunk := bytes.Clone(stream[begin:cut])
		require.NoError(t, e.Feed(chunk, func(ev Event) error {
			events = append(events, seen{string(ev.Raw), string(ev.Name), string(ev.Data)})
			return nil
		}))
		for i := range chunk {
			chunk[i] = 'x' // who reads the next chunk into the same memory
		}
		begin = cut
	}
	return events, e.Buffered()
}

func TestEventsAreCutAsTheStandardHasIt(t *testing.T) {
	for _, c := range []struct {
		name, stream string
		want         []seen
		left         int
	}{
		{"data", "data: a\n\n", []seen{{"data: a\n\n", "", "a"}}, 0},
		{"a name", "event: ping\ndata: {}\n\n", []seen{{"event: ping\ndata: {}\n\n", "ping", "{}"}}, 0},
		{"one space is not data", "data:a\n\ndata:  b\n\n", []seen{{"data:a\n\n", "", "a"}, {"data:  b\n\n", "", " b"}}, 0},
		{"three lines of data", "data: a\ndata\ndata: c\n\n", []seen{{"data: a\ndata\ndata: c\n\n", "", "a\n\nc"}}, 0},
		{"a comment", ": hello\n\n", []seen{{": hello\n\n", "", ""}}, 0},
		{"a comment inside", ": hello\ndata: a\nid: 7\nretry: 10\n\n", []seen{{": hello\ndata: a\nid: 7\nretry: 10\n\n", "", "a"}}, 0},
		{"CRLF", "event: a\r\ndata: b\r\n\r\ndata: c\r\n\r\n", []seen{{"event: a\r\ndata: b\r\n\r\n", "a", "b"}, {"data: c\r\n\r\n", "", "c"}}, 0},
		{"CR", "event: a\rdata: b\r\rdata: c\r\r", []seen{{"event: a\rdata: b\r\r", "a", "b"}, {"data: c\r\r", "", "c"}}, 0},
		{"a blank line too many", "data: a\n\n\ndata: b\n\n", []seen{{"data: a\n\n", "", "a"}, {"\n", "", ""}, {"data: b\n\n", "", "b"}}, 0},
		{"a byte order mark", "\xef\xbb\xbfdata: a\n\n", []seen{{"\xef\xbb\xbfdata: a\n\n", "", "a"}}, 0},
		{"no blank line", "data: a\n\ndata: [DONE]\n", []seen{{"data: a\n\n", "", "a"}}, 13},
		{"half a line", "data: a\n\nda", []seen{{"data: a\n\n", "", "a"}}, 2},
	} {
		t.Run(c.name, func(t *testing.T) {
			events, left := feed(t, []byte(c.stream))
			require.Equal(t, c.want, events)
			require.Equal(t, c.left, left)
		})
	}
}

func TestEventsDoNotDependOnWhereChunksEnd(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		eol := rapid.SampledFrom([]string{"\n", "\r\n", "\r"}).Draw(t, "line end")
		var b strings.Builder
		for range rapid.IntRange(0, 4).Draw(t, "events") {
			for range rapid.IntRange(0, 3).Draw(t, "lines") {
				b.WriteString(rapid.SampledFrom([]string{"data: {}", "data", "event: x", ": c", "data: a longer line of data"}).Draw(t, "line") + eol)
			}
			b.WriteString(eol)
		}
		b.WriteString(rapid.SampledFrom([]string{"", "data: cut", "data: cut" + eol}).Draw(t, "rest"))
		requireSameWhereverCut(t, []byte(b.String()), rapid.SliceOfN(rapid.IntRange(0, b.Len()), 0, 6).Draw(t, "cuts"))
	})
}

// requireSameWhereverCut feeds the stream whole, cut, and byte by byte. An LF that is
// late may belong to the event before or after it; nothing else differs, and no byte
// is lost.
func requireSameWhereverCut(t require.TestingT, stream []byte, cuts []int) {
	whole, left := feed(t, stream)
	every := make([]int, len(stream))
	sorted := []int{}
	for i := range stream {
		every[i] = i
		for _, cut := range cuts {
			if cut == i {
				sorted = append(sorted, i)
				break
			}
		}
	}
	for _, cuts := range [][]int{sorted, every} {
		events, cutLeft := feed(t, stream, cuts...)
		require.Equal(t, len(whole), len(events))
		require.InDelta(t, left, cutLeft, 1)
		raw := ""
		for i, e := range events {
			require.Equal(t, whole[i].name, e.name)
			require.Equal(t, whole[i].data, e.data)
			require.Equal(t, strings.Trim(whole[i].raw, "\r\n"), strings.Trim(e.raw, "\r\n"))
			raw += e.raw
		}
		require.True(t, strings.HasPrefix(string(stream), raw))
		require.LessOrEqual(t, len(stream)-len(raw)-cutLeft, 1)
	}
}

func TestTheLastEventDoesNotWaitForTheLFOfItsCRLF(t *testing.T) {
	events, left := feed(t, []byte("data: a\r\n\r\n"), 10)
	require.Equal(t, []seen{{"data: a\r\n\r", "", "a"}}, events)
	require.Zero(t, left)
}

func TestAnEventThatIsTooLongEndsTheStream(t *testing.T) {
	var e Events
	never := func(Event) error { t.Fatal("no event"); return nil }
	line := append(append([]byte("data: "), bytes.Repeat([]byte("x"), MaxEvent)...), "\n\n"...)
	require.ErrorIs(t, e.Feed(line, never), ErrEventTooLong, "in one chunk")
	e = Events{}
	var err error
	for range 5 {
		if err = e.Feed(line[:MaxEvent/4+1], never); err != nil {
			break
		}
	}
	require.ErrorIs(t, err, ErrEventTooLong, "in several")
	require.Zero(t, e.Buffered(), "and gives the memory back")
}

func TestALargeEventDoesNotKeepItsMemory(t *testing.T) {
	var e Events
	ignore := func(Event) error { return nil }
	require.NoError(t, e.Feed(bytes.Repeat([]byte("x"), 1<<20), ignore))
	require.NoError(t, e.Feed([]byte("\n\n"), ignore))
	require.LessOrEqual(t, cap(e.buf), keptBuffer)
}

func TestAnErrorOfTheReaderEndsTheFeeding(t *testing.T) {
	var e Events
	stop := errors.New("stop")
	n := 0
	require.ErrorIs(t, e.Feed([]byte("data: a\n\ndata: b\n\n"), func(Event) error { n++; return stop }), stop)
	require.Equal(t, 1, n)
}

func FuzzEvents(f *testing.F) {
	for _, name := range recordings {
		f.Add(recorded(f, name), uint16(70), uint16(300))
	}
	f.Add([]byte("data: a\r\n\r\ndata: b\r\r\n\n: c\n\n"), uint16(10), uint16(11))
	f.Add([]byte("\xef\xbb\xbf\n\r\n"), uint16(1), uint16(2))
	f.Fuzz(func(t *testing.T, stream []byte, first, second uint16) {
		if len(stream) > 4096 {
			stream = stream[:4096]
		}
		requireSameWhereverCut(t, stream, []int{int(first), int(second)})
		for p := OpenAI; p <= Anthropic; p++ { // whatever comes, nothing panics
			s := NewStream(p)
			var e Events
			_ = e.Feed(stream, func(ev Event) error { _, err := s.See(ev); return err })
			u, _ := s.Usage()
			require.GreaterOrEqual(t, s.Produced(), u.Output)
		}
	})
}
