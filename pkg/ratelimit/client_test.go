package ratelimit

import (
	"context"
	"net"
	"net/netip"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
)

// TestOnlyWhatATrustedProxyWroteIsBelieved is the table of X-Forwarded-For.
func TestOnlyWhatATrustedProxyWroteIsBelieved(t *testing.T) {
	l := newLimits(t, Config{Keys: 1, TrustedProxies: "10.0.0.0/8,fd00::/8"})
	for name, row := range map[string]struct {
		peer      string
		forwarded []string
		client    string
	}{
		"no proxy":                            {"203.0.113.9", nil, "203.0.113.9"},
		"no proxy, and a header of its own":   {"203.0.113.9", []string{"198.51.100.1"}, "203.0.113.9"},
		"a proxy that says nothing":           {"10.0.0.1", nil, "10.0.0.1"},
		"a proxy that says it":                {"10.0.0.1", []string{"203.0.113.9"}, "203.0.113.9"},
		"a client that had a header":          {"10.0.0.1", []string{"198.51.100.1, 203.0.113.9"}, "203.0.113.9"},
		"a client that claims to be a proxy":  {"10.0.0.1", []string{"198.51.100.1,10.0.0.2, 203.0.113.9"}, "203.0.113.9"},
		"two proxies":                         {"10.0.0.1", []string{"198.51.100.1, 203.0.113.9, 10.0.0.2"}, "203.0.113.9"},
		"two proxies, a header each":          {"10.0.0.1", []string{"198.51.100.1, 203.0.113.9", "10.0.0.2"}, "203.0.113.9"},
		"a header that is empty":              {"10.0.0.1", []string{"203.0.113.9", ""}, "10.0.0.1"},
		"a client inside":                     {"10.0.0.1", []string{"10.0.0.7, 10.0.0.2"}, "10.0.0.7"},
		"with ports":                          {"10.0.0.1", []string{"203.0.113.9:4711, 10.0.0.2:80"}, "203.0.113.9"},
		"IPv6":                                {"fd00::1", []string{"2001:db8::7"}, "2001:db8::7"},
		"IPv6 with ports":                     {"fd00::1", []string{"[2001:db8::7]:4711, [fd00::2]:80"}, "2001:db8::7"},
		"IPv4 in IPv6":                        {"::ffff:10.0.0.1", []string{"::ffff:203.0.113.9"}, "203.0.113.9"},
		"with a zone":                         {"fe80::1%eth0", nil, "fe80::1"},
		"noise from the client":               {"10.0.0.1", []string{"<script>, 203.0.113.9"}, "203.0.113.9"},
		"noise from a proxy is that proxy's":  {"10.0.0.1", []string{"203.0.113.9, unknown, 10.0.0.2"}, "10.0.0.2"},
		"nothing but noise is the last hop's": {"10.0.0.1", []string{"unknown"}, "10.0.0.1"},
	} {
		t.Run(name, func(t *testing.T) {
			require.Equal(t, row.client, l.Client(netip.MustParseAddr(row.peer), row.forwarded).String())
			ctx := peer.NewContext(t.Context(), &peer.Peer{Addr: net.TCPAddrFromAddrPort(netip.AddrPortFrom(netip.MustParseAddr(row.peer), 4711))})
			ctx = metadata.NewIncomingContext(ctx, metadata.MD{"x-forwarded-for": row.forwarded})
			require.Equal(t, row.client, l.Peer(ctx).String(), "over gRPC")
		})
	}
}

func TestACallThatDidNotComeOverTheNetworkHasNoAddress(t *testing.T) {
	l := newLimits(t, Config{Keys: 1})
	require.False(t, l.Peer(context.Background()).IsValid())
	require.False(t, l.Peer(peer.NewContext(t.Context(), &peer.Peer{Addr: &net.UnixAddr{Name: "/run/x"}})).IsValid())
}

// newAddressLimits are limits of which the first is used up by one request.
func newAddressLimits(t *testing.T, exempt string) *Limits {
	t.Helper()
	return newLimits(t, Config{Keys: 10, Address: 0.001, AddressBurst: 1, FailedAuth: 0.001, FailedAuthBurst: 1, Exempt: exempt})
}

func TestAnIPv6ClientIsItsNetwork(t *testing.T) {
	for _, row := range []struct {
		first, second string
		same          bool
	}{
		{"203.0.113.9", "203.0.113.9", true},
		{"203.0.113.9", "203.0.113.8", false},
		{"2001:db8:0:1::1", "2001:db8:0:1:ffff:ffff:ffff:ffff", true},
		{"2001:db8:0:1::1", "2001:db8:0:2::1", false},
		{"2001:db8::1", "203.0.113.9", false},
	} {
		l := newAddressLimits(t, "")
		require.True(t, l.Address(netip.MustParseAddr(row.first)).Allowed)
		require.Equal(t, !row.same, l.Address(netip.MustParseAddr(row.second)).Allowed, "%s and %s", row.first, row.second)
	}
}

func TestExemptAddressesAreNotLimited(t *testing.T) {
	l := newAddressLimits(t, "10.0.0.0/8,fd00::/8")
	for _, address := range []string{"10.1.2.3", "fd00::1"} {
		client := netip.MustParseAddr(address)
		for range 5 {
			l.AuthenticationFailed(client)
			require.True(t, l.Address(client).Allowed)
			require.True(t, l.MayAuthenticate(client).Allowed)
		}
	}
	client := netip.MustParseAddr("11.1.2.3")
	l.AuthenticationFailed(client)
	require.True(t, l.Address(client).Allowed)
	require.False(t, l.Address(client).Allowed)
	require.False(t, l.MayAuthenticate(client).Allowed)
}

// FuzzClient: whatever the headers say, a peer that is not trusted is itself,
// and what stands to the left of an address that is not a proxy's changes
// nothing.
func FuzzClient(f *testing.F) {
	f.Add("198.51.100.1", "10.0.0.2")
	f.Add("[2001:db8::1]:80, ,unknown", "fd00::2, ::ffff:10.0.0.1")
	l, err := New(Config{Keys: 1, TrustedProxies: "10.0.0.0/8,fd00::/8"})
	require.NoError(f, err)
	f.Cleanup(func() { require.NoError(f, l.Close()) })
	proxy, stranger := netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("203.0.113.9")
	f.Fuzz(func(t *testing.T, left, right string) {
		require.Equal(t, stranger, l.Client(stranger, []string{left, right}))
		require.Equal(t, stranger, l.Client(proxy, []string{left, right + "," + stranger.String()}))
		require.True(t, l.Client(proxy, []string{left, right}).IsValid())
	})
}
