package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
)

// before is what every case starts from: two tables in use, released.
const before = `-- +goose Up
CREATE TABLE orders (id uuid PRIMARY KEY, note text NOT NULL DEFAULT '', price bigint NOT NULL);
CREATE TABLE lines (id uuid PRIMARY KEY, order_id uuid);
`

// up is a migration with these statements, and alone one outside a transaction.
func up(sql string) string    { return "-- +goose Up\n" + sql }
func alone(sql string) string { return "-- +goose NO TRANSACTION\n" + up(sql) }

// rulesBroken lints migrations 00002, 00003, … after the first one.
func rulesBroken(t *testing.T, files ...string) []string {
	t.Helper()
	fsys := fstest.MapFS{"00001_before.sql": {Data: []byte(before)}}
	names := []string{"00001_before.sql"}
	for i, content := range files {
		name := "0000" + string(rune('2'+i)) + "_next.sql"
		fsys[name] = &fstest.MapFile{Data: []byte(content)}
		names = append(names, name)
	}
	var sums strings.Builder
	for _, name := range names {
		sums.WriteString(hash(fsys[name].Data) + "  " + name + "\n")
		// One release a migration: the first goes out with v0.1.0.
		sums.WriteString("released v0." + strings.TrimLeft(name[:5], "0") + ".0\n")
	}
	fsys[sumFile] = &fstest.MapFile{Data: []byte(sums.String())}
	return lint(t, fsys)
}

func lint(t *testing.T, fsys fstest.MapFS) []string {
	t.Helper()
	findings, err := Lint(fsys)
	if err != nil {
		t.Fatal(err)
	}
	var rules []string
	for _, f := range findings {
		t.Log(f)
		if !slices.Contains(rules, f.Rule) {
			rules = append(rules, f.Rule)
		}
	}
	return rules
}

