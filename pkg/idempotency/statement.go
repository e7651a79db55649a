package idempotency

import (
	"fmt"
	"strings"
	"sync"
)

// Statement is the business half of an idempotent insert, joined with the
// store's half when the program starts: nothing is assembled at run time.
type Statement struct {
	timed  string // for UUIDv7 keys
	opaque string
	bare   string // without any key
}

// Compile prepares the business half of an idempotent insert: one INSERT, or
// several as CTEs, that take their rows FROM claimed. The relation claimed has
// one row when this request is the first with its key, and none otherwise.
// Parameters are numbered from $1.
//
//	Compile(`INSERT INTO payments (id, amount) SELECT $1, $2 FROM claimed`)
//
//	Compile(`o AS (INSERT INTO orders (id) SELECT $1 FROM claimed RETURNING id),
//	         l AS (INSERT INTO lines (order_id, product) SELECT o.id, p FROM o, unnest($2::text[]) p)`)
//
// Each of them must write at least one row; one that does not makes the whole
// statement fail, or the key would be stored with an answer that tells of a
// write that did not happen. Use [Store.Modify] for what depends on rows.
//
// Like regexp.MustCompile it panics on what it cannot read: statements are
// package variables.
func Compile(sql string) Statement {
	timed, err := joinStatement(timedKeys, sql)
	if err != nil {
		panic(fmt.Sprintf("idempotency.Compile: %v in:\n%s", err, sql))
	}
	opaque, err := joinStatement(opaqueKeys, sql)
	if err != nil {
		panic(fmt.Sprintf("idempotency.Compile: %v in:\n%s", err, sql))
	}
	return Statement{timed: timed, opaque: opaque, bare: bareStatement(sql)}
}

func (st Statement) in(t *table) string {
	if t == timedKeys {
		return st.timed
	}
	return st.opaque
}

// joinStatement puts the business parts between the claim and the verdict.
func joinStatement(t *table, sql string) (string, error) {
	parts, err := parseParts(shiftParameters(sql, t.claimParameters))
	if err != nil {
		return "", err
	}
	var ctes strings.Builder
	written := []string{"claimed"}
	for _, p := range parts {
		if p.name == "" {
			p.name, p.header = "written", "written AS "
		}
		if strings.EqualFold(p.name, "gate") || strings.EqualFold(p.name, "claimed") {
			return "", fmt.Errorf("the name %s is the store's", p.name)
		}
		body := p.body
		if p.modifies() {
			if !p.mentions(written...) {
				return "", fmt.Errorf("%s does not take its rows FROM claimed, so a repeat would write again", p.name)
			}
			body = p.returning()
			written = append(written, p.name)
		}
		fmt.Fprintf(&ctes, ",\n%s(\n%s\n)", p.header, body)
	}
	if len(written) == 1 {
		return "", fmt.Errorf("it writes nothing")
	}
	return fmt.Sprintf(t.claim, ctes.String(), allWritten(written[1:])), nil
}

// allWritten is a condition: each of the CTEs wrote a row.
func allWritten(names []string) string {
	conditions := make([]string, len(names))
	for i, n := range names {
		conditions[i] = "EXISTS (SELECT FROM " + n + ")"
	}
	return strings.Join(conditions, " AND ")
}

// mayMatchNothing marks a write that the guard leaves alone.
const mayMatchNothing = "/* may match nothing */ "

// MayMatchNothing marks a write of a [Modification] or of [Attempt.Complete]
// that is right even when it changes no row, such as an INSERT … ON CONFLICT DO
// NOTHING. Every other write must change one.
func MayMatchNothing(sql string) string { return mayMatchNothing + sql }

var guarded sync.Map // of SQL to guarded SQL or error

// guard rewrites a write so that it raises when it, or a CTE in it, changed no
// row. Reads are left as they are.
func guard(sql string) (string, error) {
	if g, ok := guarded.Load(sql); ok {
		if err, bad := g.(error); bad {
			return "", err
		}
		return g.(string), nil
	}
	g, err := addGuard(sql)
	if err != nil {
		guarded.Store(sql, err)
		return "", err
	}
	guarded.Store(sql, g)
	return g, nil
}

func addGuard(sql string) (string, error) {
	tokens := tokenize(sql)
	if len(tokens) > 0 && tokens[0].is("BEGIN", "START", "COMMIT", "END", "ROLLBACK", "ABORT", "SAVEPOINT", "RELEASE", "PREPARE") {
		return "", fmt.Errorf("%s does not belong in a batch of the store, which owns the transaction", strings.ToUpper(tokens[0].text))
	}
	if strings.HasPrefix(sql, mayMatchNothing) || len(tokens) == 0 ||
		!tokens[0].is("WITH", "INSERT", "UPDATE", "DELETE", "MERGE") {
		return sql, nil
	}
	parts, err := parseParts(sql)
	if err != nil {
		return "", fmt.Errorf("reading a queued write: %w", err)
	}
	var ctes strings.Builder
	var written []string
	for _, p := range parts {
		if p.name == "" {
			p.name, p.header = "result", "result AS "
		}
		body := p.body
		if p.modifies() {
			body = p.returning()
			written = append(written, p.name)
		}
		fmt.Fprintf(&ctes, "%s(\n%s\n),\n", p.header, body)
	}
	if len(written) == 0 {
		return sql, nil
	}
	// The left join makes Postgres evaluate the check even when there is no
	// result to join.
	return fmt.Sprintf(`WITH %schecked AS MATERIALIZED (
    SELECT CASE WHEN %s THEN TRUE ELSE idempotency_require(FALSE, 'a write matched no row') END AS ok
)
SELECT result.* FROM checked LEFT JOIN result ON checked.ok`, ctes.String(), allWritten(written)), nil
}
