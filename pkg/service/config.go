package service

import (
	"errors"
	"fmt"
	"iter"
	"maps"
	"net"
	"slices"
	"time"

	"github.com/holdfast-dev/holdfast/pkg/config"
)

// Config is what every service can be told.
type Config struct {
	Environment config.Environment `env:"HOLDFAST_ENV" envDefault:"production" doc:"development or production; development adds reflection, the API page and known keys"`

	GRPCAddr  string `env:"HOLDFAST_GRPC_ADDR" envDefault:":9090" doc:"address of the gRPC API"`
	HTTPAddr  string `env:"HOLDFAST_HTTP_ADDR" envDefault:":8080" doc:"address of the HTTP API"`
	ProbeAddr string `env:"HOLDFAST_PROBE_ADDR" envDefault:":8081" doc:"address of probes and metrics"`
	AdminAddr string `env:"HOLDFAST_ADMIN_ADDR" envDefault:"127.0.0.1:8082" doc:"address of drain and pprof; loopback only"`

	Slot           string `env:"HOLDFAST_SLOT" doc:"colour of a blue/green deployment that this process belongs to; workers run while it is the active one"`
	ActiveSlotFile string `env:"HOLDFAST_ACTIVE_SLOT_FILE" doc:"file that names the active colour; read all the time"`

	LameDuck       time.Duration `env:"HOLDFAST_LAME_DUCK" envDefault:"2s" doc:"how long a draining replica still accepts, while its callers learn of it"`
	DrainCap       time.Duration `env:"HOLDFAST_DRAIN_CAP" envDefault:"20s" doc:"how long requests in flight may take to finish"`
	CutOffBefore   time.Duration `env:"HOLDFAST_CUT_OFF_BEFORE" envDefault:"2s" doc:"how long before that is over streams are told that they are about to be cut off; half of it at most"`
	StopWorkers    time.Duration `env:"HOLDFAST_STOP_WORKERS" envDefault:"5s" doc:"how long workers may take to finish or release what they have claimed"`
	ClosePool      time.Duration `env:"HOLDFAST_CLOSE_POOL" envDefault:"2s" doc:"how long closing the database pool may take"`
	FlushTelemetry time.Duration `env:"HOLDFAST_FLUSH_TELEMETRY" envDefault:"5s" doc:"how long sending the last traces may take"`

	MaxMessage        int           `env:"HOLDFAST_MAX_MESSAGE" envDefault:"1048576" doc:"largest request in bytes, gRPC and HTTP"`
	MaxHeader         int           `env:"HOLDFAST_MAX_HEADER" envDefault:"16384" doc:"largest set of request headers in bytes"`
	MaxConns          int           `env:"HOLDFAST_MAX_CONNS" envDefault:"4096" doc:"connections a public listener holds at most"`
	MaxStreams        uint32        `env:"HOLDFAST_MAX_STREAMS" envDefault:"256" doc:"calls in flight on one gRPC connection at most"`
	MaxConnAge        time.Duration `env:"HOLDFAST_MAX_CONN_AGE" envDefault:"3m" doc:"age at which a gRPC connection is asked to make way for a new one, so that load spreads over new replicas"`
	MaxConnAgeGrace   time.Duration `env:"HOLDFAST_MAX_CONN_AGE_GRACE" envDefault:"30s" doc:"how long its calls may take to finish then"`
	ReadHeaderTimeout time.Duration `env:"HOLDFAST_READ_HEADER_TIMEOUT" envDefault:"5s" doc:"how long the headers of an HTTP request may take to arrive"`
	ReadTimeout       time.Duration `env:"HOLDFAST_READ_TIMEOUT" envDefault:"10s" doc:"how long a whole HTTP request may take to arrive"`
	WriteTimeout      time.Duration `env:"HOLDFAST_WRITE_TIMEOUT" envDefault:"30s" doc:"how long an HTTP client may take to read an answer; of a stream, each piece"`
	StreamHeartbeat   time.Duration `env:"HOLDFAST_STREAM_HEARTBEAT" envDefault:"15s" doc:"how long a stream of server-sent events may be silent; shorter than proxies wait for an answer to go on"`
	IdleTimeout       time.Duration `env:"HOLDFAST_IDLE_TIMEOUT" envDefault:"75s" doc:"how long an HTTP connection may be idle; longer than that of a load balancer in front"`
}

