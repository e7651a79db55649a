package ledger

import (
	"context"
	"errors"
	"io"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/stretchr/testify/require"

	"github.com/holdfast-dev/holdfast/pkg/postgres/pgtest"
)

func TestAWriteIsInDoubtUnlessTheServerOrNobodyHeardOfIt(t *testing.T) {
	closed, err := pgx.Connect(t.Context(), pgtest.New(t, nil, "llm_ledger_errors").URL)
	require.NoError(t, err)
	require.NoError(t, closed.Close(t.Context()))
	_, connClosed := closed.Exec(t.Context(), "SELECT 1") // pgx also calls it safe to retry
	require.ErrorIs(t, connClosed, pgconn.ErrConnClosed)
	for _, c := range []struct {
		name string
		err  error
		want bool
	}{
		{"nothing was sent", &unsent{io.EOF}, false},
		{"a parameter that cannot be encoded", &definite{errors.New("cannot encode")}, false},
		{"an answer that it did not happen", &pgconn.PgError{SeverityUnlocalized: "ERROR", Code: "57014"}, false},
		{"a server that was shut down, perhaps after it", &pgconn.PgError{SeverityUnlocalized: "FATAL", Code: "57P01"}, true},
		{"a connection that ended while the answer was read", connClosed, true},
		{"a connection that was cut", io.ErrUnexpectedEOF, true},
		{"a caller that left", context.Canceled, true},
		{"an earlier send in doubt", errors.Join(errEarlier, &unsent{io.EOF}), true},
	} {
		t.Run(c.name, func(t *testing.T) { require.Equal(t, c.want, inDoubt(c.err)) })
	}
}
