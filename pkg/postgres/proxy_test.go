package postgres_test

import (
	"io"
	"net"
	"net/url"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
)

// proxy stands between a client and the server and cuts the line at the worst
// moment.
type proxy struct {
	url string
	// loseRequest cuts when the client sends next, loseAnswer when the server
	// does.
	loseRequest, loseAnswer atomic.Bool
}

func newProxy(t *testing.T, target string) *proxy {
	t.Helper()
	parsed, err := url.Parse(target)
	require.NoError(t, err)
	server := parsed.Host
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { _ = listener.Close() })
	parsed.Host = listener.Addr().String()
	p := &proxy{url: parsed.String()}
	go func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			go p.serve(client, server)
		}
	}()
	return p
}

func (p *proxy) serve(client net.Conn, server string) {
	defer client.Close()
	upstream, err := net.Dial("tcp", server)
	if err != nil {
		return
	}
	defer upstream.Close()
	done := make(chan struct{}, 2)
	go func() { forward(upstream, client, &p.loseRequest); done <- struct{}{} }()
	go func() { forward(client, upstream, &p.loseAnswer); done <- struct{}{} }()
	<-done
}

// forward copies until cut is set and something arrives, which it drops.
func forward(to io.Writer, from io.Reader, cut *atomic.Bool) {
	buffer := make([]byte, 64<<10)
	for {
		n, err := from.Read(buffer)
		if err != nil || cut.CompareAndSwap(true, false) {
			return
		}
		if _, err := to.Write(buffer[:n]); err != nil {
			return
		}
	}
}
