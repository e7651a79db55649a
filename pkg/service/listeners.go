package service

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"syscall"
)

// Addresses are where a running service listens.
type Addresses struct{ GRPC, HTTP, Probe, Admin string }

// listen opens a port. A port that is taken is the commonest mistake there is,
// so the error says what to change.
func listen(ctx context.Context, variable, address string) (net.Listener, error) {
	var lc net.ListenConfig
	listener, err := lc.Listen(ctx, "tcp", address)
	if errors.Is(err, syscall.EADDRINUSE) {
		return nil, fmt.Errorf("%s is taken: stop what listens there, or set %s to another address", address, variable)
	}
	if err != nil {
		return nil, fmt.Errorf("listening on %s (%s): %w", address, variable, err)
	}
	return listener, nil
}

// listenPublic opens a port that holds a limited number of connections.
func listenPublic(ctx context.Context, variable, address string, limit int) (net.Listener, error) {
	listener, err := listen(ctx, variable, address)
	if err != nil {
		return nil, err
	}
	return limitConns(listener, limit)
}

// quietPort is a port for operators: probes and metrics, or admin. It opens
// first and closes last.
type quietPort struct {
	listener net.Listener
	server   *http.Server
	served   chan struct{}
}

func openQuietPort(ctx context.Context, variable, address string, handler http.Handler, log *slog.Logger) (*quietPort, error) {
	listener, err := listen(ctx, variable, address)
	if err != nil {
		return nil, err
	}
	p := &quietPort{listener: listener, server: newQuietServer(handler), served: make(chan struct{})}
	go serveHTTP(p.server, listener, p.served, log)
	return p, nil
}

// address is where the port is, with its number if that was left to the system.
func (p *quietPort) address() string { return p.listener.Addr().String() }

// close cuts off whoever is still asking.
func (p *quietPort) close() {
	_ = p.server.Close()
	<-p.served
}
