package orders

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/holdfast-dev/holdfast/pkg/idempotency"
	"github.com/holdfast-dev/holdfast/pkg/money"
)

// store reads and writes products and orders. Every query on orders carries the
// tenant. Writes that belong to an idempotency key are handed to the key's
// transaction as statements; the store opens none of its own.
type store struct{ pool *pgxpool.Pool }

// errOvertaken says that an order changed between reading and writing it.
var errOvertaken = errors.New("the order was changed by somebody else meanwhile")

const selectProducts = `
SELECT id, name, currency, price
FROM products
WHERE id = ANY ($1)`

// products returns those of the products that the catalogue has, by id.
func (s *store) products(ctx context.Context, ids []string) (map[string]Product, error) {
	rows, err := s.pool.Query(ctx, selectProducts, ids)
	found, err := collect(rows, err, scanProduct)
	if err != nil {
		return nil, fmt.Errorf("read products: %w", err)
	}
	catalogue := make(map[string]Product, len(found))
	for _, product := range found {
		catalogue[product.ID] = product
	}
	return catalogue, nil
}

const listProducts = `
SELECT id, name, currency, price
FROM products
WHERE id > $1
ORDER BY id
LIMIT $2`

// listProducts returns at most limit products, by id, from after on.
func (s *store) listProducts(ctx context.Context, after string, limit int) ([]Product, error) {
	rows, err := s.pool.Query(ctx, listProducts, after, limit)
	products, err := collect(rows, err, scanProduct)
	if err != nil {
		return nil, fmt.Errorf("list products: %w", err)
	}
	return products, nil
}

func scanProduct(row pgx.CollectableRow) (p Product, err error) {
	err = row.Scan(&p.ID, &p.Name, &p.Price.Currency, &p.Price.Minor)
	return p, err
}

// insertOrder writes a new order and its lines, if the key was claimed.
var insertOrder = idempotency.Compile(insertOrderSQL)

// insertOrderSQL writes the price under its old name and its new one: the
// release before this one, which serves while this one is rolled out, reads the
// old. See docs/migrations.md.
const insertOrderSQL = `
new_order AS (
    INSERT INTO orders (id, tenant, state, version, currency, total, payment_method, charge_key,
                        contact_email, shipping_note, create_time, update_time)
    SELECT $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $11
    FROM claimed
    RETURNING *
),
first_revision AS (
    INSERT INTO order_revisions (order_id, version, state, payment_id, decline_code, contact_email, shipping_note, update_time)
    SELECT id, version, state, payment_id, decline_code, contact_email, shipping_note, update_time
    FROM new_order
),
new_lines AS (
    INSERT INTO order_lines (order_id, position, product_id, quantity, unit_price, unit_price_minor)
    SELECT new_order.id, line.position, line.product_id, line.quantity, line.unit_price, line.unit_price
    FROM new_order,
         unnest($12::text[], $13::integer[], $14::bigint[])
         WITH ORDINALITY AS line (product_id, quantity, unit_price, position)
)`

// insertOrderArgs are the arguments of insertOrder.
func insertOrderArgs(o *Order) []any {
	products, quantities, prices := make([]string, len(o.lines)), make([]int32, len(o.lines)), make([]int64, len(o.lines))
	for i, line := range o.lines {
		products[i], quantities[i], prices[i] = line.ProductID, line.Quantity, line.UnitPrice.Minor
	}
	return []any{
		o.id, o.tenant, o.state, o.version, o.total.Currency, o.total.Minor, o.paymentMethod, o.chargeKey,
		o.contact.Email, o.contact.ShippingNote, o.createTime, products, quantities, prices,
	}
}

// selectOrder reads orders with their lines, which come as parallel arrays so
// that an order is one row and a list of orders is one query. A line that the
// release before wrote has its price under the old name only.
const selectOrder = `
SELECT o.id, o.tenant, o.state, o.version, o.currency, o.total, o.payment_method, o.charge_key,
       o.payment_id, o.decline_code, o.contact_email, o.shipping_note, o.edited_from,
       o.create_time, o.update_time, l.product_ids, l.quantities, l.unit_prices
FROM orders o
` + joinLines

const joinLines = `CROSS JOIN LATERAL (
    SELECT array_agg(product_id ORDER BY position) AS product_ids,
           array_agg(quantity   ORDER BY position) AS quantities,
           array_agg(coalesce(unit_price_minor, unit_price) ORDER BY position) AS unit_prices
    FROM order_lines
    WHERE order_id = o.id
) l`

const getOrder = selectOrder + `
WHERE o.tenant = $1 AND o.id = $2`

// get returns the tenant's order, or ErrNotFound.
func (s *store) get(ctx context.Context, tenant string, id uuid.UUID) (*Order, error) {
	rows, err := s.pool.Query(ctx, getOrder, tenant, id)
	found, err := collect(rows, err, scanOrder)
	switch {
	case err != nil:
		return nil, fmt.Errorf("read order: %w", err)
	case len(found) == 0:
		return nil, ErrNotFound
	default:
		return found[0], nil
	}
}

