package dispatch

import (
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/holdfast-dev/holdfast/services/llm-gateway/routes"
)

const (
	// longestDial bounds a connection that is made after the attempt it was for
	// has given up on it: net/http finishes it, for the next one.
	longestDial = 30 * time.Second
	// idleConnection is below what providers and the load balancers before them
	// keep: a request on a connection that is being closed at the other end may
	// or may not have arrived.
	idleConnection = 30 * time.Second
	// idleConnections are kept for a provider: more than a replica has in use on
	// most days.
	idleConnections = 64
	// largestHeader bounds the headers of an answer.
	largestHeader = 64 << 10
	// silence after which an HTTP/2 connection is asked whether it is alive, and
	// how long it has to answer. A dead one has many requests on it.
	silence = 15 * time.Second
)

// transport makes the connections of a provider: HTTP/2 where TLS agrees on it
// (ALPN), and HTTP/1.1 otherwise, as with local servers. It is used without an
// http.Client: no redirect is followed, with a key in its headers.
func (o Options) transport(p *routes.Provider) *http.Transport {
	dialer := &net.Dialer{Timeout: longestDial, KeepAlive: silence}
	t := &http.Transport{
		Proxy:                  http.ProxyFromEnvironment,
		DialContext:            dialer.DialContext,
		TLSHandshakeTimeout:    longestDial,
		ForceAttemptHTTP2:      strings.HasPrefix(p.BaseURL, "https:"),
		HTTP2:                  &http.HTTP2Config{SendPingTimeout: silence, PingTimeout: silence},
		MaxConnsPerHost:        p.MaxConcurrent,
		MaxIdleConns:           0, // one host each: the line below bounds it
		MaxIdleConnsPerHost:    idleConnections,
		IdleConnTimeout:        idleConnection,
		MaxResponseHeaderBytes: largestHeader,
		DisableCompression:     true, // bytes pass as they come, and events are not held up
	}
	if o.Transport != nil {
		o.Transport(t)
	}
	return t
}
