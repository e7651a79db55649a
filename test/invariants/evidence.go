package invariants

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// evidence is everything there is to look at.
type evidence struct {
	now        time.Time
	bound      time.Duration
	orders     []order
	payments   []payment
	entries    []entry
	operations []operation
	undecided  []undecidedKey
	attempts   []Attempt
}

// order is a row of orders' table.
type order struct {
	ID           uuid.UUID
	Tenant       string
	State        string
	Currency     string
	Total        int64
	PaymentID    *uuid.UUID
	ShippingNote string
	UpdateTime   time.Time
}

// payment is a row of payments' table. Its reference is an order's id.
type payment struct {
	ID         uuid.UUID
	Tenant     string
	Reference  string
	State      string
	Currency   string
	Amount     int64
	Captured   int64
	Refunded   int64
	Open       bool // an operation on it has no known outcome
	UpdateTime time.Time
}

// entry is a row of payments' ledger.
type entry struct {
	Payment       uuid.UUID
	Kind          string
	Debit, Credit string
	Amount        int64
	Currency      string
}

// operation is a line of the processor's ledger. Its reference is a payment's
// id.
type operation struct {
	Sequence  uint64 `json:"sequence"`
	Key       string `json:"key"`
	Kind      string `json:"kind"`
	Charge    string `json:"charge"`
	Reference string `json:"reference"`
	Amount    int64  `json:"amount"`
	Currency  string `json:"currency"`
	Status    string `json:"status"`
}

// undecidedKey is an idempotency key whose effect is not final.
type undecidedKey struct {
	Service    string
	Key        string
	Tenant     string
	Method     string
	Resource   *uuid.UUID
	CreateTime time.Time
}

const selectOrders = `
SELECT id, tenant, state, currency, total, payment_id, shipping_note, update_time
FROM orders`

const selectPayments = `
SELECT id, tenant, reference, state, currency, amount, captured, refunded,
       state = 'processing' OR open_operation IS NOT NULL AS open, update_time
FROM payments`

const selectEntries = `
SELECT payment_id AS payment, kind, debit, credit, amount, currency
FROM ledger_entries
ORDER BY create_time, payment_id`

const selectUndecided = `
SELECT $1::text AS service, key::text, tenant, method, resource, create_time
FROM idempotency_keys
WHERE NOT decided
UNION ALL
SELECT $1::text, key, tenant, method, resource, create_time
FROM idempotency_opaque_keys
WHERE NOT decided`

// collect reads all evidence. The processor is read first and the orders last,
// so that what an order says was already done at the processor when that was
// read: on a system that is not quite quiet, the other way round would accuse
// it.
func collect(ctx context.Context, s Sources) (*evidence, error) {
	e := &evidence{bound: s.Bound, attempts: s.History}
	if e.bound == 0 {
		e.bound = DefaultBound
	}
	var err error
	if e.operations, err = processorLedger(ctx, s.SandboxURL); err != nil {
		return nil, fmt.Errorf("read the processor's ledger: %w", err)
	}
	if e.payments, err = query[payment](ctx, s.Payments, selectPayments); err != nil {
		return nil, fmt.Errorf("read payments: %w", err)
	}
	if e.entries, err = query[entry](ctx, s.Payments, selectEntries); err != nil {
		return nil, fmt.Errorf("read the ledger: %w", err)
	}
	if e.orders, err = query[order](ctx, s.Orders, selectOrders); err != nil {
		return nil, fmt.Errorf("read orders: %w", err)
	}
	for service, pool := range map[string]*pgxpool.Pool{"orders": s.Orders, "payments": s.Payments} {
		keys, err := query[undecidedKey](ctx, pool, selectUndecided, service)
		if err != nil {
			return nil, fmt.Errorf("read the undecided keys of %s: %w", service, err)
		}
		e.undecided = append(e.undecided, keys...)
	}
	// The database's clock: rows carry its times.
	if err := s.Orders.QueryRow(ctx, "SELECT clock_timestamp()").Scan(&e.now); err != nil {
		return nil, fmt.Errorf("read the clock: %w", err)
	}
	return e, nil
}

func query[T any](ctx context.Context, pool *pgxpool.Pool, sql string, args ...any) ([]T, error) {
	rows, err := pool.Query(ctx, sql, args...)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowToStructByNameLax[T])
}

func processorLedger(ctx context.Context, url string) ([]operation, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url+"/v1/ledger", http.NoBody)
	if err != nil {
		return nil, err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("the processor answered %s", response.Status)
	}
	var ledger struct {
		Operations []operation `json:"operations"`
	}
	if err := json.NewDecoder(response.Body).Decode(&ledger); err != nil {
		return nil, err
	}
	return ledger.Operations, nil
}
