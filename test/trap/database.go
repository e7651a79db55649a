package trap

import (
	"context"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/multitracer"
	"github.com/jackc/pgx/v5/pgxpool"
	"go.uber.org/fx"
)

// traced has the trap see every statement of the service.
func traced(t *Trap) fx.Option {
	return fx.Decorate(func(pool *pgxpool.Pool, lifecycle fx.Lifecycle) (*pgxpool.Pool, error) {
		cfg := pool.Config()
		cfg.ConnConfig.Tracer = multitracer.New(cfg.ConnConfig.Tracer, tracer{t})
		// It connects when it is asked to; the constructor has no context.
		with, err := pgxpool.NewWithConfig(context.Background(), cfg)
		if err != nil {
			return nil, err
		}
		lifecycle.Append(fx.StopHook(with.Close))
		return with, nil
	})
}

// tracer tells the trap of every statement that is a step. A batch is one
// implicit transaction: its end is its commit.
type tracer struct{ trap *Trap }

var (
	_ pgx.QueryTracer = tracer{}
	_ pgx.BatchTracer = tracer{}
)

type stepKey struct{}

func (t tracer) start(ctx context.Context, step Step) context.Context {
	if step == "" {
		return ctx
	}
	t.trap.pass(step, false)
	return context.WithValue(ctx, stepKey{}, step)
}

func (t tracer) end(ctx context.Context, err error) {
	if step, ok := ctx.Value(stepKey{}).(Step); ok && err == nil {
		t.trap.pass(step, true)
	}
}

// TraceQueryStart implements pgx.QueryTracer.
func (t tracer) TraceQueryStart(ctx context.Context, _ *pgx.Conn, data pgx.TraceQueryStartData) context.Context {
	return t.start(ctx, stepOf(data.SQL))
}

// TraceQueryEnd implements pgx.QueryTracer.
func (t tracer) TraceQueryEnd(ctx context.Context, _ *pgx.Conn, data pgx.TraceQueryEndData) {
	t.end(ctx, data.Err)
}

// TraceBatchStart implements pgx.BatchTracer.
func (t tracer) TraceBatchStart(ctx context.Context, _ *pgx.Conn, data pgx.TraceBatchStartData) context.Context {
	for _, query := range data.Batch.QueuedQueries {
		if step := stepOf(query.SQL); step != "" {
			return t.start(ctx, step)
		}
	}
	return ctx
}

// TraceBatchQuery implements pgx.BatchTracer.
func (tracer) TraceBatchQuery(context.Context, *pgx.Conn, pgx.TraceBatchQueryData) {}

// TraceBatchEnd implements pgx.BatchTracer.
func (t tracer) TraceBatchEnd(ctx context.Context, _ *pgx.Conn, data pgx.TraceBatchEndData) {
	t.end(ctx, data.Err)
}

// stepOf tells a step by what only its SQL says; empty for everything else. If
// the SQL is written otherwise one day, the test that dies at every point says so.
func stepOf(sql string) Step {
	switch {
	case !strings.Contains(sql, "idempotency_"):
		return ""
	case strings.Contains(sql, "epoch = k.epoch + 1"):
		return TakeOver
	case strings.Contains(sql, "sealed = TRUE"):
		return Seal
	case strings.Contains(sql, "decided = TRUE"):
		return SecondCommit
	case strings.Contains(sql, "INSERT INTO idempotency_"):
		return FirstCommit
	default:
		return ""
	}
}
