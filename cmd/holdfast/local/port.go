package local

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
	"sync/atomic"
	"syscall"
)

// Listen listens on the loopback port, or on the next free one of the ten after
// it if it is taken. Port 0 is any free one.
func Listen(ctx context.Context, port int) (net.Listener, error) {
	for candidate := port; candidate <= port+10; candidate++ {
		listener, err := listenOn(ctx, candidate)
		if err == nil {
			return listener, nil
		}
		if !errors.Is(err, syscall.EADDRINUSE) {
			return nil, fmt.Errorf("listen on port %d: %w", candidate, err)
		}
	}
	return nil, fmt.Errorf("ports %d to %d are all taken: stop what uses them, or choose another with --port", port, port+10)
}

func listenOn(ctx context.Context, port int) (net.Listener, error) {
	var config net.ListenConfig
	return config.Listen(ctx, "tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
}

// ports are the numbers of [Addresses].
type ports struct {
	grpc, http, probe, admin int
}

// preferred are ports that a person may remember.
var preferred = map[string]ports{
	Orders:     {grpc: 9091, http: 8181, probe: 8281, admin: 8381},
	Payments:   {grpc: 9092, http: 8182, probe: 8282, admin: 8382},
	Sandbox:    {grpc: 9093, http: 8183, probe: 8283, admin: 8383},
	LLMGateway: {grpc: 9094, http: 8184, probe: 8284, admin: 8384},
}

// PreferredAddresses are the services' remembered ports, each replaced by the
// next free one if it is taken.
func PreferredAddresses(ctx context.Context, services ...string) (map[string]Addresses, error) {
	var held listeners
	defer held.close()
	found := map[string]Addresses{}
	for _, service := range services {
		p := preferred[service]
		on := func(port int) string {
			return held.add(func() (net.Listener, error) { return Listen(ctx, port) })
		}
		found[service] = Addresses{GRPC: on(p.grpc), HTTP: on(p.http), Probe: on(p.probe), Admin: on(p.admin)}
		if held.err != nil {
			return nil, fmt.Errorf("%s: %w", service, held.err)
		}
	}
	return found, nil
}

// FreeAddresses are any free ports.
func FreeAddresses(ctx context.Context) (Addresses, error) {
	var held listeners
	defer held.close()
	free := func() string { return held.add(func() (net.Listener, error) { return listenFree(ctx) }) }
	found := Addresses{GRPC: free(), HTTP: free(), Probe: free(), Admin: free()}
	return found, held.err
}

// listeners holds all ports until all are found, so that no two are the same,
// and then frees them for the processes. Somebody else may take one in between;
// the process then says so and ends.
type listeners struct {
	held []net.Listener
	err  error // the first one
}

func (l *listeners) add(listen func() (net.Listener, error)) string {
	if l.err != nil {
		return ""
	}
	listener, err := listen()
	if err != nil {
		l.err = err
		return ""
	}
	l.held = append(l.held, listener)
	return listener.Addr().String()
}

func (l *listeners) close() {
	for _, listener := range l.held {
		listener.Close()
	}
}

// Free ports are taken from below the range that systems give to outgoing
// connections: such a connection would otherwise take a port away between the
// moment it was found free and the moment its process listens there. Each is
// given once, and the first is drawn, so that neighbours seldom meet.
const (
	lowestFree = 20_000
	freePorts  = 10_000
)

var nextFree = func() *atomic.Uint32 {
	var n atomic.Uint32
	n.Store(rand.Uint32N(freePorts)) // not a secret
	return &n
}()

func listenFree(ctx context.Context) (net.Listener, error) {
	for range freePorts {
		listener, err := listenOn(ctx, lowestFree+int(nextFree.Add(1)%freePorts))
		if err == nil || !errors.Is(err, syscall.EADDRINUSE) {
			return listener, err
		}
	}
	return nil, errors.New("no port is free on this machine")
}
