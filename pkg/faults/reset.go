//go:build faults

package faults

import (
	"context"
	"errors"
	"net"
	"net/http"

	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
)

// An interceptor is not told the connection that a call came on, only its
// addresses. So the listener notes every open connection by them. HTTP requests
// reach the interceptors by the gateway's connection within the process, and
// bring the addresses of their own as metadata.

// connMetadata is where the gateway tells the addresses of an HTTP request's
// connection. It is believed on the connection within the process only.
const connMetadata = "holdfast-fault-connection"

// connKey names a connection by its two addresses, which no two open ones share.
func connKey(remote, local string) string { return remote + " " + local }

// Listener returns a listener whose connections can be reset.
func (i *Injector) Listener(listener net.Listener) net.Listener {
	if !i.allowed {
		return listener
	}
	return notingListener{listener, i}
}

type notingListener struct {
	net.Listener
	injector *Injector
}

// Accept waits for a connection and notes it.
func (l notingListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	noted := &notedConn{Conn: conn, injector: l.injector, key: connKey(conn.RemoteAddr().String(), conn.LocalAddr().String())}
	l.injector.conns.Store(noted.key, noted)
	return noted, nil
}

type notedConn struct {
	net.Conn
	injector *Injector
	key      string
}

// Close forgets the connection, unless another has its addresses already.
func (c *notedConn) Close() error {
	c.injector.conns.CompareAndDelete(c.key, c)
	return c.Conn.Close()
}

// CloseWrite is what net/http needs to answer a request that it has not read.
func (c *notedConn) CloseWrite() error {
	half, ok := c.Conn.(interface{ CloseWrite() error })
	if !ok {
		return errors.ErrUnsupported
	}
	return half.CloseWrite()
}

// reset ends the connection that the call came on with a RST: what is on its way
// to the client is thrown away, and the client gets ECONNRESET, as when the
// machine was restarted or a middlebox forgot the connection. All calls on the
// connection end with it.
func (i *Injector) reset(ctx context.Context) {
	found, ok := i.conns.Load(connOf(ctx))
	if !ok { // it is gone already
		return
	}
	conn, ok := found.(*notedConn)
	if !ok { // nothing else is stored
		return
	}
	if tcp, ok := conn.Conn.(interface{ SetLinger(seconds int) error }); ok {
		_ = tcp.SetLinger(0) // 0 has Close send a RST; it fails on a closed one only
	}
	_ = conn.Close()
}

// connOf is the key of the connection that the call came on.
func connOf(ctx context.Context) string {
	p, ok := peer.FromContext(ctx)
	if !ok || p.Addr == nil || p.LocalAddr == nil {
		return ""
	}
	if _, overTCP := p.Addr.(*net.TCPAddr); overTCP {
		return connKey(p.Addr.String(), p.LocalAddr.String())
	}
	if told := metadata.ValueFromIncomingContext(ctx, connMetadata); len(told) == 1 {
		return told[0]
	}
	return ""
}

// tellConnection is the metadata of a call for an HTTP request.
func tellConnection(_ context.Context, r *http.Request) metadata.MD {
	local, ok := r.Context().Value(http.LocalAddrContextKey).(net.Addr)
	if !ok {
		return nil
	}
	return metadata.Pairs(connMetadata, connKey(r.RemoteAddr, local.String()))
}
