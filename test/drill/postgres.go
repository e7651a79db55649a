package drill

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/holdfast-dev/holdfast/test/load"
)

// PostgresName is the name of the drill that takes the database away.
const PostgresName = "postgres"

func postgresDrill() Drill {
	return Drill{
		Name:  PostgresName,
		Short: "Take the database away in the middle of everything: nothing is lost or done twice",
		Long: `Starts two replicas each of orders and payments; places orders with clients that
try again under the same idempotency key; ends all connections to Postgres, or
stops Postgres as a power cut would and starts it again, drawn from the seed, again
and again; checks the invariants; and prints a verdict. Every order must be placed
in the end, once, and what was acknowledged must be there.`,
		Sabotages: []SabotageOf{
			{NoCompleter, "nobody finishes what was begun on a connection that ended"},
		},
		Rate:     "requests a second",
		Defaults: Options{Duration: 20 * time.Second, Rate: 30, Replicas: 2, Quiet: 2 * time.Second, Seed: 1},
		Hold:     TakeAwayPostgres,
	}
}

// TakeAwayPostgres takes the database away under load, and judges it.
func TakeAwayPostgres(ctx context.Context, o Options) (*Verdict, error) {
	s := stage{}
	if o.Sabotage == NoCompleter {
		s.settings = withoutCompleter
	}
	return s.endure(ctx, PostgresName, o, func(ctx context.Context, run *load.Run) error {
		random := rand.New(rand.NewPCG(o.Seed, 0)) // reproducible on purpose
		for end := time.Now().Add(o.Duration); time.Now().Before(end); {
			if err := s.strikePostgres(ctx, run, random.IntN(2) == 0); err != nil {
				return err
			}
			if err := pause(ctx, time.Second+time.Duration(random.Int64N(int64(time.Second)))); err != nil {
				return err
			}
		}
		return nil
	})
}

func (s *stage) strikePostgres(ctx context.Context, run *load.Run, connectionsOnly bool) error {
	progress := run.Progress()
	if connectionsOnly {
		s.progress("ending every connection to Postgres (%d sent, %d failed)", progress.Sent, progress.Failed)
		return s.endConnections(ctx)
	}
	s.progress("stopping Postgres at once (%d sent, %d failed)", progress.Sent, progress.Failed)
	if err := s.postgres.Crash(ctx); err != nil {
		return fmt.Errorf("stop Postgres at once: %w", err)
	}
	began := time.Now()
	if err := s.postgres.Resume(ctx); err != nil {
		return fmt.Errorf("start Postgres again: %w", err)
	}
	s.progress("Postgres has recovered in %s", time.Since(began).Round(time.Millisecond))
	return nil
}

// endConnections has the server end every connection but the one that asks.
func (s *stage) endConnections(ctx context.Context) error {
	conn, err := pgx.Connect(ctx, s.postgres.Database("postgres"))
	if err != nil {
		return fmt.Errorf("end the connections to Postgres: %w", err)
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }() // nothing is pending on it
	_, err = conn.Exec(ctx, `SELECT pg_terminate_backend(pid)
FROM pg_stat_activity
WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()`)
	if err != nil {
		return fmt.Errorf("end the connections to Postgres: %w", err)
	}
	return nil
}