// bad are migrations that stop a release which still serves, or are missed by
// it, by the rule that refuses them.
var bad = []struct {
	rule, name string
	files      []string
}{
	{"syntax", "a typing error", []string{up("ALTER TABEL orders ADD COLUMN x text;")}},
	{"syntax", "no Up", []string{"SELECT 1;"}},
	{"syntax", "another text in every environment", []string{"-- +goose ENVSUB ON\n" + up("SELECT 1;")}},
	{"drop", "a column", []string{up("ALTER TABLE orders DROP COLUMN note;")}},
	{"drop", "a table", []string{up("DROP TABLE lines;")}},
	{"drop", "a table that may be gone", []string{up("DROP TABLE IF EXISTS lines CASCADE;")}},
	{"drop", "in a DO block", []string{up("DO $$ BEGIN ALTER TABLE orders DROP COLUMN note; END $$;")}},
	{"drop", "a function", []string{up("DROP FUNCTION price_of(uuid);")}},
	{"drop", "a constraint that may be unique", []string{up("ALTER TABLE orders DROP CONSTRAINT orders_pkey;")}},
	{"rename", "a column", []string{up("ALTER TABLE orders RENAME COLUMN note TO remark;")}},
	{"rename", "a table", []string{up("ALTER TABLE orders RENAME TO purchases;")}},
	{"rename", "a schema", []string{up("ALTER TABLE orders SET SCHEMA shop;")}},
	{"contract", "a mark nobody can read", []string{up("-- contract: nobody uses this\nALTER TABLE orders DROP COLUMN note;")}},
	{"contract", "a release that never was", []string{up("-- contract: unused since v9.0.0\nALTER TABLE orders DROP COLUMN note;")}},
	{"contract", "in the release that stopped", []string{up("SELECT 1;"), up("-- contract: unused since v0.3.0\nALTER TABLE orders DROP COLUMN note;")}},
	{"contract", "expanded and stopped in one release", []string{
		up("ALTER TABLE orders ADD COLUMN remark text;"),
		up("-- contract: unused since v0.2.0, expanded by 00002\nALTER TABLE orders DROP COLUMN note;"),
	}},
	{"contract", "expanded by a migration that is not there", []string{
		up("SELECT 1;"), up("-- contract: unused since v0.2.0, expanded by 00009\nALTER TABLE orders DROP COLUMN note;"),
	}},
	{"column-type", "a rewrite", []string{up("ALTER TABLE orders ALTER COLUMN price TYPE numeric;")}},
	{"set-not-null", "nothing proves it", []string{up("ALTER TABLE lines ALTER COLUMN order_id SET NOT NULL;")}},
	{"set-not-null", "a check that was not validated", []string{
		up("ALTER TABLE lines ADD CONSTRAINT has_order CHECK (order_id IS NOT NULL) NOT VALID;"),
		up("ALTER TABLE lines ALTER COLUMN order_id SET NOT NULL;"),
	}},
	{"set-not-null", "a check of another column", []string{
		up("ALTER TABLE lines ADD CONSTRAINT has_id CHECK (id IS NOT NULL) NOT VALID;"),
		up("ALTER TABLE lines VALIDATE CONSTRAINT has_id;"),
		up("ALTER TABLE lines ALTER COLUMN order_id SET NOT NULL;"),
	}},
	{"set-not-null", "demanded before the release that writes it", []string{
		up("ALTER TABLE orders ADD COLUMN remark text;\nALTER TABLE orders ADD CONSTRAINT c CHECK (price > 0 AND remark IS NOT NULL) NOT VALID;"),
	}},
	{"set-not-null", "demanded with its column", []string{up("ALTER TABLE orders ADD COLUMN remark text CHECK (remark IS NOT NULL);")}},
	{"add-column", "a volatile default", []string{up("ALTER TABLE orders ADD COLUMN token uuid DEFAULT gen_random_uuid();")}},
	{"add-column", "a default that reads the clock for each row", []string{up("ALTER TABLE orders ADD COLUMN at timestamptz DEFAULT clock_timestamp();")}},
	{"add-column", "a serial", []string{up("ALTER TABLE orders ADD COLUMN number bigserial;")}},
	{"add-column", "an identity", []string{up("ALTER TABLE orders ADD COLUMN number bigint GENERATED ALWAYS AS IDENTITY;")}},
	{"add-column", "a stored expression", []string{up("ALTER TABLE orders ADD COLUMN double bigint GENERATED ALWAYS AS (price * 2) STORED;")}},
	{"add-column", "not null, and no default for the old INSERT", []string{up("ALTER TABLE orders ADD COLUMN remark text NOT NULL;")}},
	{"add-column", "not null, and null by default", []string{up("ALTER TABLE orders ADD COLUMN remark text NOT NULL DEFAULT NULL;")}},
	{"index", "writers wait", []string{up("CREATE INDEX lines_by_order ON lines (order_id);")}},
	{"index", "concurrently in a transaction", []string{up("CREATE INDEX CONCURRENTLY lines_by_order ON lines (order_id);")}},
	{"index", "a failed try is taken for a good index", []string{alone("CREATE INDEX CONCURRENTLY IF NOT EXISTS lines_by_order ON lines (order_id);")}},
	{"index", "a failed try is in the way", []string{alone("CREATE INDEX CONCURRENTLY lines_by_order ON lines (order_id);")}},
	{"index", "no name", []string{alone("CREATE INDEX CONCURRENTLY ON lines (order_id);")}},
	{"index", "dropping makes readers wait", []string{up("DROP INDEX lines_by_order;")}},
	{"index", "building again makes writers wait", []string{alone("REINDEX TABLE lines;")}},
	{"constraint", "a check", []string{up("ALTER TABLE orders ADD CONSTRAINT positive CHECK (price > 0);")}},
	{"constraint", "a check with its column", []string{up("ALTER TABLE orders ADD COLUMN weight bigint CHECK (weight > 0);")}},
	{"constraint", "a foreign key", []string{up("ALTER TABLE lines ADD CONSTRAINT of_order FOREIGN KEY (order_id) REFERENCES orders (id);")}},
	{"constraint", "a foreign key with its column", []string{up("ALTER TABLE lines ADD COLUMN parent uuid REFERENCES orders (id);")}},
	{"constraint", "a unique one that builds its index", []string{up("ALTER TABLE lines ADD CONSTRAINT one_line UNIQUE (order_id);")}},
	{"constraint", "validated while the lock of adding it is held", []string{
		up("ALTER TABLE orders ADD CONSTRAINT positive CHECK (price > 0) NOT VALID;\nALTER TABLE orders VALIDATE CONSTRAINT positive;"),
	}},
	{"lock", "LOCK TABLE", []string{up("LOCK TABLE orders IN ACCESS EXCLUSIVE MODE;")}},
	{"lock", "VACUUM FULL", []string{alone("VACUUM FULL orders;")}},
	{"lock", "CLUSTER", []string{up("CLUSTER orders USING orders_pkey;")}},
	{"lock", "REFRESH", []string{up("REFRESH MATERIALIZED VIEW sales;")}},
	{"one-lock", "two tables", []string{up("ALTER TABLE orders ADD COLUMN a text;\nALTER TABLE lines ADD COLUMN a text;")}},
	{"one-lock", "rows under a lock", []string{up("ALTER TABLE orders ADD COLUMN a text;\nUPDATE orders SET a = 'x' WHERE id = '00000000-0000-0000-0000-000000000001';")}},
	{"timeout", "off", []string{up("SET lock_timeout = 0;")}},
	{"timeout", "longer, for this transaction", []string{up("SET LOCAL lock_timeout = '5min';")}},
	{"timeout", "by a function", []string{up("SELECT set_config('lock_timeout', '0', false);")}},
	{"timeout", "everything", []string{up("RESET ALL;")}},
	{"whole-table", "an UPDATE", []string{up("UPDATE orders SET note = '';")}},
	{"whole-table", "an UPDATE of all that has none", []string{up("UPDATE orders SET note = '' WHERE note IS NULL AND true;")}},
	{"whole-table", "an UPDATE by join", []string{up("UPDATE lines SET order_id = o.id FROM orders o WHERE o.id = lines.id;")}},
	{"whole-table", "a DELETE", []string{up("DELETE FROM lines;")}},
	{"whole-table", "in a WITH", []string{up("WITH gone AS (DELETE FROM lines RETURNING id) SELECT count(*) FROM gone;")}},
	{"whole-table", "TRUNCATE", []string{up("TRUNCATE lines;")}},
	{"whole-table", "in a DO block", []string{alone("DO $$ BEGIN UPDATE orders SET note = ''; COMMIT; END $$;")}},
	{"no-transaction", "a column that the second try finds", []string{alone("ALTER TABLE orders ADD COLUMN a text;")}},
	{"no-transaction", "an index that the second try misses", []string{alone("DROP INDEX CONCURRENTLY lines_by_order;")}},
	{"no-transaction", "rows that come twice", []string{alone("INSERT INTO lines VALUES (gen_random_uuid());")}},
	{"dynamic-sql", "EXECUTE", []string{up("DO $$ BEGIN EXECUTE 'DROP TABLE ' || 'lines'; END $$;")}},
	{"unknown", "a statement", []string{up("ALTER SYSTEM SET wal_level = 'minimal';")}},
	{"unknown", "a change of a table", []string{up("ALTER TABLE orders DISABLE TRIGGER ALL;")}},
	{"unknown", "names that mean something else", []string{up("SET search_path = elsewhere;")}},
}

