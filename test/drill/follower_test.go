package drill

import (
	"context"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	ordersv1 "github.com/holdfast-dev/holdfast/proto/holdfast/orders/v1"
	"github.com/holdfast-dev/holdfast/test/load"
)

// fakeDesk is an orders service that tells of changes, as far as it is not told
// to do it wrongly.
type fakeDesk struct {
	mu        sync.Mutex
	changed   chan struct{}
	revisions []*ordersv1.WatchOrderResponse
	opened    int
	conflicts int // edits that somebody else is faster than

	skips, repeats, forgets bool   // what is wrong with its streams
	drains                  int    // how many of them end
	drainsAfter             int    // so many messages
	drainToken              string // what they say to go on from, if not the truth
	drainReason             string
	lostEdits               bool
}

func newDesk() *fakeDesk {
	d := &fakeDesk{changed: make(chan struct{}), drainReason: "DRAINING", drainsAfter: 2}
	d.add(&ordersv1.Order{Id: "order"})
	return d
}

func (d *fakeDesk) Name() string { return "fake" }
func (d *fakeDesk) Close()       {}

// add adds a revision; the caller holds the lock, or is alone.
func (d *fakeDesk) add(o *ordersv1.Order) {
	n := len(d.revisions) + 1
	o = proto.CloneOf(o)
	o.Etag = "v" + strconv.Itoa(n)
	d.revisions = append(d.revisions, &ordersv1.WatchOrderResponse{Order: o, Revision: int64(n), ResumeToken: strconv.Itoa(n)})
	close(d.changed)
	d.changed = make(chan struct{})
}

// Send answers UpdateOrder and GetOrder.
func (d *fakeDesk) Send(_ context.Context, _ string, message proto.Message) load.Exchange {
	d.mu.Lock()
	defer d.mu.Unlock()
	now := d.revisions[len(d.revisions)-1].GetOrder()
	var answer proto.Message = &ordersv1.GetOrderResponse{Order: now}
	if r, ok := message.(*ordersv1.UpdateOrderRequest); ok {
		if d.conflicts > 0 {
			d.conflicts--
			d.add(now)
		}
		now = d.revisions[len(d.revisions)-1].GetOrder()
		switch {
		case d.lostEdits:
			return load.Exchange{Code: "grpc UNAVAILABLE", Reason: "OVERLOADED"}
		case r.GetEtag() != now.GetEtag():
			return load.Exchange{Code: "grpc FAILED_PRECONDITION", Reason: "ETAG_MISMATCH"}
		}
		changed := proto.CloneOf(now)
		changed.ContactEmail = r.GetContactEmail()
		d.add(changed)
		answer = &ordersv1.UpdateOrderResponse{Order: d.revisions[len(d.revisions)-1].GetOrder()}
	}
	body, _ := proto.Marshal(answer)
	return load.Exchange{OK: true, Body: body}
}

// Open begins a stream.
func (d *fakeDesk) Open(ctx context.Context, message proto.Message) (load.Stream, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.opened++
	at, _ := strconv.Atoi(message.(*ordersv1.WatchOrderRequest).GetResumeToken())
	if at == 0 {
		at = len(d.revisions) - 1
	} else if d.forgets { // much happens meanwhile, or it would be right by luck
		now := d.revisions[len(d.revisions)-1].GetOrder()
		d.add(now)
		d.add(now)
		at = len(d.revisions) - 1
	}
	return &fakeStream{fakeDesk: d, ctx: ctx, at: at, drains: d.opened <= d.drains}, nil
}

type fakeStream struct {
	*fakeDesk
	ctx    context.Context
	at     int // how many revisions were sent
	sent   int
	drains bool
}

func (s *fakeStream) Next() load.Exchange {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.drains && s.sent == s.drainsAfter {
		token := strconv.Itoa(s.at)
		if s.drainToken != "" {
			token = s.drainToken
		}
		return load.Exchange{Code: "grpc UNAVAILABLE", Reason: s.drainReason, ResumeToken: token}
	}
	for s.at == len(s.revisions) {
		changed := s.changed
		s.mu.Unlock()
		select {
		case <-changed:
		case <-s.ctx.Done():
		}
		s.mu.Lock()
		if s.ctx.Err() != nil {
			return load.Exchange{Err: s.ctx.Err()}
		}
	}
	if s.skips && s.sent == 2 {
		s.skips = false
		s.at++
		s.mu.Unlock()
		defer s.mu.Lock()
		return s.Next()
	}
	body, _ := proto.Marshal(s.revisions[s.at])
	s.sent++
	if s.repeats && s.sent == 3 {
		s.repeats = false
	} else {
		s.at++
	}
	return load.Exchange{OK: true, Body: body}
}

func (s *fakeStream) Close() {}

// follow lets a client follow one order of the desk.
func follow(t *testing.T, d *fakeDesk) (*load.Failure, *follower) {
	t.Helper()
	by := newShopper(1, sender{&fakeShop{stored: map[string]stored{}}, "proto"})
	by.placed[0] = []placement{{id: "order"}}
	f := &follower{shopper: by, streams: []streamer{{d, "proto"}}, read: d, edit: d, pause: time.Millisecond}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	return f.visit(ctx, load.Arrival{Key: uuid.NewString()}).Failure, f
}

func TestAFollowerHasNothingToSayOfAGoodDesk(t *testing.T) {
	for name, change := range map[string]func(*fakeDesk){
		"nothing happens":          func(*fakeDesk) {},
		"one drain hands it over":  func(d *fakeDesk) { d.drains = 1 },
		"so do those of all":       func(d *fakeDesk) { d.drains, d.drainsAfter = mostHandovers, 1 },
		"somebody else edits, too": func(d *fakeDesk) { d.conflicts = 3 },
	} {
		d := newDesk()
		change(d)
		wanted := d.drains
		failure, f := follow(t, d)
		require.Nil(t, failure, name)
		require.EqualValues(t, wanted, f.handovers.Load(), name)
	}
}

func TestAFollowerNoticesEveryBrokenPromise(t *testing.T) {
	for want, change := range map[string]func(*fakeDesk){
		"a gap":                     func(d *fakeDesk) { d.skips = true },
		"a gap: revision":           func(d *fakeDesk) { d.drains, d.forgets = 1, true },
		"a repeat":                  func(d *fakeDesk) { d.repeats = true },
		"grpc UNAVAILABLE DRAINING": func(d *fakeDesk) { d.drains, d.drainsAfter = mostHandovers+1, 1 },
		"a drain says to go on":     func(d *fakeDesk) { d.drains, d.drainToken = 1, "1" },
		"grpc UNAVAILABLE INTERNAL": func(d *fakeDesk) { d.drains, d.drainReason = 1, "INTERNAL" },
		"OVERLOADED":                func(d *fakeDesk) { d.lostEdits = true },
	} {
		d := newDesk()
		change(d)
		failure, _ := follow(t, d)
		require.NotNil(t, failure, want)
		require.Contains(t, failure.Kind+" "+failure.Detail, want)
	}
}
