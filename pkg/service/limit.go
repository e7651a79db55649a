package service

import (
	"errors"
	"net"
	"sync"
)

// limitedListener holds a limited number of connections; more wait in the
// kernel's queue. It differs from netutil.LimitListener in that its connections
// keep CloseWrite, without which net/http cannot answer a request that it does
// not read to its end: the client would see a reset in place of the 431.
type limitedListener struct {
	*net.TCPListener
	slots  chan struct{}
	closed chan struct{}
	once   sync.Once
}

func limitConns(listener net.Listener, limit int) (net.Listener, error) {
	tcp, ok := listener.(*net.TCPListener)
	if !ok {
		return nil, errors.New("only TCP connections can be counted")
	}
	return &limitedListener{TCPListener: tcp, slots: make(chan struct{}, limit), closed: make(chan struct{})}, nil
}

// Accept waits until there is room, then for a connection.
func (l *limitedListener) Accept() (net.Conn, error) {
	select {
	case l.slots <- struct{}{}:
	case <-l.closed:
		return nil, net.ErrClosed
	}
	conn, err := l.AcceptTCP()
	if err != nil {
		<-l.slots
		return nil, err
	}
	return &limitedConn{TCPConn: conn, release: sync.OnceFunc(func() { <-l.slots })}, nil
}

// Close also ends an Accept that waits for room.
func (l *limitedListener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return l.TCPListener.Close()
}

type limitedConn struct {
	*net.TCPConn
	release func()
}

// Close makes room for another connection.
func (c *limitedConn) Close() error {
	defer c.release()
	return c.TCPConn.Close()
}
