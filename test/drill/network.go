package drill

import (
	"context"
	"fmt"
	"net/url"
	"sync"
	"time"

	"github.com/holdfast-dev/holdfast/cmd/holdfast/local"
)

// The pairs of parts that talk to each other.
const (
	clientsOrders     = "clients and orders"
	ordersPayments    = "orders and payments"
	paymentsProcessor = "payments and the processor"
)

// withDatabase is the pair of a service and its database.
func withDatabase(service string) string { return service + " and its database" }

// pair is the network between two parts.
type pair struct {
	name string

	mu    sync.Mutex
	links []*Link
}

func (p *pair) cut()    { p.each((*Link).Cut) }
func (p *pair) freeze() { p.each((*Link).Freeze) }
func (p *pair) heal()   { p.each((*Link).Heal) }

func (p *pair) slow(delay time.Duration) { p.each(func(l *Link) { l.Slow(delay) }) }

func (p *pair) each(do func(*Link)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, l := range p.links {
		do(l)
	}
}

func (p *pair) add(l *Link) {
	p.mu.Lock()
	p.links = append(p.links, l)
	p.mu.Unlock()
}

// connect returns where one part of a pair finds the other, which is at target:
// behind a link, if the stage has a network.
func (s *stage) connect(ctx context.Context, name, target string) (address string, err error) {
	if !s.networked {
		return target, nil
	}
	link, err := NewLink(ctx, target)
	if err != nil {
		return "", err
	}
	s.onClose(func(context.Context) { link.Close() })
	s.between(name).add(link)
	return link.Addr(), nil
}

// between is the network of the named pair.
func (s *stage) between(name string) *pair {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, p := range s.pairs {
		if p.name == name {
			return p
		}
	}
	p := &pair{name: name}
	s.pairs = append(s.pairs, p)
	return p
}

// connectDatabases returns what gives each service the URL of its database.
func (s *stage) connectDatabases(ctx context.Context) (func(database string) string, error) {
	urls := map[string]string{}
	for _, service := range local.Shop {
		address, err := s.connect(ctx, withDatabase(service), s.postgres.Address)
		if err != nil {
			return nil, err
		}
		u, err := url.Parse(s.postgres.Database(service))
		if err != nil {
			return nil, fmt.Errorf("the URL of the database of %s: %w", service, err)
		}
		u.Host = address
		urls[service] = u.String()
	}
	return func(database string) string { return urls[database] }, nil
}

// connectPayments returns the gRPC target by which orders finds those replicas of
// payments that are ready.
func (s *stage) connectPayments(ctx context.Context) (target string, err error) {
	address, err := s.serve(ctx, s.payments.endpoints)
	return Scheme + ":///" + address, err
}
