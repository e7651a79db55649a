package postgres_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/holdfast-dev/holdfast/pkg/postgres"
)

func TestWithDatabase(t *testing.T) {
	t.Parallel()
	for given, want := range map[string]string{
		"postgres://h":                                "postgres://h/orders",
		"postgres://h/":                               "postgres://h/orders",
		"postgres://u:p@h:5432/other":                 "postgres://u:p@h:5432/orders",
		"postgres://h/other?sslmode=disable":          "postgres://h/orders?sslmode=disable",
		"postgres://h?sslmode=disable":                "postgres://h/orders?sslmode=disable",
		"postgres://a:1,b:2/x?target_session_attrs=a": "postgres://a:1,b:2/orders?target_session_attrs=a",
		"host=h user=u dbname=other":                  "host=h user=u dbname=other dbname=orders",
	} {
		require.Equal(t, want, postgres.WithDatabase(given, "orders"), given)
	}
}
