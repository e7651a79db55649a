package pgtest

import (
	"context"
	"errors"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/stretchr/testify/require"
)

func sqlState(err error) string {
	var pg *pgconn.PgError
	if !errors.As(err, &pg) {
		return ""
	}
	return pg.Code
}

func TestWhatIsCommittedSurvivesTheDeathOfTheServer(t *testing.T) {
	t.Parallel()
	server := Dedicated(t)
	db := server.Database(migrateThings, "things")
	_, err := db.Pool.Exec(t.Context(), "INSERT INTO things VALUES (1)")
	require.NoError(t, err)

	server.Kill()
	_, err = pgx.Connect(t.Context(), db.URL)
	require.Error(t, err)

	server.Start()
	conn, err := pgx.Connect(t.Context(), db.URL)
	require.NoError(t, err)
	defer func() { _ = conn.Close(t.Context()) }()
	var count int
	require.NoError(t, conn.QueryRow(t.Context(), "SELECT count(*) FROM things").Scan(&count))
	require.Equal(t, 1, count)
}

func TestAFullDiskRefusesNewPagesUntilItIsFreed(t *testing.T) {
	t.Parallel()
	server := Dedicated(t, WithSmallDisk())
	expectDiskFull(t, server, server.Database(migrateThings, "things"))
}

func TestWithoutRootATriggerStandsInForAFullDisk(t *testing.T) {
	t.Parallel()
	server := Dedicated(t)
	server.disk = &smallDisk{host: server.host}
	expectDiskFull(t, server, server.Database(migrateThings, "things"))
}

func expectDiskFull(t *testing.T, server *Server, db *Database) {
	t.Helper()
	const insert = "INSERT INTO things SELECT max(id) + 1 + g FROM (SELECT coalesce(max(id), 0) AS id FROM things) t, generate_series(1, 5000) g GROUP BY g"
	_, err := db.Pool.Exec(t.Context(), insert)
	require.NoError(t, err)

	server.FillDisk()
	_, err = db.Pool.Exec(t.Context(), insert)
	require.Equal(t, "53100", sqlState(err), "%v", err)

	server.FreeDisk()
	_, err = db.Pool.Exec(t.Context(), insert)
	require.NoError(t, err)
}

func TestFewConnectionsRunOut(t *testing.T) {
	t.Parallel()
	server := Dedicated(t, WithMaxConnections(3))
	for {
		conn, err := pgx.Connect(t.Context(), server.URL+"&dbname=postgres")
		if err != nil {
			require.Equal(t, "53300", sqlState(err), "%v", err)
			return
		}
		t.Cleanup(func() { _ = conn.Close(context.Background()) })
	}
}
