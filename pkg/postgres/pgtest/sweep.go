package pgtest

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// sweep drops what killed runs and older test binaries left on a server that
// outlives them.
func (h *host) sweep(ctx context.Context) error {
	return h.do(ctx, func(conn *pgx.Conn) error {
		rows, err := conn.Query(ctx, `
			SELECT d.datname
			FROM pg_database d
			JOIN pg_shdescription c ON c.objoid = d.oid AND c.classoid = 'pg_database'::regclass
			WHERE d.datname LIKE 'pgtest\_%'
			  AND c.description::timestamptz < now() - CASE
			        WHEN d.datname LIKE 'pgtest\_template\_%' THEN interval '24 hours' ELSE interval '2 hours' END
			  AND NOT EXISTS (SELECT FROM pg_stat_activity a WHERE a.datid = d.oid)`)
		if err != nil {
			return err
		}
		old, err := pgx.CollectRows(rows, pgx.RowTo[string])
		if err != nil {
			return err
		}
		for _, name := range old {
			_, err := conn.Exec(ctx, "DROP DATABASE IF EXISTS "+quote(name))
			var inUse *pgconn.PgError
			if err != nil && (!errors.As(err, &inUse) || inUse.Code != "55006") {
				return err
			}
		}
		return nil
	})
}

// stamp notes when a database was made, for sweep.
func stamp(ctx context.Context, conn *pgx.Conn, database string) error {
	_, err := conn.Exec(ctx, fmt.Sprintf("COMMENT ON DATABASE %s IS '%s'", quote(database), time.Now().UTC().Format(time.RFC3339)))
	return err
}
