package llmgateway

import (
	"crypto/sha256"
	"net/http"
	"time"

	"github.com/google/uuid"

	"github.com/holdfast-dev/holdfast/pkg/apierror"
	"github.com/holdfast-dev/holdfast/pkg/idempotency"
	"github.com/holdfast-dev/holdfast/services/llm-gateway/ledger"
	"github.com/holdfast-dev/holdfast/services/llm-gateway/price"
	"github.com/holdfast-dev/holdfast/services/llm-gateway/routes"
	"github.com/holdfast-dev/holdfast/services/llm-gateway/wire"
)

// ask is a request on its way: who asks, for what, and what held when it came. A
// table that is replaced meanwhile is not its concern.
type ask struct {
	id     uuid.UUID
	tenant string
	wire   wire.Request
	header http.Header // of the client; nil for one that came by gRPC
	// say says it in another protocol; nil: it can be said in its own alone.
	say func(wire.Protocol) (wire.Request, error)

	key         string // Idempotency-Key; empty: none
	fingerprint []byte

	table  *routes.Table
	prices *price.Table
	route  *routes.Route
	began  time.Time
}

// idempotent gives the ask its key. What makes a repeat the same request is all
// that was asked, and how the answer is to come.
func (a *ask) idempotent(key string, said ...[]byte) error {
	if key == "" {
		return nil
	}
	if _, err := idempotency.ParseKey(key); err != nil {
		return apierror.New(apierror.ReasonKeyMalformed, err.Error())
	}
	hash := sha256.New()
	for _, part := range said {
		whole := sha256.Sum256(part) // so that no two lists of parts run together
		hash.Write(whole[:])
	}
	a.key, a.fingerprint = key, hash.Sum(nil)
	return nil
}

// budgets are those of the table that the ask draws on.
func (a *ask) budgets() []ledger.Budget {
	var found []ledger.Budget
	for _, b := range a.table.BudgetsOf(a.tenant) {
		start, end := b.Period.Bounds(a.began)
		found = append(found, ledger.Budget{
			Tenant: a.tenant, Name: b.Name, Period: string(b.Period), Start: start, End: end, Limit: b.Limit,
		})
	}
	return found
}
