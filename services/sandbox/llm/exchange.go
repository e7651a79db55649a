package llm

import (
	"context"
	"sync"
	"time"
)

// exchange is one request and its answer.
type exchange struct {
	id      string
	created time.Time
	request *request
	answer  answer
	// usage is that of the whole answer.
	usage     Usage
	hideUsage bool
}

// partial is the usage when so many tokens of the answer were produced. What is
// thought is produced first.
func (x *exchange) partial(produced int64) Usage {
	u := x.usage
	u.Output = min(produced, u.Output)
	u.Reasoning = min(u.Reasoning, u.Output)
	return u
}

// live is a request that is being answered.
type live struct {
	mu  sync.Mutex
	row Row
}

func (l *live) set(u Usage, billed int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.row.Usage, l.row.Billed = u, billed
}

func (l *live) get() Row {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.row
}

// running are the requests that are being answered, by request id.
type running struct {
	mu  sync.Mutex
	ids map[string]*live
}

// enter makes a request known until leave is called.
func (r *running) enter(l *live) (leave func()) {
	id := l.row.Request
	if id == "" {
		return func() {}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.ids == nil {
		r.ids = map[string]*live{}
	}
	r.ids[id] = l
	return func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		if r.ids[id] == l { // and not a later one of the same id
			delete(r.ids, id)
		}
	}
}

func (r *running) find(id string) (Row, bool) {
	r.mu.Lock()
	l := r.ids[id]
	r.mu.Unlock()
	if l == nil {
		return Row{}, false
	}
	return l.get(), true
}

// endedBy is the state of a request whose context has ended: the client left,
// unless the server gave its context another cause.
func endedBy(ctx context.Context) State {
	if cause := context.Cause(ctx); cause != nil && cause != context.Canceled { //nolint:errorlint // exactly what net/http says of a client
		return StateCut
	}
	return StateCancelled
}
