package orders

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"testing/fstest"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/holdfast-dev/holdfast/pkg/postgres"
	"github.com/holdfast-dev/holdfast/pkg/postgres/pgtest"
	"github.com/holdfast-dev/holdfast/services/orders/migrations"
)

// These tests are about the migrations of this tree and no other, which their
// names tell tools/previous-release-tests.
//
// The rename of order_lines.unit_price to unit_price_minor, release by release,
// as docs/migrations.md tells it. The release of this tree is the expand; what
// came before and what comes after it are in testdata/rename.

// The newest migration that each release needs.
const (
	schemaBefore   = 2
	schemaExpand   = 4
	schemaAfter    = 7
	schemaContract = 8
)

// release is what one release says to the database.
type release struct{ name, insert, read string }

func releases(t *testing.T) (before, expand, after release) {
	t.Helper()
	sql := func(name string) string {
		content, err := os.ReadFile(filepath.Join("testdata", "rename", name))
		require.NoError(t, err)
		return string(content)
	}
	// The key's part of the statement plays no role here.
	whole := func(parts string) string { return "WITH claimed AS (SELECT),\n" + parts + "\nSELECT FROM new_order" }
	const one = "\nWHERE o.tenant = $1 AND o.id = $2"
	return release{"before", whole(sql("before_insert.sql")), sql("before_select.sql") + one},
		release{"expand", whole(insertOrderSQL), selectOrder + one},
		release{"after", whole(sql("after_insert.sql")), sql("after_select.sql") + one}
}

// renaming is a database in the middle of the rename.
type renaming struct {
	*pgtest.Database

	mu     sync.Mutex
	placed []*Order // acknowledged, by whichever release
}

func startRenaming(t *testing.T) *renaming {
	t.Helper()
	r := &renaming{Database: pgtest.New(t, nil, "rename")}
	require.NoError(t, r.migrate(t, schemaBefore))
	return r
}

// migrate runs the migrations up to one, those that are not written yet
// included, as `orders migrate` does.
func (r *renaming) migrate(t *testing.T, to int64) error {
	t.Helper()
	files := fstest.MapFS{}
	for _, from := range []fs.FS{migrations.FS, os.DirFS(filepath.Join("testdata", "rename"))} {
		names, err := fs.Glob(from, "0*.sql")
		require.NoError(t, err)
		for _, name := range names {
			if postgres.Latest(fstest.MapFS{name: {}}) > to {
				continue
			}
			content, err := fs.ReadFile(from, name)
			require.NoError(t, err)
			require.NotContains(t, files, name, "a migration is here and in testdata: the example is out of date")
			files[name] = &fstest.MapFile{Data: content}
		}
	}
	return postgres.Migrate(t.Context(), r.URL, files, slog.New(slog.DiscardHandler))
}

// serving is one release with replicas that write and read all the time.
type serving struct {
	release
	done, failed atomic.Int64
	failure      atomic.Value // the last one, as text
	stop         func()
}

// serve runs a release until it is stopped. Each of its workers places an order
// and reads back one that it or another release has placed.
func (r *renaming) serve(t *testing.T, rel release) *serving {
	t.Helper()
	pool, err := pgxpool.New(t.Context(), r.URL) // every release has connections of its own
	require.NoError(t, err)
	s := &serving{release: rel}
	ctx, cancel := context.WithCancel(context.Background()) // ended by stop: the test's own end must not fail a request
	var workers sync.WaitGroup
	for range 3 {
		workers.Go(func() {
			for ctx.Err() == nil {
				if err := r.request(rel, pool); err != nil {
					s.failed.Add(1)
					s.failure.Store(err.Error())
				}
				s.done.Add(1)
			}
		})
	}
	s.stop = sync.OnceFunc(func() {
		cancel()
		workers.Wait()
		pool.Close()
	})
	t.Cleanup(s.stop)
	return s
}

// request places an order, and reads one.
func (r *renaming) request(rel release, pool *pgxpool.Pool) error {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second) // a request that was begun is finished
	defer cancel()
	r.mu.Lock()
	n := len(r.placed)
	r.mu.Unlock()
	o, err := NewOrder(Draft{
		ID: uuid.New(), Tenant: "acme", PaymentMethod: "pm_card_ok", ChargeKey: "charge", Now: time.Now(),
		Lines: []Line{{"espresso-cup", 2, usd(int64(n + 1))}, {"moka-pot", 1, usd(int64(2*n + 1))}},
	})
	if err != nil {
		return err
	}
	if _, err := pool.Exec(ctx, rel.insert, insertOrderArgs(o)...); err != nil {
		return fmt.Errorf("write: %w", err)
	}
	r.mu.Lock()
	r.placed = append(r.placed, o)
	one := r.placed[(n*7)%len(r.placed)]
	r.mu.Unlock()
	return verify(ctx, rel, pool, one)
}

// verify reads an order as a release does and compares every price.
func verify(ctx context.Context, rel release, pool *pgxpool.Pool, want *Order) error {
	rows, err := pool.Query(ctx, rel.read, want.tenant, want.id)
	found, err := collect(rows, err, scanOrder)
	if err != nil {
		return fmt.Errorf("read: %w", err)
	}
	if len(found) != 1 || len(found[0].lines) != len(want.lines) {
		return errors.New("read: an order or a line is lost")
	}
	for i, line := range found[0].lines {
		if line != want.lines[i] {
			return fmt.Errorf("read: line %d is %v, was %v", i, line, want.lines[i])
		}
	}
	return nil
}

