package postgres_test

import (
	"context"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/holdfast-dev/holdfast/pkg/postgres"
	"github.com/holdfast-dev/holdfast/pkg/postgres/pgtest"
)

func TestAPoolIsPinnedToReadCommittedAndBounded(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t, nil, "open")
	pool := open(t, db.URL)
	for setting, want := range map[string]string{
		"transaction_isolation":               "read committed",
		"application_name":                    "test",
		"statement_timeout":                   "30s",
		"lock_timeout":                        "5s",
		"idle_in_transaction_session_timeout": "30s",
	} {
		var got string
		require.NoError(t, pool.QueryRow(t.Context(), "SELECT current_setting($1)", setting).Scan(&got))
		require.Equal(t, want, got, setting)
	}
}

func TestAnAddressWithoutADatabaseMeansTheServicesOwn(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t, nil, "own")
	server := strings.Replace(db.URL, "/"+db.Name, "/", 1)
	pool, err := postgres.Open(t.Context(), postgres.Config{URL: server}, db.Name, quiet)
	require.NoError(t, err)
	defer pool.Close()
	var got string
	require.NoError(t, pool.QueryRow(t.Context(), "SELECT current_database()").Scan(&got))
	require.Equal(t, db.Name, got)
}

func TestOpenWithoutAnAddressNamesTheVariable(t *testing.T) {
	t.Parallel()
	_, err := postgres.Open(t.Context(), postgres.Config{}, "orders", quiet)
	require.ErrorContains(t, err, "HOLDFAST_DATABASE_URL")
}

func TestOpenWaitsForAServerAndSaysSo(t *testing.T) {
	t.Parallel()
	server := pgtest.Dedicated(t)
	db := server.Database(nil, "late")
	server.Stop()
	var log logbook
	go func() {
		for !strings.Contains(log.String(), "waiting for Postgres") {
			time.Sleep(5 * time.Millisecond)
		}
		server.Start()
	}()
	pool, err := postgres.Open(t.Context(), postgres.Config{URL: db.URL}, "orders", log.logger())
	require.NoError(t, err)
	pool.Close()
	require.Contains(t, log.String(), "connection refused")
	require.Contains(t, log.String(), "Postgres answers")
}

func TestOpenGivesUpAfterTheBoundWithOneError(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	address := listener.Addr().String()
	require.NoError(t, listener.Close())

	start := time.Now()
	_, err = postgres.Open(t.Context(), postgres.Config{
		URL: "postgres://me:hunter2@" + address + "/orders?sslmode=disable", ConnectBound: 300 * time.Millisecond,
	}, "orders", quiet)
	require.ErrorContains(t, err, "no Postgres at "+address)
	require.ErrorContains(t, err, `"orders"`)
	require.ErrorContains(t, err, "connection refused")
	require.NotContains(t, err.Error(), "\n")
	require.NotContains(t, err.Error(), "hunter2")
	require.Less(t, time.Since(start), 5*time.Second)
}

func TestOpenGivesUpOnAServerThatAcceptsAndSaysNothing(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer listener.Close()
	start := time.Now()
	_, err = postgres.Open(t.Context(), postgres.Config{
		URL: "postgres://" + listener.Addr().String() + "/orders?sslmode=disable", ConnectBound: 300 * time.Millisecond,
	}, "orders", quiet)
	require.ErrorContains(t, err, "no Postgres at")
	require.Less(t, time.Since(start), 5*time.Second)
}

func TestARefusedPasswordIsNotWaitedFor(t *testing.T) {
	t.Parallel()
	server := pgtest.Dedicated(t)
	at := strings.LastIndex(server.URL, "@")
	start := time.Now()
	_, err := postgres.Open(t.Context(), postgres.Config{URL: "postgres://holdfast:wrong" + server.URL[at:]}, "orders", quiet)
	require.ErrorContains(t, err, `refuses user "holdfast"`)
	require.Less(t, time.Since(start), 20*time.Second)
}

func TestCloseDoesNotWaitForEverForAConnectionInUse(t *testing.T) {
	t.Parallel()
	pool := open(t, pgtest.New(t, nil, "close").URL)
	held, err := pool.Acquire(t.Context())
	require.NoError(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	require.ErrorContains(t, postgres.Close(ctx, pool), "1 connections still in use")
	held.Release()
	require.NoError(t, postgres.Close(t.Context(), pool))
}
