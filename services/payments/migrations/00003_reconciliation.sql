-- What the comparison with the processor's books has found, and how far it is.

-- +goose Up

-- A run compares one stretch of time. It belongs to whoever holds its lease; the
-- epoch fences who held it before, and phase and cursor are where to go on.
CREATE TABLE reconciliation_runs (
    number        bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    since         timestamptz NOT NULL,
    until         timestamptz NOT NULL,
    phase         text        NOT NULL,
    cursor        text        NOT NULL DEFAULT '',
    epoch         bigint      NOT NULL DEFAULT 0,
    lease_until   timestamptz NOT NULL DEFAULT now(),
    -- How much was looked at: operations of the processor, and entries,
    -- authorizations and open operations of ours.
    records       bigint      NOT NULL DEFAULT 0,
    entries       bigint      NOT NULL DEFAULT 0,
    -- Why the last try stopped, if it did.
    failure       text        NOT NULL DEFAULT '',
    create_time   timestamptz NOT NULL DEFAULT now(),
    complete_time timestamptz,
    CONSTRAINT reconciliation_runs_window CHECK (since < until)
);

-- There is one run at a time, whoever starts it.
CREATE UNIQUE INDEX reconciliation_runs_one_at_a_time ON reconciliation_runs ((complete_time IS NULL))
    WHERE complete_time IS NULL;

-- A finding is one difference, however many runs see it.
CREATE TABLE reconciliation_findings (
    number        bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    kind          text        NOT NULL,
    -- What makes it the same finding in another run.
    subject       text        NOT NULL,
    state         text        NOT NULL CHECK (state IN ('open', 'healed', 'resolved')),
    tenant        text        NOT NULL,
    -- As the processor has it, which need not be an id of ours.
    payment       text        NOT NULL,
    operation     text        NOT NULL,
    processor_key text        NOT NULL,
    processor_id  text        NOT NULL,
    -- The two sides, in words: a state, a verdict, or nothing.
    ours          text        NOT NULL,
    theirs        text        NOT NULL,
    currency      text        NOT NULL,
    our_amount    bigint,
    their_amount  bigint,
    -- When the processor did it; null if it has no record.
    record_time   timestamptz,
    -- What was given back at the processor since, by the key of the operation.
    given_back    jsonb       NOT NULL DEFAULT '{}',
    -- Settled outside of our books: the record will not go away, and is not
    -- found again.
    settled       boolean     NOT NULL DEFAULT FALSE,
    -- Why a person closed it.
    note          text        NOT NULL DEFAULT '',
    first_run     bigint      NOT NULL,
    last_run      bigint      NOT NULL,
    closed_run    bigint,
    found_time    timestamptz NOT NULL DEFAULT now(),
    closed_time   timestamptz,
    UNIQUE (kind, subject),
    CHECK ((state = 'open') = (closed_time IS NULL))
);

CREATE INDEX reconciliation_findings_open ON reconciliation_findings (number) WHERE state = 'open';
CREATE INDEX reconciliation_findings_of_charge ON reconciliation_findings (processor_id);

-- What the run that is under way has seen at the processor, so that its other
-- direction need not ask for each. Emptied when the run ends.
CREATE TABLE reconciliation_seen (
    payment       text NOT NULL,
    processor_key text NOT NULL,
    kind          text NOT NULL,
    PRIMARY KEY (payment, processor_key, kind)
);

-- +goose Down
DROP TABLE reconciliation_seen;
DROP TABLE reconciliation_findings;
DROP TABLE reconciliation_runs;
