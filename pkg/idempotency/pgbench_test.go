package idempotency_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/holdfast-dev/holdfast/pkg/postgres/embedded"
)

// pgbench runs the statements of the store from PostgreSQL's own load generator
// (https://www.postgresql.org/docs/current/pgbench.html), in a pipeline as the
// store sends them: what is left of its speed in Go is what a Go client can
// reach at all.
type pgbench struct {
	path, script, url string
	rates             []float64 // of each round
}

// newPgbench returns nil where pgbench is not installed.
func newPgbench(b *testing.B, d *database) *pgbench {
	b.Helper()
	path, err := findPgbench(b.Context())
	if err != nil {
		b.Logf("left out: %v", err)
		return nil
	}
	claim, find := insertEffect.SQL()
	script := filepath.Join(b.TempDir(), "write.sql")
	content := strings.Join([]string{
		`\set r random(0, 281474976710655)`,
		`\set lock random(1, 9223372036854775806)`,
		`\startpipeline`,
		oneLine(withValues(claim, claimValues)) + ";",
		oneLine(withValues(find, []string{benchKey, "'" + tenant + "'", "'00000000-0000-0000-0000-000000000000'::uuid"})) + ";",
		`\endpipeline`,
	}, "\n")
	require.NoError(b, os.WriteFile(script, []byte(content), 0o600))
	return &pgbench{path: path, script: script, url: d.url}
}

func findPgbench(ctx context.Context) (string, error) {
	for _, binaries := range embedded.FindBinaries(ctx) {
		if path, err := exec.LookPath(filepath.Join(binaries.Dir, "pgbench")); err == nil {
			return path, nil
		}
	}
	return exec.LookPath("pgbench")
}

// benchKey is a UUIDv7 minted when pgbench was started, with a random end. Both
// parts are pgbench's variables: the statements see parameters, as from Go.
const benchKey = `(lpad(to_hex(:ms::bigint), 12, '0') || '70008000' || lpad(to_hex(:r::bigint), 12, '0'))`

// claimValues stand for the parameters of the claim, in order.
var claimValues = []string{
	":lock", benchKey + "::uuid", "gen_random_uuid()", "NULL::uuid", "NULL::interval", "1::smallint", "1::smallint", "TRUE",
	"'" + tenant + "'", "'" + method + "'", fmt.Sprintf(`'\x%x'::bytea`, fingerprintBytes), fmt.Sprintf(`'\x%x'::bytea`, answerBytes),
	"now()", "'24 hours'", "'5 minutes'", benchKey + "::uuid", "100::bigint",
}

var parameter = regexp.MustCompile(`\$(\d+)`)

// withValues puts expressions in the place of parameters.
func withValues(sql string, values []string) string {
	return parameter.ReplaceAllStringFunc(sql, func(p string) string {
		n, _ := strconv.Atoi(p[1:]) // digits, says the expression
		return values[n-1]
	})
}

func oneLine(sql string) string { return strings.Join(strings.Fields(sql), " ") }

var transactionsPerSecond = regexp.MustCompile(`tps = ([\d.]+) `)

// run lets pgbench have its turn, which is a second at least.
func (p *pgbench) run(b *testing.B, clients int) {
	b.Helper()
	output, err := exec.CommandContext(b.Context(), p.path, "--no-vacuum", "--protocol=prepared", "--time=1",
		"--client="+strconv.Itoa(clients), "--jobs=2", "--file="+p.script,
		"--define=ms="+strconv.FormatInt(time.Now().UnixMilli(), 10), p.url).CombinedOutput()
	require.NoError(b, err, string(output))
	found := transactionsPerSecond.FindSubmatch(output)
	require.Len(b, found, 2, string(output))
	rate, err := strconv.ParseFloat(string(found[1]), 64)
	require.NoError(b, err)
	p.rates = append(p.rates, rate)
}
