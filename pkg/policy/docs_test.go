package policy_test

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/holdfast-dev/holdfast/pkg/policy"
	llmv1 "github.com/holdfast-dev/holdfast/proto/holdfast/llm/v1"
	ordersv1 "github.com/holdfast-dev/holdfast/proto/holdfast/orders/v1"
	paymentsv1 "github.com/holdfast-dev/holdfast/proto/holdfast/payments/v1"
	policyv1 "github.com/holdfast-dev/holdfast/proto/holdfast/policy/v1"
)

var update = flag.Bool("update", false, "write docs/methods.md")

// TestDocsListEveryMethod holds docs/methods.md to the protos. `make generate`
// runs it with -update.
func TestDocsListEveryMethod(t *testing.T) {
	const file = "../../docs/methods.md"
	set, err := policy.Load(
		llmv1.File_holdfast_llm_v1_llm_proto.Services().Get(0),
		ordersv1.File_holdfast_orders_v1_orders_proto.Services().Get(0),
		paymentsv1.File_holdfast_payments_v1_payments_proto.Services().Get(0),
		paymentsv1.File_holdfast_payments_v1_reconciliation_proto.Services().Get(0))
	require.NoError(t, err)
	if *update {
		require.NoError(t, os.WriteFile(file, []byte(document(set)), 0o644))
	}
	written, err := os.ReadFile(file)
	require.NoError(t, err)
	require.Equal(t, document(set), string(written), "docs/methods.md is stale: run make generate")
}

func document(set *policy.Set) string {
	var b strings.Builder
	b.WriteString(`# Methods

<!-- Generated from the protos by make generate. -->

What each RPC needs, as the option beside it in its proto says and every server and client enforces.

- **Idempotency.** ` + "`key`" + `: the request carries an ` + "`Idempotency-Key`" + `, and a repeat gets the same answer; ` + "`key, optional`" + `:
  it may. ` + "`natural`" + `: a repeat is
  harmless by itself. ` + "`read`" + `: nothing changes.
- **Timeout.** The longest a server works on one call. A client's deadline that is sooner holds.
- **Criticality.** What an overloaded server gives up first: sheddable, sheddable plus, critical, critical plus.
- **Scope.** What the API key must hold.

A method that will go says so beside its name, and in every answer
([how](guides/defensive-api-design.md#a-method-that-will-go)).
`)
	service := ""
	for _, m := range set.All() {
		owner, name, _ := strings.Cut(strings.TrimPrefix(m.FullName, "/"), "/")
		if owner != service {
			service = owner
			fmt.Fprintf(&b, "\n## %s\n\n| method | idempotency | timeout | criticality | scope | calls |\n| --- | --- | --- | --- | --- | --- |\n", owner)
		}
		fmt.Fprintf(&b, "| `%s`%s | %s | %s | %s | `%s` | %s |\n",
			name, going(m), repeats(m), timeout(m), words(m.Criticality), m.Scope, calls(m))
	}
	return b.String()
}

// going says when a method goes, if it does.
func going(m policy.Method) string {
	d := m.Deprecation
	if d == nil {
		return ""
	}
	text := " (deprecated since " + d.Since.Format(time.DateOnly)
	if !d.Sunset.IsZero() {
		text += ", gone from " + d.Sunset.Format(time.DateOnly)
	}
	if d.Link != "" {
		text += ": [instead](" + d.Link + ")"
	}
	return text + ")"
}

func repeats(m policy.Method) string {
	switch {
	case m.NeedsKey():
		return "key"
	case m.Idempotency == policyv1.Idempotency_IDEMPOTENCY_NATURAL:
		return "natural"
	case m.Idempotency == policyv1.Idempotency_IDEMPOTENCY_KEY_OPTIONAL:
		return "key, optional"
	default:
		return "read"
	}
}

func timeout(m policy.Method) string {
	if m.Streaming {
		return "none (stream)"
	}
	return m.Timeout.String()
}

func words(c policyv1.Criticality) string {
	return strings.ReplaceAll(strings.ToLower(strings.TrimPrefix(c.String(), "CRITICALITY_")), "_", " ")
}

func calls(m policy.Method) string {
	names := make([]string, 0, len(m.Calls))
	for _, call := range m.Calls {
		names = append(names, "`"+call[strings.LastIndexByte(call, '.')+1:]+"`")
	}
	return strings.Join(names, ", ")
}
