package postgres

import (
	"errors"
	"fmt"
	"net"
	"strconv"
	"time"

	"github.com/exaring/otelpgx"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgconn/ctxwatch"
	"github.com/jackc/pgx/v5/pgxpool"
)

// Config is what a service may choose about its database.
type Config struct {
	URL              string        `env:"HOLDFAST_DATABASE_URL" secret:"true" doc:"PostgreSQL connection string; without a database in it, the service's own name is used"`
	MaxConns         int32         `env:"HOLDFAST_DATABASE_MAX_CONNS" envDefault:"10" doc:"connections one replica holds at most; replicas x this must stay below the server's max_connections"`
	ConnectBound     time.Duration `env:"HOLDFAST_DATABASE_CONNECT_BOUND" envDefault:"60s" doc:"how long to wait for the database at start-up before giving up"`
	ConnectTimeout   time.Duration `env:"HOLDFAST_DATABASE_CONNECT_TIMEOUT" envDefault:"5s" doc:"bound of one attempt to connect"`
	StatementTimeout time.Duration `env:"HOLDFAST_DATABASE_STATEMENT_TIMEOUT" envDefault:"30s" doc:"the server ends any statement after this; a backstop, requests have shorter deadlines"`
	LockTimeout      time.Duration `env:"HOLDFAST_DATABASE_LOCK_TIMEOUT" envDefault:"5s" doc:"the server ends any statement that waits this long for a lock"`
	IdleTxTimeout    time.Duration `env:"HOLDFAST_DATABASE_IDLE_TX_TIMEOUT" envDefault:"30s" doc:"the server ends a transaction that is idle this long, so that a stuck replica cannot hold locks"`
}

// withDefaults fills what a Config written in Go leaves out, with the same
// values as the environment's defaults.
func (c Config) withDefaults() Config {
	fill := func(d *time.Duration, value time.Duration) {
		if *d == 0 {
			*d = value
		}
	}
	fill(&c.ConnectBound, time.Minute)
	fill(&c.ConnectTimeout, 5*time.Second)
	fill(&c.StatementTimeout, 30*time.Second)
	fill(&c.LockTimeout, 5*time.Second)
	fill(&c.IdleTxTimeout, 30*time.Second)
	if c.MaxConns == 0 {
		c.MaxConns = 10
	}
	return c
}

// poolConfig turns c into what pgx wants.
func (c Config) poolConfig(database string) (*pgxpool.Config, error) {
	if c.URL == "" {
		return nil, errors.New("no database: set HOLDFAST_DATABASE_URL")
	}
	url := c.URL
	if !namesDatabase(url) {
		url = WithDatabase(url, database)
	}
	pool, err := pgxpool.ParseConfig(url)
	if err != nil {
		return nil, fmt.Errorf("reading HOLDFAST_DATABASE_URL: %w", err)
	}
	pool.MaxConns = c.MaxConns
	// A connection gives up its server process now and then, so that replicas
	// spread over the servers after a failover. The jitter keeps them from
	// doing it at once.
	pool.MaxConnLifetime = 30 * time.Minute
	pool.MaxConnLifetimeJitter = 5 * time.Minute
	pool.MaxConnIdleTime = 5 * time.Minute
	pool.HealthCheckPeriod = 15 * time.Second
	pool.PingTimeout = 2 * time.Second

	conn := pool.ConnConfig
	tune(conn, c.ConnectTimeout)
	conn.Tracer = otelpgx.NewTracer()
	setDefault(conn.RuntimeParams, "application_name", database)
	setDefault(conn.RuntimeParams, "statement_timeout", millis(c.StatementTimeout))
	setDefault(conn.RuntimeParams, "lock_timeout", millis(c.LockTimeout))
	setDefault(conn.RuntimeParams, "idle_in_transaction_session_timeout", millis(c.IdleTxTimeout))
	return pool, nil
}

// tune sets what every connection of ours has, those of migrations too.
func tune(conn *pgx.ConnConfig, connectTimeout time.Duration) {
	conn.ConnectTimeout = connectTimeout
	// Pinned, not left to the server's configuration: the statements of this
	// platform are written for it, and under REPEATABLE READ two requests
	// with one idempotency key would fail with 40001 instead of waiting.
	conn.RuntimeParams["default_transaction_isolation"] = "read committed"
	// A peer that vanished without a word is noticed within half a minute.
	conn.DialFunc = (&net.Dialer{
		Timeout:         connectTimeout,
		KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: 15 * time.Second, Interval: 5 * time.Second, Count: 3},
	}).DialContext
	// When a request's deadline passes, ask the server to cancel the query and
	// keep the connection. Closing it, which is the default, makes every
	// timeout cost a new connection just when the server is slow.
	conn.BuildContextWatcherHandler = func(c *pgconn.PgConn) ctxwatch.Handler {
		return &pgconn.CancelRequestContextWatcherHandler{Conn: c, DeadlineDelay: time.Second}
	}
}

func setDefault(params map[string]string, name, value string) {
	if _, set := params[name]; !set {
		params[name] = value
	}
}

func millis(d time.Duration) string { return strconv.FormatInt(d.Milliseconds(), 10) }
