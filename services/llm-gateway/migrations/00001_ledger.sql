-- The ledger: what may be spent, what each attempt at a provider may cost and
-- did cost, and the answers that a repeated request gets again.
--
-- Money is in nano-dollars (1e-9 USD). Whoever writes locks in one order, so
-- that nobody deadlocks: an attempt, then its key, then budgets by id.

-- +goose Up

-- A budget of one period. settled + reserved <= ceiling after every commit,
-- except where a provider billed more than the dearest that was thought
-- possible: that is recorded as it is, so there is no CHECK.
--
-- These are the hottest rows of the service: two updates a request. No index
-- has a column that changes, and pages are left mostly empty, so that updates
-- stay on their page (HOT) and clean up after themselves.
CREATE TABLE llm_budgets (
    -- Derived from tenant, name, period and start, so that nobody has to look
    -- it up before writing.
    id       uuid        PRIMARY KEY,
    -- What attempts that are not decided may still cost.
    reserved bigint      NOT NULL CHECK (reserved >= 0),
    settled  bigint      NOT NULL DEFAULT 0 CHECK (settled >= 0),
    -- As the configuration had it when it was last drawn on.
    ceiling  bigint      NOT NULL CHECK (ceiling >= 0),
    -- The part of settled that was above what had been reserved for it.
    overrun  bigint      NOT NULL DEFAULT 0 CHECK (overrun >= 0),
    starts   timestamptz NOT NULL,
    ends     timestamptz, -- null: never
    -- Empty: one budget for all tenants together.
    tenant   text        NOT NULL,
    name     text        NOT NULL,
    period   text        NOT NULL,
    CHECK (starts < ends)
) WITH (
    fillfactor = 20,
    autovacuum_vacuum_scale_factor = 0,
    autovacuum_vacuum_threshold = 2000,
    autovacuum_vacuum_cost_delay = 0
);

CREATE INDEX llm_budgets_by_tenant ON llm_budgets (tenant, starts);

-- One row for each time that a request left for a provider, written before it
-- leaves. A request is its attempts; there is no row for it.
CREATE TABLE llm_attempts (
    request         uuid        NOT NULL,
    create_time     timestamptz NOT NULL DEFAULT now(),
    -- Until when an attempt is left alone: to its owner while it is dispatched,
    -- and until it is asked about again while it is unknown. 'infinity' is that
    -- nobody can be asked.
    lease_until     timestamptz NOT NULL,
    -- When it was decided, or for an unknown one when its owner had it last.
    end_time        timestamptz,
    -- The dearest that it can be, which is reserved until it is decided.
    worst           bigint      NOT NULL CHECK (worst >= 0),
    cost            bigint      CHECK (cost >= 0),
    input           bigint,
    cache_read      bigint,
    cache_write     bigint,
    cache_write_1h  bigint,
    output          bigint,
    reasoning       bigint,
    -- Grows when somebody else takes the attempt over; a write by an earlier
    -- owner then matches no row.
    epoch           integer     NOT NULL DEFAULT 1,
    number          smallint    NOT NULL CHECK (number > 0),
    lookups         smallint    NOT NULL DEFAULT 0,
    stream          boolean     NOT NULL,
    -- Whether the provider said what it used, or we estimate it.
    exact           boolean,
    state           text        NOT NULL CHECK (state IN ('dispatched', 'unknown', 'settled', 'failed')),
    tenant          text        NOT NULL,
    route           text        NOT NULL,
    protocol        text        NOT NULL,
    provider        text        NOT NULL,
    model           text        NOT NULL,
    -- The name of the provider's key, never the key.
    provider_key    text        NOT NULL,
    price_version   text        NOT NULL,
    upstream_id     text,
    finish          text,
    error           text,
    idempotency_key text,
    -- Those that its worst case is reserved in.
    budgets         uuid[]      NOT NULL,
    PRIMARY KEY (request, number),
    CONSTRAINT llm_attempts_cost_when_decided CHECK ((state IN ('settled', 'failed')) = (cost IS NOT NULL)),
    CONSTRAINT llm_attempts_failed_is_free CHECK (state <> 'failed' OR cost = 0)
);

-- What the reconciler looks through. lease_until is not in it, so that renewing
-- a lease writes no index.
CREATE INDEX llm_attempts_open ON llm_attempts (request, number) WHERE state IN ('dispatched', 'unknown');

-- Reports and retention go by time. Rows arrive in its order, which makes the
-- index cheap to add to.
CREATE INDEX llm_attempts_by_time ON llm_attempts (create_time);

-- What is left of attempts after their retention: sums by day.
CREATE TABLE llm_usage_days (
    day            date    NOT NULL,
    requests       bigint  NOT NULL,
    attempts       bigint  NOT NULL,
    failed         bigint  NOT NULL,
    overruns       bigint  NOT NULL,
    cost           bigint  NOT NULL,
    input          bigint  NOT NULL,
    cache_read     bigint  NOT NULL,
    cache_write    bigint  NOT NULL,
    cache_write_1h bigint  NOT NULL,
    output         bigint  NOT NULL,
    reasoning      bigint  NOT NULL,
    exact          boolean NOT NULL,
    tenant         text    NOT NULL,
    route          text    NOT NULL,
    provider       text    NOT NULL,
    model          text    NOT NULL,
    PRIMARY KEY (day, tenant, route, provider, model, exact)
);

-- Idempotency keys of clients. A key belongs to the request that took it last;
-- it may be taken again when nothing of that request is open and nothing was
-- billed.
CREATE TABLE llm_keys (
    request      uuid        NOT NULL,
    create_time  timestamptz NOT NULL DEFAULT now(),
    -- Attempts of the request that are not decided.
    open         integer     NOT NULL CHECK (open >= 0),
    billed       boolean     NOT NULL DEFAULT FALSE,
    -- The answer; null while there is none.
    stream       boolean,
    status       smallint,
    content_type text,
    tenant       text        NOT NULL,
    key          text        NOT NULL COLLATE "C",
    fingerprint  bytea       NOT NULL,
    body         bytea,
    PRIMARY KEY (tenant, key),
    CONSTRAINT llm_keys_answer_is_whole CHECK (num_nonnulls(stream, status, content_type, body) IN (0, 4)),
    CONSTRAINT llm_keys_answer_is_billed CHECK (body IS NULL OR billed)
);

CREATE INDEX llm_keys_by_time ON llm_keys (create_time);

-- Ends a statement that found, with its locks in hand, that what it had seen
-- without them no longer holds. It is sent again and sees what is true now.
-- Volatile, so that the planner neither folds nor drops the call.
-- +goose StatementBegin
CREATE FUNCTION llm_overtaken() RETURNS boolean
    LANGUAGE plpgsql VOLATILE
AS $$
BEGIN
    RAISE EXCEPTION 'llm ledger: overtaken by another request' USING ERRCODE = 'HF002';
END
$$;
-- +goose StatementEnd

-- +goose Down

DROP FUNCTION llm_overtaken();
DROP TABLE llm_keys;
DROP TABLE llm_usage_days;
DROP TABLE llm_attempts;
DROP TABLE llm_budgets;
