package pgtest

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/holdfast-dev/holdfast/pkg/postgres"
)

// host is a server that databases can be made on.
type host struct {
	url        string // of the maintenance database
	tablespace string // of new databases

	mu        sync.Mutex
	templates map[string]error
}

func newHost(serverURL string) *host {
	return &host{
		url:        postgres.WithDatabase(serverURL, "postgres"),
		tablespace: "pg_default",
		templates:  map[string]error{},
	}
}

// on is the same server seen from another database.
func (h *host) on(database string) *host {
	return &host{url: postgres.WithDatabase(h.url, database)}
}

// clone makes a database from the template of name and returns its name.
func (h *host) clone(ctx context.Context, migrate func(context.Context, string) error, name string) (string, error) {
	template := "template1"
	if migrate != nil {
		var err error
		if template, err = h.template(ctx, migrate, name); err != nil {
			return "", err
		}
	}
	clone := "pgtest_" + safe(name) + "_" + strings.ToLower(rand.Text()[:10])
	err := h.do(ctx, func(conn *pgx.Conn) error {
		if _, err := conn.Exec(ctx, fmt.Sprintf("CREATE DATABASE %s TEMPLATE %s TABLESPACE %s", quote(clone), quote(template), quote(h.tablespace))); err != nil {
			return err
		}
		return stamp(ctx, conn, clone)
	})
	if err != nil {
		return "", fmt.Errorf("copying template %s: %w", template, err)
	}
	return clone, nil
}

// template migrates the template of name unless it exists. Test binaries that
// share a server wait for each other on an advisory lock.
func (h *host) template(ctx context.Context, migrate func(context.Context, string) error, name string) (string, error) {
	fingerprint, err := fingerprint()
	if err != nil {
		return "", err
	}
	template := "pgtest_template_" + safe(name) + "_" + fingerprint
	h.mu.Lock()
	defer h.mu.Unlock()
	if err, known := h.templates[template]; known {
		return template, err
	}
	err = h.do(ctx, func(conn *pgx.Conn) error {
		// The lock ends with the connection.
		if _, err := conn.Exec(ctx, "SELECT pg_advisory_lock(hashtextextended($1, 0))", template); err != nil {
			return err
		}
		var exists bool
		if err := conn.QueryRow(ctx, "SELECT EXISTS (SELECT FROM pg_database WHERE datname = $1)", template).Scan(&exists); err != nil || exists {
			return err
		}
		return h.build(ctx, conn, migrate, template)
	})
	if err != nil {
		err = fmt.Errorf("migrating template %s: %w", template, err)
	}
	h.templates[template] = err
	return template, err
}

// build migrates under another name: a migration that fails or is killed
// leaves no template that looks finished.
func (h *host) build(ctx context.Context, conn *pgx.Conn, migrate func(context.Context, string) error, template string) error {
	draft := strings.Replace(template, "_template_", "_draft_", 1)
	if _, err := conn.Exec(ctx, "DROP DATABASE IF EXISTS "+quote(draft)+" WITH (FORCE)"); err != nil {
		return err
	}
	if _, err := conn.Exec(ctx, "CREATE DATABASE "+quote(draft)); err != nil {
		return err
	}
	if err := stamp(ctx, conn, draft); err != nil {
		return err
	}
	if err := migrate(ctx, postgres.WithDatabase(h.url, draft)); err != nil {
		h.drop(ctx, draft)
		return err
	}
	if err := endConnections(ctx, conn, draft); err != nil {
		return err
	}
	_, err := conn.Exec(ctx, fmt.Sprintf("ALTER DATABASE %s RENAME TO %s", quote(draft), quote(template)))
	return err
}

// endConnections waits until nobody is connected to a database: neither
// renaming nor copying works before, and a server notices late that a client
// has gone.
func endConnections(ctx context.Context, conn *pgx.Conn, database string) error {
	for {
		var connected int
		err := conn.QueryRow(ctx, `
			SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE datname = $1`, database).Scan(&connected)
		if err != nil || connected == 0 {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// drop removes a database with everybody connected to it. It is best effort:
// the server is thrown away, or the next run sweeps.
func (h *host) drop(ctx context.Context, database string) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	_ = h.do(ctx, func(conn *pgx.Conn) error {
		_, err := conn.Exec(ctx, "DROP DATABASE IF EXISTS "+quote(database)+" WITH (FORCE)")
		return err
	})
}

func (h *host) do(ctx context.Context, run func(*pgx.Conn) error) error {
	conn, err := pgx.Connect(ctx, h.url)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	return run(conn)
}

// fingerprint changes whenever a migration may have changed: it is a hash of
// this test binary, which embeds them, and of the day, because migrations may
// make partitions for the days to come.
var fingerprint = sync.OnceValues(func() (string, error) {
	path, err := os.Executable()
	if err != nil {
		return "", fmt.Errorf("finding the test binary: %w", err)
	}
	file, err := os.Open(path)
	if err != nil {
		return "", fmt.Errorf("opening the test binary: %w", err)
	}
	defer func() { _ = file.Close() }()
	hash := sha256.New()
	if _, err := io.Copy(hash, file); err != nil {
		return "", fmt.Errorf("reading the test binary: %w", err)
	}
	fmt.Fprint(hash, time.Now().UTC().Format(time.DateOnly))
	return fmt.Sprintf("%x", hash.Sum(nil)[:6]), nil
})

func quote(name string) string { return pgx.Identifier{name}.Sanitize() }

// safe makes a readable part of a database name, short enough that Postgres
// does not cut the name.
func safe(name string) string {
	kept := strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' {
			return r
		}
		return '_'
	}, strings.ToLower(name))
	return kept[:min(len(kept), 24)]
}
