package document

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// watched is a source over a file that is right if it does not say "bad", and
// that comes also from the file named after "see ".
type watched struct {
	*Source[string]
	t     *testing.T
	path  string
	log   bytes.Buffer
	clock time.Time
	loads int
}

var errBad = errors.New("it is bad")

func watch(t *testing.T, content string) *watched {
	t.Helper()
	w := &watched{t: t, path: filepath.Join(t.TempDir(), "a.yaml"), clock: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)}
	w.write(w.path, content)
	source, err := open(w.path, w.load, slog.New(slog.NewTextHandler(&w.log, nil)), func() time.Time { return w.clock })
	require.NoError(t, err)
	w.Source = source
	return w
}

func (w *watched) load(_ string, data []byte) (string, []string, error) {
	w.loads++
	text := string(data)
	var others []string
	if _, other, ok := strings.Cut(text, "see "); ok {
		others = []string{other}
		content, _ := os.ReadFile(other) // absent is empty
		text += "=" + string(content)
	}
	if strings.Contains(text, "bad") {
		return "", others, errBad
	}
	return text, others, nil
}

func (w *watched) write(path, content string) {
	w.t.Helper()
	require.NoError(w.t, os.WriteFile(path, []byte(content), 0o600))
}

// look looks so many times, a second apart.
func (w *watched) look(times int) {
	for range times {
		w.clock = w.clock.Add(time.Second)
		w.Source.look(w.t.Context())
	}
}

func TestAChangeIsInForceOnceItStaysTheSame(t *testing.T) {
	w := watch(t, "one")
	require.Equal(t, "one", w.Current())
	w.write(w.path, "two, half wri")
	w.look(1)
	require.Equal(t, "one", w.Current(), "it may be being written")
	w.write(w.path, "two, half written")
	w.look(1)
	require.Equal(t, "one", w.Current(), "it was")
	w.look(1)
	require.Equal(t, "two, half written", w.Current())
	require.Equal(t, Status{File: w.path, Since: w.clock, Loads: 2}, w.Status())
}

func TestAFileOfTheSameTimeAndSizeIsSeenToHaveChanged(t *testing.T) {
	w := watch(t, "one")
	info, err := os.Stat(w.path)
	require.NoError(t, err)
	w.write(w.path, "two")
	require.NoError(t, os.Chtimes(w.path, info.ModTime(), info.ModTime()))
	w.look(2)
	require.Equal(t, "two", w.Current())
}

func TestABadFileKeepsWhatThereWasAndSaysSoOnce(t *testing.T) {
	w := watch(t, "one")
	since := w.clock
	w.write(w.path, "bad")
	w.look(2)
	failing := w.clock
	w.look(5)
	require.Equal(t, "one", w.Current())
	require.Equal(t, Status{File: w.path, Since: since, Failing: failing, Why: errBad, Loads: 1, Failures: 1}, w.Status())
	require.Equal(t, 1, strings.Count(w.log.String(), "it is bad"))
	require.Contains(t, w.log.String(), "what held before holds")

	w.write(w.path, "three")
	w.look(2)
	require.Equal(t, "three", w.Current())
	require.Equal(t, Status{File: w.path, Since: w.clock, Loads: 2, Failures: 1}, w.Status())

	w.write(w.path, "bad")
	w.look(2)
	require.Equal(t, 2, strings.Count(w.log.String(), "it is bad"), "it is news again")
}

func TestAFileThatIsGoneKeepsWhatThereWas(t *testing.T) {
	w := watch(t, "one")
	require.NoError(t, os.Remove(w.path))
	w.look(1)
	require.NoError(t, w.Status().Why, "its writer may be about to name the new one")
	w.look(1)
	require.ErrorIs(t, w.Status().Why, os.ErrNotExist)
	require.Equal(t, "one", w.Current())
	w.write(w.path, "one")
	w.look(1)
	require.NoError(t, w.Status().Why)
}

func TestWhatFailedForAnotherReasonIsTriedAgain(t *testing.T) {
	w := watch(t, "one")
	w.write(w.path, "bad")
	w.look(2)
	before := w.loads
	w.look(3)
	require.Equal(t, before+3, w.loads)
	w.write(w.path, "two")
	w.look(2)
	before = w.loads
	w.look(3)
	require.Equal(t, before, w.loads, "what is right is not read again")
}

func TestAFileThatTheValueCameFromIsFollowedToo(t *testing.T) {
	other := filepath.Join(t.TempDir(), "key")
	w := watch(t, "see "+other)
	require.Equal(t, "see "+other+"=", w.Current())
	w.look(3)
	require.EqualValues(t, 1, w.Status().Loads, "nothing has changed")
	w.write(other, "A")
	w.look(2)
	require.Equal(t, "see "+other+"=A", w.Current())
	w.write(other, "B")
	w.look(2)
	require.Equal(t, "see "+other+"=B", w.Current())
	w.write(other, "bad")
	w.look(2)
	require.Equal(t, "see "+other+"=B", w.Current())
	w.write(other, "C")
	w.look(2)
	require.Equal(t, "see "+other+"=C", w.Current(), "it is followed while the value fails")
}

// TestAFileThatChangesWhileItIsReadIsNotMissed has the other file change between
// the reading of it and the end of the load.
func TestAFileThatChangesWhileItIsReadIsNotMissed(t *testing.T) {
	other := filepath.Join(t.TempDir(), "key")
	w := watch(t, "one")
	w.write(other, "A")
	w.write(w.path, "see "+other)
	inner := w.load
	w.Source.load = func(name string, data []byte) (string, []string, error) {
		value, others, err := inner(name, data)
		w.write(other, "B")
		w.Source.load = inner
		return value, others, err
	}
	w.look(4)
	require.Equal(t, "see "+other+"=B", w.Current())
}

func TestAFileThatIsBadToBeginWithIsNotOpened(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.yaml")
	_, err := Open(path, (&watched{}).load, slog.New(slog.DiscardHandler))
	require.ErrorIs(t, err, os.ErrNotExist)
	require.NoError(t, os.WriteFile(path, []byte("bad"), 0o600))
	_, err = Open(path, (&watched{}).load, slog.New(slog.DiscardHandler))
	require.ErrorIs(t, err, errBad)
}

func TestAFixedValueIsNotWatchedAndWatchingEndsWithItsContext(t *testing.T) {
	for _, source := range []*Source[string]{Fixed("one"), watch(t, "one").Source} {
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); source.Watch(ctx, time.Millisecond) }()
		require.Equal(t, "one", source.Current())
		cancel()
		<-done
	}
}

// TestReadersSeeOneValueOrTheOther is for the race detector: values are swapped
// whole, under readers.
func TestReadersSeeOneValueOrTheOther(t *testing.T) {
	w := watch(t, "value 0")
	ctx, cancel := context.WithCancel(t.Context())
	var readers sync.WaitGroup
	for range 4 {
		readers.Go(func() {
			for ctx.Err() == nil {
				if current := w.Current(); !strings.HasPrefix(current, "value ") {
					t.Errorf("read %q", current)
				}
				_ = w.Status()
			}
		})
	}
	for i := range 20 {
		w.write(w.path, "value "+string(rune('a'+i)))
		w.look(2)
	}
	cancel()
	readers.Wait()
	require.Equal(t, "value t", w.Current())
}
