package idempotency

import (
	"fmt"
	"strings"
)

// table is where keys of one kind live, and the SQL for it.
type table struct {
	name string
	// claim is the idempotent insert, with %s for the business CTEs and %s for
	// the condition that they wrote.
	claim           string
	claimParameters int
	find            string
	findFresh       string
	gate            string
	insert          string
	complete        string
	completeUnsafe  string
	seal            string
	release         string
	sweep           string
	backlog         string
}

var (
	timedKeys  = newTable("idempotency_keys", true)
	opaqueKeys = newTable("idempotency_opaque_keys", false)
)

func (k Key) table() *table {
	if k.v7 {
		return timedKeys
	}
	return opaqueKeys
}

// arg is the key as a parameter of its table's SQL.
func (k Key) arg() any {
	if k.v7 {
		return [16]byte(k.id)
	}
	return k.text
}

// window is the condition that a UUIDv7 key may be used for the first time, by
// the database's clock. Both ends matter: an older key may have lived in a
// partition that was dropped, and one from the future would outlive its
// retention.
const window = "$%d::timestamptz BETWEEN now() - $%d::interval AND now() + $%d::interval"

const keyColumns = `(
        key, op, resource, lease_until, fpv, secret, decided, sealed,
        tenant, method, fingerprint, response
    )`

func newTable(name string, timed bool) *table {
	t := &table{name: name, claimParameters: 12}
	opened, opened1, hidden := "TRUE", "TRUE", "$1"
	if timed {
		hidden = "format('%s', $1::text)::uuid"
		t.claimParameters = 15
		opened = fmt.Sprintf(window, 13, 14, 15)
		opened1 = fmt.Sprintf(window, 4, 5, 6)
	}

	// One statement: the gate, the key and the business rows. The lock is only
	// tried, so that a duplicate in flight is told so at once instead of holding
	// a connection until the first one commits. It ends with the transaction.
	t.claim = `WITH gate AS MATERIALIZED (
    SELECT w.open, CASE WHEN w.open THEN pg_try_advisory_xact_lock($1) ELSE FALSE END AS locked
    FROM (SELECT ` + opened + ` AS open) w
),
claimed AS (
    INSERT INTO ` + name + ` ` + keyColumns + `
    SELECT $2, $3, $4, now() + $5::interval, $6, $7, $8, FALSE, $9, $10, $11, $12
    FROM gate
    WHERE gate.locked
    ON CONFLICT DO NOTHING
    RETURNING 1
)%s
SELECT now(), gate.open, EXISTS (SELECT FROM claimed),
    CASE WHEN EXISTS (SELECT FROM claimed) AND NOT (%s)
        THEN idempotency_require(FALSE, 'a write matched no row') END
FROM gate`

	// A row of this key that another send wrote. It runs after the claim in the
	// same transaction and, under READ COMMITTED, sees what was committed while
	// the claim ran: in one statement with it, it would not.
	//
	// format hides the key from the planner: being stable and not immutable, it is
	// not evaluated before execution starts, where partitions are then pruned.
	// With the key in sight, planning for the one partition looks cheaper than any
	// generic plan, so Postgres would plan every time: 140 µs of its CPU instead
	// of 55.
	t.find = `SELECT fpv, fingerprint, op, resource, secret, sealed, create_time, response
FROM ` + name + `
WHERE key = ` + hidden + ` AND tenant = $2 AND op <> $3`

	t.findFresh = `SELECT now(), k.fpv, k.fingerprint, k.op, k.resource, k.secret, k.sealed, k.create_time, k.response
FROM (SELECT) one
LEFT JOIN ` + name + ` k ON k.key = ` + hidden + ` AND k.tenant = $2`

	// Raises unless this request is the only one at work and the first, so that
	// what follows in the batch does not run: a duplicate must not queue for the
	// row locks of the business.
	t.gate = `SELECT idempotency_require(
    CASE WHEN ` + opened1 + ` THEN pg_try_advisory_xact_lock($1) ELSE FALSE END
    AND NOT EXISTS (SELECT FROM ` + name + ` WHERE key = $2 AND tenant = $3),
    'the key is taken')`

	t.insert = `INSERT INTO ` + name + ` ` + keyColumns + `
VALUES ($1, $2, $3, now() + $4::interval, $5, $6, $7, $8, $9, $10, $11, $12)`

	// The second commit. An answer that was sealed stays. A row that another
	// owner has taken over matches nothing and raises, which rolls back the
	// business writes of the batch.
	complete := `WITH won AS (
    UPDATE ` + name + `
    SET decided = TRUE, lease_until = NULL,
        response = CASE WHEN sealed THEN response ELSE $3 END
    WHERE key = $1 AND tenant = $2 AND epoch = $4 AND NOT decided
    RETURNING response
)
SELECT (SELECT response FROM won),
    CASE WHEN NOT EXISTS (SELECT FROM won) THEN idempotency_require(FALSE, 'fenced') END`
	t.complete = complete
	t.completeUnsafe = strings.Replace(complete, "epoch = $4 AND NOT decided", "$4::bigint > 0", 1)

	// The lease ends here: whoever gave the answer has left.
	t.seal = `UPDATE ` + name + `
SET sealed = TRUE, response = $3, lease_until = now()
WHERE key = $1 AND tenant = $2 AND epoch = $4 AND NOT sealed AND NOT decided`

	t.release = `UPDATE ` + name + `
SET lease_until = now() + $3::interval
WHERE key = $1 AND tenant = $2 AND epoch = $4 AND NOT decided`

	// Takes over what nobody owns. SKIP LOCKED lets several replicas sweep at
	// once; the new epoch fences whoever had the row before.
	t.sweep = `UPDATE ` + name + ` k
SET epoch = k.epoch + 1, lease_until = now() + $1::interval
FROM (
    SELECT key, tenant
    FROM ` + name + `
    WHERE NOT decided AND lease_until <= now() AND method = ANY ($2)
    ORDER BY lease_until
    LIMIT $3
    FOR UPDATE SKIP LOCKED
) free
WHERE k.key = free.key AND k.tenant = free.tenant
RETURNING k.key, k.tenant, k.method, k.resource, k.epoch, k.secret, k.sealed, k.create_time`

	t.backlog = `SELECT count(*), coalesce(extract(epoch FROM now() - min(create_time)), 0)::float8
FROM ` + name + `
WHERE NOT decided`
	return t
}