// goesOn waits until a release has served some more.
func (s *serving) goesOn(t *testing.T) {
	t.Helper()
	before := s.done.Load()
	eventually(t, s.name+" goes on", func() bool { return s.done.Load() >= before+50 })
}

func (s *serving) requireNoFailure(t *testing.T) {
	t.Helper()
	require.Zero(t, s.failed.Load(), "of %d requests of release %s; one: %v", s.done.Load(), s.name, s.failure.Load())
}

// TestMigrationRenamesAColumnWhileTwoReleasesServe walks the whole way:
// each migration runs while the release before it serves, and each release is
// rolled out while the one before it still does.
func TestMigrationRenamesAColumnWhileTwoReleasesServe(t *testing.T) {
	t.Parallel()
	r := startRenaming(t)
	before, expand, after := releases(t)

	first := r.serve(t, before)
	first.goesOn(t)
	require.NoError(t, r.migrate(t, schemaExpand))
	first.goesOn(t)
	second := r.serve(t, expand) // the rollout: both serve
	first.goesOn(t)
	second.goesOn(t)
	first.stop()

	second.goesOn(t)
	require.NoError(t, r.migrate(t, schemaAfter))
	second.goesOn(t)
	third := r.serve(t, after)
	second.goesOn(t)
	third.goesOn(t)
	second.stop()

	third.goesOn(t)
	require.NoError(t, r.migrate(t, schemaContract))
	third.goesOn(t)
	third.stop()

	for _, s := range []*serving{first, second, third} {
		s.requireNoFailure(t)
	}
	for _, o := range r.placed {
		require.NoError(t, verify(t.Context(), after, r.Pool, o))
	}
	require.Equal(t, len(r.placed), r.count(t, `SELECT count(*) FROM orders`))
	t.Logf("%d, %d and %d requests of three releases, none failed; %d orders are whole",
		first.done.Load(), second.done.Load(), third.done.Load(), len(r.placed))
}

func (r *renaming) count(t *testing.T, sql string) (n int) {
	t.Helper()
	require.NoError(t, r.Pool.QueryRow(t.Context(), sql).Scan(&n))
	return n
}

func (s *serving) requireFailures(t *testing.T, naming string) {
	t.Helper()
	eventually(t, "release "+s.name+" fails", func() bool { return s.failed.Load() > 0 })
	s.stop()
	require.Contains(t, s.failure.Load(), naming)
}

// The controls: each takes one step out of the way or out of its order.

func TestMigrationControlAPlainRenameFailsTheReleaseThatServes(t *testing.T) {
	t.Parallel()
	r := startRenaming(t)
	before, _, _ := releases(t)
	serving := r.serve(t, before)
	serving.goesOn(t)
	serving.requireNoFailure(t)
	_, err := r.Pool.Exec(t.Context(), `ALTER TABLE order_lines RENAME COLUMN unit_price TO unit_price_minor`)
	require.NoError(t, err)
	// Whichever of its statements comes first: reading, or writing.
	serving.requireFailures(t, `column "unit_price"`)
}

func TestMigrationControlAContractBeforeItsTimeFailsTheReleaseThatServes(t *testing.T) {
	t.Parallel()
	r := startRenaming(t)
	_, expand, _ := releases(t)
	require.NoError(t, r.migrate(t, schemaExpand))
	serving := r.serve(t, expand)
	serving.goesOn(t)
	serving.requireNoFailure(t)
	require.NoError(t, r.migrate(t, schemaContract))
	serving.requireFailures(t, "unit_price")
}

func TestMigrationControlWithoutTheFallbackLinesOfTheReleaseBeforeAreUnreadable(t *testing.T) {
	t.Parallel()
	r := startRenaming(t)
	before, _, after := releases(t)
	require.NoError(t, r.migrate(t, schemaExpand))
	require.NoError(t, r.request(before, r.Pool))
	require.ErrorContains(t, verify(t.Context(), after, r.Pool, r.placed[0]), "cannot scan NULL")
}

func TestMigrationControlRequiringTheNewColumnInTheExpandFailsTheReleaseBefore(t *testing.T) {
	t.Parallel()
	r := startRenaming(t)
	before, _, _ := releases(t)
	require.NoError(t, r.migrate(t, schemaExpand))
	require.NoError(t, r.request(before, r.Pool))
	_, err := r.Pool.Exec(t.Context(), `ALTER TABLE order_lines ADD CHECK (unit_price_minor IS NOT NULL) NOT VALID`)
	require.NoError(t, err)
	require.ErrorContains(t, r.request(before, r.Pool), "violates check constraint")
}

// TestMigrationControlAColumnThatIsUpdatedMustBeReadByItsOldName is why the example
// renames one that is written once. Of a column that is updated, the release
// before brings only the old name up to date, and whoever prefers the new one
// reads what was there before.
func TestMigrationControlAColumnThatIsUpdatedMustBeReadByItsOldName(t *testing.T) {
	t.Parallel()
	pool := pgtest.New(t, nil, "updated").Pool
	run := func(sql string) {
		_, err := pool.Exec(t.Context(), sql)
		require.NoError(t, err)
	}
	run(`CREATE TABLE parcels (id integer PRIMARY KEY, note text, remark text)`)
	run(`INSERT INTO parcels VALUES (1, 'ring once', 'ring once')`) // the new release writes both
	run(`UPDATE parcels SET note = 'ring twice' WHERE id = 1`)      // the one before, the old
	var newFirst, old string
	require.NoError(t, pool.QueryRow(t.Context(), `SELECT coalesce(remark, note), note FROM parcels`).Scan(&newFirst, &old))
	require.Equal(t, "ring once", newFirst, "an update is lost")
	require.Equal(t, "ring twice", old)
}
