package ledger

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"
)

// Dimension is what a report is broken down by.
type Dimension string

// The dimensions of a report.
const (
	ByTenant   Dimension = "tenant"
	ByRoute    Dimension = "route"
	ByProvider Dimension = "provider"
	ByModel    Dimension = "model"
	ByDay      Dimension = "day"
)

// Query says what to report.
type Query struct {
	// Tenant limits the report to one tenant; empty is all.
	Tenant string
	// From and To bound the time of dispatch, To excluded. Of what is older than
	// the history of single attempts, days count that begin inside.
	From, To time.Time
	// GroupBy breaks the sums down; a dimension that is not in it is empty in
	// the rows.
	GroupBy []Dimension
}

// Row is one line of a report.
type Row struct {
	Tenant, Route, Provider, Model string
	// Day is midnight UTC; zero unless the report is by day.
	Day time.Time
	// Requests counts those whose first attempt is in this row, and Attempts all
	// attempts. Failed were not billed; Dispatched and Unknown are not decided.
	Requests, Attempts, Failed, Dispatched, Unknown int64
	// Reserved is what Dispatched and Unknown may cost, in nano-dollars.
	Reserved int64
	// Overruns counts attempts that cost more than their worst case.
	Overruns int64
	// Exact is what providers said that was used, Estimated what we believe of
	// generations that were cut before the provider said.
	Exact, Estimated Sum
}

// Sum is what was used and what it cost.
type Sum struct {
	Usage
	// Cost is in nano-dollars.
	Cost int64
}

// Usage reports what was used, by day of dispatch in UTC.
func (l *Ledger) Usage(ctx context.Context, q Query) ([]Row, error) {
	const query = `
WITH used AS (
    SELECT (a.create_time AT TIME ZONE 'UTC')::date AS day, a.tenant, a.route, a.provider, a.model,
        coalesce(a.exact, FALSE) AS exact,
        (a.number = 1)::int AS requests, 1 AS attempts,
        (a.state = 'failed')::int AS failed, (a.state = 'dispatched')::int AS dispatched, (a.state = 'unknown')::int AS unknown,
        CASE WHEN a.state IN ('dispatched', 'unknown') THEN a.worst ELSE 0 END AS reserved,
        (a.cost > a.worst)::int AS overruns, a.cost,
        a.input, a.cache_read, a.cache_write, a.cache_write_1h, a.output, a.reasoning
    FROM llm_attempts a
    WHERE a.create_time >= $2 AND a.create_time < $3 AND ($1 = '' OR a.tenant = $1)
    UNION ALL
    SELECT d.day, d.tenant, d.route, d.provider, d.model, d.exact,
        d.requests, d.attempts, d.failed, 0, 0, 0, d.overruns, d.cost,
        d.input, d.cache_read, d.cache_write, d.cache_write_1h, d.output, d.reasoning
    FROM llm_usage_days d
    WHERE d.day::timestamp AT TIME ZONE 'UTC' >= $2 AND d.day::timestamp AT TIME ZONE 'UTC' < $3 AND ($1 = '' OR d.tenant = $1)
),
named AS (
    SELECT u.*,
        CASE WHEN 'tenant' = ANY ($4::text[]) THEN u.tenant ELSE '' END AS by_tenant,
        CASE WHEN 'route' = ANY ($4::text[]) THEN u.route ELSE '' END AS by_route,
        CASE WHEN 'provider' = ANY ($4::text[]) THEN u.provider ELSE '' END AS by_provider,
        CASE WHEN 'model' = ANY ($4::text[]) THEN u.model ELSE '' END AS by_model,
        CASE WHEN 'day' = ANY ($4::text[]) THEN u.day ELSE '0001-01-01' END AS by_day
    FROM used u
)
SELECT by_tenant, by_route, by_provider, by_model, by_day,
    sum(requests)::bigint, sum(attempts)::bigint, sum(failed)::bigint, sum(dispatched)::bigint, sum(unknown)::bigint,
    sum(reserved)::bigint, coalesce(sum(overruns), 0)::bigint,
    coalesce(sum(cost) FILTER (WHERE exact), 0)::bigint,
    coalesce(sum(input) FILTER (WHERE exact), 0)::bigint,
    coalesce(sum(cache_read) FILTER (WHERE exact), 0)::bigint,
    coalesce(sum(cache_write) FILTER (WHERE exact), 0)::bigint,
    coalesce(sum(cache_write_1h) FILTER (WHERE exact), 0)::bigint,
    coalesce(sum(output) FILTER (WHERE exact), 0)::bigint,
    coalesce(sum(reasoning) FILTER (WHERE exact), 0)::bigint,
    coalesce(sum(cost) FILTER (WHERE NOT exact), 0)::bigint,
    coalesce(sum(input) FILTER (WHERE NOT exact), 0)::bigint,
    coalesce(sum(cache_read) FILTER (WHERE NOT exact), 0)::bigint,
    coalesce(sum(cache_write) FILTER (WHERE NOT exact), 0)::bigint,
    coalesce(sum(cache_write_1h) FILTER (WHERE NOT exact), 0)::bigint,
    coalesce(sum(output) FILTER (WHERE NOT exact), 0)::bigint,
    coalesce(sum(reasoning) FILTER (WHERE NOT exact), 0)::bigint
FROM named
GROUP BY by_day, by_tenant, by_route, by_provider, by_model
ORDER BY by_day, by_tenant, by_route, by_provider, by_model`
	dimensions := make([]string, len(q.GroupBy))
	for i, d := range q.GroupBy {
		dimensions[i] = string(d)
	}
	rows, err := l.pool.Query(ctx, query, q.Tenant, q.From, q.To, dimensions)
	if err != nil {
		return nil, failed("reporting usage", err)
	}
	report, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (Row, error) {
		var r Row
		e, s := &r.Exact, &r.Estimated
		err := row.Scan(&r.Tenant, &r.Route, &r.Provider, &r.Model, &r.Day,
			&r.Requests, &r.Attempts, &r.Failed, &r.Dispatched, &r.Unknown, &r.Reserved, &r.Overruns,
			&e.Cost, &e.Input, &e.CacheRead, &e.CacheWrite, &e.CacheWrite1h, &e.Output, &e.Reasoning,
			&s.Cost, &s.Input, &s.CacheRead, &s.CacheWrite, &s.CacheWrite1h, &s.Output, &s.Reasoning)
		return r, err
	})
	if err != nil {
		return nil, failed("reporting usage", err)
	}
	return report, nil
}
