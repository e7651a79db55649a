package pgtest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/jackc/pgx/v5"
)

// smallDisk is where a dedicated server keeps its databases so that a test can
// fill it up: a tablespace on a small tmpfs. Only root may mount one; others
// get a stand-in, a trigger that raises the SQLSTATE a full disk raises.
type smallDisk struct {
	host *host
	path string // of the mounted file system, empty for the stand-in
}

// ballast is the file that fills the disk.
func (d *smallDisk) ballast() string { return filepath.Join(d.path, "ballast") }

func newSmallDisk(t testing.TB, s *Server) *smallDisk {
	t.Helper()
	disk := &smallDisk{host: s.host}
	path, err := mountTmpfs(context.Background(), s.server)
	if errors.Is(err, os.ErrPermission) {
		t.Logf("pgtest: a full disk is simulated by a trigger: %v", err)
		return disk
	}
	if err != nil {
		t.Fatalf("pgtest: mounting a small disk: %v", err)
	}
	disk.path = path
	s.host.tablespace = "small"
	s.must("adding a small disk to", func(ctx context.Context) error {
		return s.host.do(ctx, func(conn *pgx.Conn) error {
			_, err := conn.Exec(ctx, fmt.Sprintf("CREATE TABLESPACE small LOCATION '%s'", filepath.Join(path, "tables")))
			return err
		})
	})
	return disk
}

func (d *smallDisk) fill(ctx context.Context) error {
	if d == nil {
		return errors.New("it was not made WithSmallDisk")
	}
	if d.path == "" {
		return d.eachTable(ctx, `
			CREATE OR REPLACE FUNCTION pgtest_disk_full() RETURNS trigger LANGUAGE plpgsql AS $$
			BEGIN
				RAISE EXCEPTION 'could not extend file: No space left on device' USING ERRCODE = 'disk_full';
			END $$`,
			`CREATE TRIGGER pgtest_disk_full BEFORE INSERT OR UPDATE ON %s EXECUTE FUNCTION pgtest_disk_full()`)
	}
	file, err := os.OpenFile(d.ballast(), os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	defer func() { _ = file.Close() }()
	_, err = io.Copy(file, zeros{})
	if !errors.Is(err, syscall.ENOSPC) {
		return fmt.Errorf("writing until the disk is full: %w", err)
	}
	return nil
}

func (d *smallDisk) free(ctx context.Context) error {
	if d == nil {
		return errors.New("it was not made WithSmallDisk")
	}
	if d.path == "" {
		return d.eachTable(ctx, "", `DROP TRIGGER pgtest_disk_full ON %s`)
	}
	// Truncated first: removing alone frees nothing while a child that another
	// test is just starting still holds the file.
	return errors.Join(os.Truncate(d.ballast(), 0), os.Remove(d.ballast()))
}

// eachTable runs first and then each, with a table's name put in, in every
// database of a test.
func (d *smallDisk) eachTable(ctx context.Context, first, each string) error {
	var databases []string
	err := d.host.do(ctx, func(conn *pgx.Conn) (err error) {
		databases, err = names(ctx, conn, `SELECT datname FROM pg_database WHERE datname LIKE 'pgtest\_%' AND datname NOT LIKE 'pgtest\_template\_%'`)
		return err
	})
	if err != nil {
		return err
	}
	for _, database := range databases {
		err := d.host.on(database).do(ctx, func(conn *pgx.Conn) error {
			tables, err := names(ctx, conn, `
				SELECT oid::regclass::text FROM pg_class
				WHERE relkind IN ('r', 'p') AND NOT relispartition
				  AND relnamespace NOT IN ('pg_catalog'::regnamespace, 'information_schema'::regnamespace)`)
			if err != nil {
				return err
			}
			if _, err := conn.Exec(ctx, first); err != nil {
				return err
			}
			for _, table := range tables {
				if _, err := conn.Exec(ctx, fmt.Sprintf(each, table)); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// names collects a column of text.
func names(ctx context.Context, conn *pgx.Conn, sql string) ([]string, error) {
	rows, err := conn.Query(ctx, sql)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowTo[string])
}

// zeros is an endless file of zeros.
type zeros struct{}

// Read fills p with zeros.
func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}
