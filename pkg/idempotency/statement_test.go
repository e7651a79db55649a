package idempotency_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/holdfast-dev/holdfast/pkg/idempotency"
)

func TestCompileShiftsParametersAndNothingElse(t *testing.T) {
	sql, _ := idempotency.Compile(`
		-- $1 in a comment
		INSERT INTO effects (id, amount) /* $1 */
		SELECT $1, length('$1 it''s' || E'\'$1' || $q$ $1 ) $q$) + "$1" + $2 FROM claimed;`).SQL()
	require.Contains(t, sql, `SELECT $16, length('$1 it''s' || E'\'$1' || $q$ $1 ) $q$) + "$1" + $17 FROM claimed`)
}

func TestCompileRefusesWhatWouldNotBeIdempotent(t *testing.T) {
	for name, sql := range map[string]string{
		"nothing":                   ``,
		"a read":                    `SELECT 1 FROM claimed`,
		"an unconditional write":    `INSERT INTO effects VALUES ($1, $2)`,
		"a second write on its own": `a AS (INSERT INTO effects SELECT $1, $2 FROM claimed), b AS (INSERT INTO parts VALUES ($1, 'x'))`,
		"the store's own names":     `claimed AS (SELECT 1), b AS (INSERT INTO effects SELECT $1, $2 FROM claimed)`,
		"an open parenthesis":       `a AS (INSERT INTO effects SELECT $1, $2 FROM claimed`,
		"no SQL":                    `effects!`,
	} {
		t.Run(name, func(t *testing.T) {
			require.Panics(t, func() { idempotency.Compile(sql) })
		})
	}
}

func TestCompileTakesAListWithOrWithoutWITH(t *testing.T) {
	for name, sql := range map[string]string{
		"one insert":           `INSERT INTO effects SELECT $1, $2 FROM claimed`,
		"a list":               `a AS (INSERT INTO effects SELECT $1, $2 FROM claimed RETURNING id), b AS (INSERT INTO parts SELECT id, 'x' FROM a)`,
		"WITH and a statement": `WITH a AS (INSERT INTO effects SELECT $1, $2 FROM claimed RETURNING id) INSERT INTO parts SELECT id, 'x' FROM a`,
		"a read in between":    `a AS NOT MATERIALIZED (SELECT 1), b (x) AS (INSERT INTO effects SELECT $1, $2 FROM claimed, a RETURNING id)`,
	} {
		t.Run(name, func(t *testing.T) {
			require.NotPanics(t, func() { idempotency.Compile(sql) })
		})
	}
}