func TestABadMigrationIsRefusedByItsRule(t *testing.T) {
	for _, test := range bad {
		t.Run(test.rule+": "+test.name, func(t *testing.T) {
			if rules := rulesBroken(t, test.files...); !slices.Contains(rules, test.rule) {
				t.Errorf("refused by %v, not by %s", rules, test.rule)
			}
		})
	}
}

// good are the ways to do the same that the rules leave.
var good = map[string][]string{
	"a table": {up(`CREATE TABLE events (id uuid PRIMARY KEY, at timestamptz NOT NULL DEFAULT clock_timestamp(), CHECK (at > '2000-01-01'));
		CREATE INDEX events_by_time ON events (at);
		ALTER TABLE events ADD COLUMN n bigserial;
		UPDATE events SET n = 1;
		DROP TABLE events;`)},
	"a column":                       {up("ALTER TABLE orders ADD COLUMN remark text;")},
	"a column with a constant":       {up("ALTER TABLE orders ADD COLUMN remark text NOT NULL DEFAULT 'none'::text, ADD COLUMN at timestamptz DEFAULT now();")},
	"a default for what comes later": {up("ALTER TABLE orders ALTER COLUMN note SET DEFAULT upper('x'), ALTER COLUMN price DROP NOT NULL;")},
	"an index":                       {alone("DROP INDEX CONCURRENTLY IF EXISTS lines_by_order;\nCREATE INDEX CONCURRENTLY lines_by_order ON lines (order_id);")},
	"not null": {
		up("ALTER TABLE lines ADD CONSTRAINT has_order CHECK (order_id IS NOT NULL) NOT VALID;"),
		up("ALTER TABLE lines VALIDATE CONSTRAINT has_order;"),
		up("ALTER TABLE lines ALTER COLUMN order_id SET NOT NULL, DROP CONSTRAINT has_order;"),
	},
	"not null, of a column that the release before writes": {
		up("ALTER TABLE orders ADD COLUMN remark text;"),
		up("ALTER TABLE orders ADD CONSTRAINT c CHECK (remark IS NOT NULL) NOT VALID;"),
	},
	"a foreign key": {
		up("ALTER TABLE lines ADD CONSTRAINT of_order FOREIGN KEY (order_id) REFERENCES orders (id) NOT VALID;"),
		up("ALTER TABLE lines VALIDATE CONSTRAINT of_order;"),
	},
	"a unique constraint": {
		alone("DROP INDEX CONCURRENTLY IF EXISTS one_line;\nCREATE UNIQUE INDEX CONCURRENTLY one_line ON lines (order_id);"),
		up("ALTER TABLE lines ADD CONSTRAINT one_line UNIQUE USING INDEX one_line;"),
	},
	"some rows": {up("UPDATE orders SET note = '' WHERE id = '00000000-0000-0000-0000-000000000001';\nDELETE FROM lines WHERE order_id < '1';")},
	"all rows, in batches": {alone(`-- +goose StatementBegin
		DO $$
		DECLARE last uuid := '00000000-0000-0000-0000-000000000000';
		BEGIN
			LOOP
				WITH batch AS (SELECT id FROM orders WHERE id > last ORDER BY id LIMIT 1000),
				     filled AS (UPDATE orders o SET note = 'x' FROM batch b WHERE o.id = b.id)
				SELECT max(id::text)::uuid INTO last FROM batch;
				EXIT WHEN last IS NULL;
				COMMIT;
			END LOOP;
		END $$;
		-- +goose StatementEnd`)},
	"a contract, two releases later": {
		up("ALTER TABLE orders ADD COLUMN remark text;"), // v0.2.0 writes both
		up("SELECT 1;"), // v0.3.0 has stopped using note
		up("-- contract: unused since v0.3.0, expanded by 00002\nALTER TABLE orders DROP COLUMN note;"),
	},
	"a function and a trigger": {up(`CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'no'; END $$;
		CREATE TRIGGER fixed BEFORE UPDATE ON lines FOR EACH STATEMENT EXECUTE FUNCTION refuse();`)},
	"nothing is held against Down": {up("SELECT 1;\n-- +goose Down\nDROP TABLE orders;")},
}

