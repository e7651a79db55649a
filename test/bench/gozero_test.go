package bench

import (
	"fmt"
	"net"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/zeromicro/go-zero/core/conf"
	"github.com/zeromicro/go-zero/core/logx"
	"github.com/zeromicro/go-zero/zrpc"
	"google.golang.org/grpc"

	ordersv1 "github.com/holdfast-dev/holdfast/proto/holdfast/orders/v1"
)

// serveGoZero runs a server of go-zero with all that its configuration turns on
// by itself: tracing, recovery, statistics, Prometheus metrics, a circuit breaker,
// load shedding by CPU, and a timeout of 2 s. Its log line for each call is off:
// ours writes none.
func serveGoZero(tb testing.TB) (address string) {
	tb.Helper()
	address, err := goZero()
	require.NoError(tb, err)
	return address
}

// goZeroYAML is a configuration file that says no more than it must, but that the
// port of its metrics is one that nobody has.
const goZeroYAML = `
Name: trivial
ListenOn: %s
DevServer:
  Host: 127.0.0.1
  Port: %d
`

// goZero is started once: its server ends with the process, and not before.
var goZero = sync.OnceValues(func() (address string, err error) {
	api, metrics, err := unusedPorts()
	if err != nil {
		return "", err
	}
	var c zrpc.RpcServerConf
	address = fmt.Sprintf("127.0.0.1:%d", api)
	if err := conf.LoadFromYamlBytes(fmt.Appendf(nil, goZeroYAML, address, metrics), &c); err != nil {
		return "", fmt.Errorf("configuration of go-zero: %w", err)
	}
	server, err := zrpc.NewServer(c, func(s *grpc.Server) { ordersv1.RegisterOrdersServiceServer(s, trivial{}) })
	if err != nil {
		return "", fmt.Errorf("server of go-zero: %w", err)
	}
	logx.Disable()
	go server.Start()
	return address, nil
})

// unusedPorts are two that nobody listens on: go-zero opens its own listeners,
// and does not tell which ports it was given.
func unusedPorts() (one, other int, err error) {
	var ports [2]int
	for i := range ports {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return 0, 0, err
		}
		defer listener.Close()
		ports[i] = listener.Addr().(*net.TCPAddr).Port
	}
	return ports[0], ports[1], nil
}