// lockOrder reads an order that the same transaction is going to change. Only
// the order is locked: its lines never change.
const lockOrder = getOrder + `
FOR UPDATE OF o`

// queueLock queues the locked read of an order into a transaction's batch. The
// order is there once the batch was sent; it stays nil if the tenant has no such
// order.
func queueLock(batch *pgx.Batch, tenant string, id uuid.UUID, into **Order) {
	*into = nil // what an earlier send of the transaction read is void
	batch.Queue(lockOrder, tenant, id).Query(func(rows pgx.Rows) error {
		found, err := collect(rows, nil, scanOrder)
		if err == nil && len(found) == 1 {
			*into = found[0]
		}
		return err
	})
}

const listOrders = selectOrder + `
WHERE o.tenant = $1 AND (o.create_time, o.id) < ($2, $3)
ORDER BY o.create_time DESC, o.id DESC
LIMIT $4`

const listOrdersInState = selectOrder + `
WHERE o.tenant = $1 AND (o.create_time, o.id) < ($2, $3) AND o.state = $5
ORDER BY o.create_time DESC, o.id DESC
LIMIT $4`

// list returns at most limit of the tenant's orders, newest first, those before
// (before, id) only. Creation times never change, so neither does the order of
// the list, and a page is not moved by what is written meanwhile. An empty state
// means all.
func (s *store) list(ctx context.Context, tenant string, state State, before time.Time, id uuid.UUID, limit int) ([]*Order, error) {
	query, args := listOrders, []any{tenant, before, id, limit}
	if state != "" {
		query, args = listOrdersInState, append(args, state)
	}
	rows, err := s.pool.Query(ctx, query, args...)
	orders, err := collect(rows, err, scanOrder)
	if err != nil {
		return nil, fmt.Errorf("list orders: %w", err)
	}
	return orders, nil
}

// updateOrder writes a change over the version that it was made from, and what it
// left for those who watch. No row means that somebody else was faster.
const updateOrder = `
WITH changed AS (
    UPDATE orders
    SET state = $4, version = $5, payment_id = $6, decline_code = $7,
        contact_email = $8, shipping_note = $9, edited_from = $10, update_time = $11
    WHERE tenant = $1 AND id = $2 AND version = $3
    RETURNING *
)
INSERT INTO order_revisions (order_id, version, state, payment_id, decline_code, contact_email, shipping_note, update_time)
SELECT id, version, state, payment_id, decline_code, contact_email, shipping_note, update_time
FROM changed`

func updateOrderArgs(o *Order) []any {
	return []any{
		o.tenant, o.id, o.version - 1, o.state, o.version, o.paymentID, o.declineCode,
		o.contact.Email, o.contact.ShippingNote, o.editedFrom, o.updateTime,
	}
}

// update writes one change of an order, or returns errOvertaken.
func (s *store) update(ctx context.Context, o *Order) error {
	tag, err := s.pool.Exec(ctx, updateOrder, updateOrderArgs(o)...)
	switch {
	case err != nil:
		return fmt.Errorf("update order: %w", err)
	case tag.RowsAffected() == 0:
		return errOvertaken
	default:
		return nil
	}
}

// queueUpdate queues one change of an order into the transaction of a key. The
// key's store undoes all of it if a write matches no row; see overtaken.
func queueUpdate(batch *pgx.Batch, o *Order) {
	batch.Queue(updateOrder, updateOrderArgs(o)...)
}

func scanOrder(row pgx.CollectableRow) (*Order, error) {
	var (
		o          Order
		products   []string
		quantities []int32
		prices     []int64
	)
	if err := row.Scan(
		&o.id, &o.tenant, &o.state, &o.version, &o.total.Currency, &o.total.Minor, &o.paymentMethod, &o.chargeKey,
		&o.paymentID, &o.declineCode, &o.contact.Email, &o.contact.ShippingNote, &o.editedFrom,
		&o.createTime, &o.updateTime, &products, &quantities, &prices,
	); err != nil {
		return nil, err
	}
	o.createTime, o.updateTime = o.createTime.UTC(), o.updateTime.UTC()
	o.lines = make([]Line, len(products))
	for i := range products {
		o.lines[i] = Line{products[i], quantities[i], money.Amount{Currency: o.total.Currency, Minor: prices[i]}}
	}
	return &o, nil
}

func collect[T any](rows pgx.Rows, err error, scan pgx.RowToFunc[T]) ([]T, error) {
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, scan)
}

// overtaken reports whether the transaction of a key was undone because the
// order had changed meanwhile.
func overtaken(err error) bool {
	database, ok := errors.AsType[*pgconn.PgError](err)
	return ok && database.Code == "HF001" // raised by idempotency_require
}