// stopMargin is for what the parts of the drain do not count.
const stopMargin = 3 * time.Second

// stopTimeout bounds everything from the first signal to the closed pool; all
// stop hooks of fx share it. Flushing telemetry comes after it.
func (c Config) stopTimeout() time.Duration {
	return c.LameDuck + c.DrainCap + c.StopWorkers + c.ClosePool + stopMargin
}

// cutOffBefore is how long before the end of a drain what is left of it is told to
// end at once. A drain that is shorter than usual keeps half of its time for what
// may still finish.
func (c Config) cutOffBefore() time.Duration { return min(c.CutOffBefore, c.DrainCap/2) }

// patience is how long a client may take to read one piece of a stream: less than
// a drain may take, so that no reader holds one up.
func (c Config) patience() time.Duration { return min(c.WriteTimeout, c.DrainCap/2) }

// Validate reports every setting that could not work.
func (c Config) Validate() error {
	var problems []error
	check := func(ok bool, format string, args ...any) {
		if !ok {
			problems = append(problems, fmt.Errorf(format, args...))
		}
	}
	for name, address := range sorted(map[string]string{
		"HOLDFAST_GRPC_ADDR": c.GRPCAddr, "HOLDFAST_HTTP_ADDR": c.HTTPAddr,
		"HOLDFAST_PROBE_ADDR": c.ProbeAddr, "HOLDFAST_ADMIN_ADDR": c.AdminAddr,
	}) {
		_, _, err := net.SplitHostPort(address)
		check(err == nil, "%s is %q, must be host:port", name, address)
	}
	check((c.Slot == "") == (c.ActiveSlotFile == ""), "HOLDFAST_SLOT and HOLDFAST_ACTIVE_SLOT_FILE must be set together")
	check(isLoopback(c.AdminAddr), "HOLDFAST_ADMIN_ADDR is %q, must be a loopback address: it drains and profiles without asking who you are", c.AdminAddr)
	for name, d := range sorted(map[string]time.Duration{
		"HOLDFAST_DRAIN_CAP": c.DrainCap, "HOLDFAST_STOP_WORKERS": c.StopWorkers, "HOLDFAST_CLOSE_POOL": c.ClosePool,
		"HOLDFAST_FLUSH_TELEMETRY": c.FlushTelemetry, "HOLDFAST_MAX_CONN_AGE": c.MaxConnAge, "HOLDFAST_MAX_CONN_AGE_GRACE": c.MaxConnAgeGrace,
		"HOLDFAST_READ_HEADER_TIMEOUT": c.ReadHeaderTimeout, "HOLDFAST_READ_TIMEOUT": c.ReadTimeout,
		"HOLDFAST_WRITE_TIMEOUT": c.WriteTimeout, "HOLDFAST_IDLE_TIMEOUT": c.IdleTimeout,
		"HOLDFAST_STREAM_HEARTBEAT": c.StreamHeartbeat, "HOLDFAST_CUT_OFF_BEFORE": c.CutOffBefore,
	}) {
		check(d > 0, "%s is %v, must be positive", name, d)
	}
	check(c.LameDuck >= 0, "HOLDFAST_LAME_DUCK is %v, must not be negative", c.LameDuck)
	for name, n := range sorted(map[string]int{
		"HOLDFAST_MAX_MESSAGE": c.MaxMessage, "HOLDFAST_MAX_HEADER": c.MaxHeader,
		"HOLDFAST_MAX_CONNS": c.MaxConns, "HOLDFAST_MAX_STREAMS": int(c.MaxStreams),
	}) {
		check(n > 0, "%s is %d, must be positive", name, n)
	}
	return errors.Join(problems...)
}

// sorted yields a map by its keys, so that errors have an order.
func sorted[V any](m map[string]V) iter.Seq2[string, V] {
	return func(yield func(string, V) bool) {
		for _, key := range slices.Sorted(maps.Keys(m)) {
			if !yield(key, m[key]) {
				return
			}
		}
	}
}

// isLoopback reports whether only this machine reaches the address.
func isLoopback(address string) bool {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return true // reported as malformed
	}
	ip := net.ParseIP(host)
	return host == "localhost" || (ip != nil && ip.IsLoopback())
}
