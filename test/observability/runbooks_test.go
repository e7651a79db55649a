package observability

import (
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/holdfast-dev/holdfast/cmd/holdfast/local"
	"github.com/holdfast-dev/holdfast/pkg/postgres/pgtest"
)

// selects are the queries of a runbook: in a block, or in backticks.
var selects = regexp.MustCompile("(?s)(SELECT [^`;]*[^`; ])(?:;|`)")

func queries(text string) []string {
	var found []string
	for _, match := range selects.FindAllStringSubmatch(text, -1) {
		if !strings.Contains(match[1], "...") { // to be filled in by whoever reads it
			found = append(found, strings.Join(strings.Fields(match[1]), " "))
		}
	}
	return found
}

// TestTheQueriesOfRunbooksRun: nobody wants to find out at night that a column
// has another name now.
func TestTheQueriesOfRunbooksRun(t *testing.T) {
	// A query is one of orders or of llm-gateway: of whichever has its tables.
	var databases []*pgxpool.Pool
	for _, name := range []string{local.Orders, local.LLMGateway} {
		db := pgtest.New(t, nil, "runbooks")
		environment := local.Environment{
			DatabaseURL:       func(string) string { return db.URL },
			DerivationSecrets: "v1:" + strings.Repeat("0f", 32),
		}
		require.NoError(t, local.Migrate(name, environment.For(name, local.Addresses{})))
		databases = append(databases, db.Pool)
	}
	run := func(query string) error {
		var problems []error
		for _, db := range databases {
			_, err := db.Exec(t.Context(), query)
			if err == nil {
				return nil
			}
			problems = append(problems, err)
		}
		return errors.Join(problems...)
	}

	files, err := filepath.Glob("../../docs/runbooks/*.md")
	require.NoError(t, err)
	ran := 0
	for _, file := range files {
		text, err := os.ReadFile(file)
		require.NoError(t, err)
		for _, query := range queries(string(text)) {
			require.NoError(t, run(query), "%s: %s", filepath.Base(file), query)
			ran++
		}
	}
	require.Greater(t, ran, 5, "the queries are not found")

	// The control: what was renamed is noticed.
	renamed := queries("```sql\nSELECT methode\nFROM idempotency_keys;\n```")
	require.Equal(t, []string{"SELECT methode FROM idempotency_keys"}, renamed)
	require.ErrorContains(t, run(renamed[0]), "methode")
}
