package ratelimit

import (
	"context"
	"net"
	"net/netip"
	"strings"

	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
)

// Client returns the address of the client behind a connection from peer whose
// X-Forwarded-For headers, in their order, are forwarded.
//
// Each proxy appends the address that it saw, so the list is worth as much as
// who wrote its end. It is read from there, and only as long as a trusted proxy
// has written: the rightmost address that is not a trusted proxy's is the
// client's, and whatever stands before it is the client's own invention. If
// there are none but trusted ones, it is the leftmost.
func (l *Limits) Client(peer netip.Addr, forwarded []string) netip.Addr {
	client := plain(peer)
	for i := len(forwarded) - 1; i >= 0; i-- {
		for rest, more := forwarded[i], true; more; {
			if !l.trusted.Contain(client) {
				return client
			}
			var hop string
			if comma := strings.LastIndexByte(rest, ','); comma >= 0 {
				rest, hop = rest[:comma], rest[comma+1:]
			} else {
				rest, hop, more = "", rest, false
			}
			address, ok := parseHop(strings.TrimSpace(hop))
			if !ok {
				return client // whoever wrote this can be held to it, and nobody before
			}
			client = address
		}
	}
	return client
}

// parseHop reads one address of X-Forwarded-For. Some proxies add the port.
func parseHop(hop string) (netip.Addr, bool) {
	if address, err := netip.ParseAddr(hop); err == nil {
		return plain(address), true
	}
	if address, err := netip.ParseAddrPort(hop); err == nil {
		return plain(address.Addr()), true
	}
	return netip.Addr{}, false
}

// plain is an address in the one form that is compared: IPv4 as such, and no
// zone, which is our side's name for an interface.
func plain(address netip.Addr) netip.Addr { return address.Unmap().WithZone("") }

// clientBits is how much of an IPv6 address tells clients apart. A /64 is the
// smallest network that a site is given (RFC 6177), and every host in it may use
// as many of its addresses as it likes (RFC 8981).
const clientBits = 64

// keyOf is what is counted of an address.
func keyOf(client netip.Addr) netip.Addr {
	if client.Is4() {
		return client
	}
	network, err := client.Prefix(clientBits)
	if err != nil { // the zero address, which is not counted
		return client
	}
	return network.Addr()
}

// Peer returns the address of the client of a gRPC call that came over the
// network; the zero address if it did not.
func (l *Limits) Peer(ctx context.Context) netip.Addr {
	from, ok := peer.FromContext(ctx)
	if !ok {
		return netip.Addr{}
	}
	address, ok := from.Addr.(*net.TCPAddr)
	if !ok {
		return netip.Addr{}
	}
	var forwarded []string
	if len(l.trusted) > 0 { // looking it up copies it
		forwarded = metadata.ValueFromIncomingContext(ctx, "x-forwarded-for")
	}
	return l.Client(address.AddrPort().Addr(), forwarded)
}
