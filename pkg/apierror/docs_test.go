package apierror

import (
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/codes"
)

var update = flag.Bool("update", false, "write docs/errors.md")

// TestDocsListEveryReason holds docs/errors.md to the table. `make generate`
// runs it with -update.
func TestDocsListEveryReason(t *testing.T) {
	const file = "../../docs/errors.md"
	if *update {
		require.NoError(t, os.WriteFile(file, []byte(document()), 0o644))
	}
	written, err := os.ReadFile(file)
	require.NoError(t, err)
	require.Equal(t, document(), string(written), "docs/errors.md is stale: run make generate")
}

func document() string {
	var b strings.Builder
	b.WriteString(`# Errors

<!-- Generated from pkg/apierror/reasons.go by make generate. -->

Every error has a reason. Over gRPC it is in the status's ` + "`google.rpc.ErrorInfo`" + ` (domain ` + "`" + Domain + "`" + `), over HTTP in the
` + "`reason`" + ` of an ` + "`application/problem+json`" + ` body (RFC 9457). Switch on the reason: texts may change.

` + "`retry`" + ` says what to do next:

- ` + "`same_key`" + `: send the same request again, with the same idempotency key, after the time that ` + "`RetryInfo`" + ` or ` + "`Retry-After`" + `
  names if there is one.
- ` + "`new_key`" + `: this request will not succeed under this key; a corrected request, or a new attempt, needs a new one.
- ` + "`never`" + `: the same request will fail again.

| reason | gRPC | HTTP | retry | when |
| --- | --- | --- | --- | --- |
`)
	for _, k := range kinds {
		fmt.Fprintf(&b, "| `%s` | %s | %d | `%s` | %s |\n", k.reason, codeName(k.code), k.http, k.retry, k.doc)
	}
	return b.String()
}

// codeName is a code as the gRPC documentation spells it.
func codeName(code codes.Code) string {
	var b strings.Builder
	for i, r := range code.String() {
		if i > 0 && r >= 'A' && r <= 'Z' {
			b.WriteByte('_')
		}
		b.WriteRune(r)
	}
	if code == codes.Canceled {
		return "CANCELLED"
	}
	return strings.ToUpper(b.String())
}

// TestTheTableHasEveryReasonOnce compares the constants in the source with the
// table: a constant that is not in it would be answered as INTERNAL.
func TestTheTableHasEveryReasonOnce(t *testing.T) {
	file, err := parser.ParseFile(token.NewFileSet(), "reasons.go", nil, 0)
	require.NoError(t, err)
	var constants []Reason
	ast.Inspect(file, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok || len(spec.Values) != 1 || !strings.HasPrefix(spec.Names[0].Name, "Reason") {
			return true
		}
		text, err := strconv.Unquote(spec.Values[0].(*ast.BasicLit).Value)
		require.NoError(t, err)
		constants = append(constants, Reason(text))
		return true
	})
	var rows []Reason
	for _, k := range kinds {
		rows = append(rows, k.reason)
	}
	require.NotEmpty(t, constants)
	require.ElementsMatch(t, constants, rows)
	require.Len(t, kindOf, len(rows), "a reason appears twice")
}

func TestTheTableIsSound(t *testing.T) {
	for _, k := range kinds {
		require.NotEqual(t, codes.OK, k.code, k.reason)
		require.GreaterOrEqual(t, k.http, 400, k.reason)
		require.Contains(t, []Retry{RetrySameKey, RetryNewKey, RetryNever}, k.retry, k.reason)
		require.NotEmpty(t, k.doc, k.reason)
		require.Regexp(t, `^[A-Z]+(_[A-Z]+)*$`, string(k.reason))
		// Clients and proxies retry UNAVAILABLE by themselves.
		if k.code == codes.Unavailable {
			require.Equal(t, RetrySameKey, k.retry, k.reason)
		}
	}
}