func TestAGoodMigrationPasses(t *testing.T) {
	for name, files := range good {
		t.Run(name, func(t *testing.T) {
			if rules := rulesBroken(t, files...); len(rules) > 0 {
				t.Errorf("refused by %v", rules)
			}
		})
	}
}

// TestEveryRuleHasABadMigrationAndAPlaceInTheDocs: a rule that refuses nothing,
// or that nobody can look up, is none.
func TestEveryRuleHasABadMigrationAndAPlaceInTheDocs(t *testing.T) {
	docs, err := os.ReadFile("../../docs/migrations.md")
	if err != nil {
		t.Fatal(err)
	}
	shown := map[string]bool{}
	for _, test := range bad {
		shown[test.rule] = true
	}
	// Those about files instead of statements have tests of their own.
	for _, rule := range []string{"order", "unrecorded", "changed", "deleted"} {
		shown[rule] = true
	}
	for rule := range Rules {
		if !shown[rule] {
			t.Errorf("no bad migration shows rule %s", rule)
		}
		if !strings.Contains(string(docs), "| `"+rule+"` |") {
			t.Errorf("docs/migrations.md does not explain rule %s", rule)
		}
	}
}

func TestTheMigrationsOfEveryServicePass(t *testing.T) {
	folders, err := filepath.Glob("../../services/*/migrations")
	if err != nil {
		t.Fatal(err)
	}
	if len(folders) < 2 {
		t.Fatalf("found only %v", folders)
	}
	for _, folder := range folders {
		findings, err := Lint(os.DirFS(folder))
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range findings {
			t.Error(folder, f)
		}
	}
}
