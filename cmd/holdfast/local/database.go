package local

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/holdfast-dev/holdfast/pkg/postgres"
	"github.com/holdfast-dev/holdfast/pkg/postgres/embedded"
)

// Postgres is the database server of a platform on this machine.
type Postgres struct {
	// Source says where the server came from.
	Source string
	// Address is where it listens.
	Address string

	url    string
	server *embedded.Server // nil if it was not started here
	stop   func(ctx context.Context) error
}

// PostgresOptions say which server to use.
type PostgresOptions struct {
	// URL of a running server; if it is empty, one is started.
	URL string
	// Dir is where a started server keeps its data.
	Dir string
	// Ephemeral servers keep nothing and skip what makes data safe from a power
	// cut.
	Ephemeral bool
	// Log takes the server's own words.
	Log *slog.Logger
	// Progress is told what takes time.
	Progress func(message string)
}

// StartPostgres uses the server at the URL if there is one, else starts one.
func StartPostgres(ctx context.Context, o PostgresOptions) (*Postgres, error) {
	p := &Postgres{Source: "HOLDFAST_DATABASE_URL", url: o.URL, stop: func(context.Context) error { return nil }}
	if o.URL == "" {
		server, err := embedded.Start(ctx, embedded.Options{DataDir: o.Dir, Ephemeral: o.Ephemeral, Log: o.Log, Progress: o.Progress})
		if err != nil {
			return nil, err
		}
		p = &Postgres{Source: "started here", url: server.URL(), server: server, stop: server.Stop}
	}
	config, err := pgx.ParseConfig(p.url)
	if err != nil { // its text is not repeated: it holds a password
		return nil, errors.Join(
			errors.New("HOLDFAST_DATABASE_URL is not a connection string such as postgres://user:password@host:5432"),
			p.stop(context.WithoutCancel(ctx)))
	}
	p.Address = net.JoinHostPort(config.Host, strconv.Itoa(int(config.Port)))
	return p, nil
}

// Stop stops the server if it was started here.
func (p *Postgres) Stop(ctx context.Context) error { return p.stop(ctx) }

// errNotOurs says that a server was not started here.
var errNotOurs = errors.New("this Postgres was not started here")

// Crash stops a server that was started here at once, as a power cut would.
func (p *Postgres) Crash(ctx context.Context) error {
	if p.server == nil {
		return errNotOurs
	}
	return p.server.Crash(ctx)
}

// Resume starts it again, on the same port.
func (p *Postgres) Resume(ctx context.Context) error {
	if p.server == nil {
		return errNotOurs
	}
	return p.server.Resume(ctx)
}

// Database is the connection string of one database on the server.
func (p *Postgres) Database(name string) string { return postgres.WithDatabase(p.url, name) }

// CreateDatabases makes those of the services that are not there.
func (p *Postgres) CreateDatabases(ctx context.Context, services ...string) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	conn, err := pgx.Connect(ctx, p.Database("postgres"))
	if err != nil {
		return fmt.Errorf("no Postgres lets us in at %s: %s; mend HOLDFAST_DATABASE_URL, or unset it to have one started here", p.Address, reason(err))
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }() // nothing is pending on it
	for _, service := range services {
		name := DatabaseName(service)
		var exists bool
		if err := conn.QueryRow(ctx, "SELECT EXISTS (SELECT FROM pg_database WHERE datname = $1)", name).Scan(&exists); err != nil {
			return fmt.Errorf("look for the database %s: %w", name, err)
		}
		if exists {
			continue
		}
		_, err := conn.Exec(ctx, "CREATE DATABASE "+pgx.Identifier{name}.Sanitize())
		if pgError, ok := errors.AsType[*pgconn.PgError](err); ok && pgError.Code == "42P04" {
			continue // somebody else made it meanwhile
		}
		if err != nil {
			return fmt.Errorf("create the database %s: %w; create it yourself if this role may not", name, err)
		}
	}
	return nil
}

// reason is what the server or the network said, on one line: pgx tells of
// every address that it tried.
func reason(err error) string {
	if said, ok := errors.AsType[*pgconn.PgError](err); ok {
		return said.Message
	}
	if failed, ok := errors.AsType[*net.OpError](err); ok {
		return failed.Error()
	}
	first, _, _ := strings.Cut(err.Error(), "\n")
	return first
}
