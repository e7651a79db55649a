package document

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Load makes a value of a file's content. It also returns which other files the
// value came from, in the case of an error too: when one of those changes, the
// file is loaded again.
type Load[T any] func(file string, data []byte) (value T, others []string, err error)

// Source has the value of a file, and follows the file:
//
//	           ┌────── content settles, loads ──────┐
//	           ▼                                    │
//	Open ──► holds ── content settles, does not ──► failing
//	           ▲  │    load: the old value stays      │  ▲
//	           └──┘                                   └──┘
//	      loads again                          fails again: logged if for
//	                                           another reason
//
// The content is read at every look and compared by hash: the time and the size
// of a file that was written twice within the clock's tick say nothing. What has
// changed is loaded once two looks in a row have seen the same, because a file
// that is just being written may be cut short in a place where it still makes
// sense.
type Source[T any] struct {
	file string
	load Load[T]
	log  *slog.Logger
	now  func() time.Time

	current atomic.Pointer[T]

	mu      sync.Mutex
	status  Status
	others  []string
	loaded  digest // what was last loaded, or tried
	pending digest // what the last look saw, if it is not that
	told    string // why it fails, as it was last logged
}

// Status says what a source holds.
type Status struct {
	// File is its name; "" if the value does not come from a file.
	File string
	// Since is when the value came into force.
	Since time.Time
	// Failing is since when the file has been wrong, or gone; zero if it is not.
	Failing time.Time
	// Why is what is wrong with it.
	Why error
	// Loads counts values that came into force, Failures files that did not.
	Loads, Failures int64
}

type digest [sha256.Size]byte

// Open reads a file, which must be right to begin with, and returns its source.
// [Source.Watch] follows it.
func Open[T any](file string, load Load[T], log *slog.Logger) (*Source[T], error) {
	return open(file, load, log, time.Now)
}

func open[T any](file string, load Load[T], log *slog.Logger, now func() time.Time) (*Source[T], error) {
	s := &Source[T]{file: file, load: load, log: log, now: now, status: Status{File: file}}
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", file, err)
	}
	value, err := s.read(data, s.digest(data))
	if err != nil {
		return nil, err
	}
	s.hold(value)
	return s, nil
}

// Fixed is the source of a value that no file changes.
func Fixed[T any](value T) *Source[T] {
	s := &Source[T]{now: time.Now}
	s.hold(value)
	return s
}

// Current returns the value that is in force. Take it once for each request.
func (s *Source[T]) Current() T { return *s.current.Load() }

// Status says what is in force since when, and what is wrong with the file.
func (s *Source[T]) Status() Status {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.status
}

// Watch looks at the file at every interval until ctx ends. A change is in force
// after two.
func (s *Source[T]) Watch(ctx context.Context, interval time.Duration) {
	if s.file == "" {
		<-ctx.Done()
		return
	}
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			s.look(ctx)
		}
	}
}

// look reads the file, and loads it if it is another one than before and the
// same as at the look before this one. While it fails it is tried at every look:
// what it waits for may be no file, such as another source's value.
func (s *Source[T]) look(ctx context.Context) {
	s.mu.Lock()
	defer s.mu.Unlock()
	data, err := os.ReadFile(s.file)
	if err != nil {
		// Its writer may be between removing the old one and naming the new one.
		if seen := sha256.Sum256([]byte(err.Error())); seen != s.pending {
			s.pending = seen
			return
		}
		s.fail(ctx, err)
		return
	}
	seen := s.digest(data)
	if seen != s.loaded && seen != s.pending {
		s.pending = seen
		return
	}
	s.pending = digest{}
	if seen == s.loaded && s.status.Why == nil {
		return
	}
	value, err := s.read(data, seen)
	if err != nil {
		s.fail(ctx, err)
		return
	}
	s.hold(value)
	s.log.InfoContext(ctx, "read the file again", "file", s.file)
}

// read loads what was seen. What the value also came from has to be seen before
// it is loaded, or a change in between would go unnoticed; so when that is other
// files than before, it is loaded once more.
func (s *Source[T]) read(data []byte, seen digest) (T, error) {
	value, others, err := s.load(s.file, data)
	if !slices.Equal(others, s.others) {
		s.others = others
		seen = s.digest(data)
		value, _, err = s.load(s.file, data)
	}
	s.loaded = seen
	return value, err
}

func (s *Source[T]) hold(value T) {
	s.current.Store(&value)
	s.status.Since, s.status.Failing, s.status.Why = s.now(), time.Time{}, nil
	s.status.Loads++
	s.told = ""
}

// fail keeps what there is, and says so once for each reason.
func (s *Source[T]) fail(ctx context.Context, err error) {
	if s.status.Why == nil {
		s.status.Failing = s.now()
	}
	s.status.Why = err
	if s.told == err.Error() {
		return
	}
	s.told = err.Error()
	s.status.Failures++
	s.log.ErrorContext(ctx, "the file cannot be used; what held before holds", "file", s.file, "since", s.status.Since, "error", err)
}

// digest is of the file's content and of the others'. That one cannot be read is
// a content too.
func (s *Source[T]) digest(data []byte) digest {
	hash := sha256.New()
	add := func(content []byte) {
		part := sha256.Sum256(content)
		hash.Write(part[:])
	}
	add(data)
	for _, other := range s.others {
		content, err := readOther(other)
		add([]byte(fmt.Sprint(other, err != nil)))
		add(content)
	}
	return digest(hash.Sum(nil))
}

var errNotRegular = errors.New("not a regular file")

// readOther reads a file that was named in another one: what never ends is not
// read.
func readOther(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() || info.Size() > MaxSize {
		return nil, errNotRegular
	}
	return os.ReadFile(path)
}
