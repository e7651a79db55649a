-- +goose Up
CREATE TABLE payments (
    id              uuid        PRIMARY KEY,
    tenant          text        NOT NULL,
    reference       text        NOT NULL,
    payment_method  text        NOT NULL,
    currency        text        NOT NULL CHECK (currency ~ '^[A-Z]{3}$'),
    amount          bigint      NOT NULL CHECK (amount > 0),
    state           text        NOT NULL CHECK (state IN
        ('processing', 'authorized', 'captured', 'declined', 'voided', 'refunded', 'failed')),
    captured        bigint      NOT NULL DEFAULT 0 CHECK (captured BETWEEN 0 AND amount),
    refunded        bigint      NOT NULL DEFAULT 0 CHECK (refunded BETWEEN 0 AND captured),
    decline_code    text        NOT NULL DEFAULT '',
    processor_id    text        NOT NULL DEFAULT '',
    -- The operation whose outcome is not known. open_since is by the database's
    -- clock: the processor's horizon is measured from it.
    open_operation  text        CHECK (open_operation IN ('authorize', 'charge', 'capture', 'void', 'refund')),
    open_amount     bigint      CHECK (open_amount > 0),
    open_since      timestamptz,
    create_time     timestamptz NOT NULL,
    update_time     timestamptz NOT NULL,

    CONSTRAINT payments_open_is_whole CHECK (num_nonnulls(open_operation, open_amount, open_since) IN (0, 3)),
    CONSTRAINT payments_open_fits_state CHECK (CASE state
        WHEN 'processing' THEN open_operation IS NOT NULL AND open_operation IN ('authorize', 'charge')
        WHEN 'authorized' THEN open_operation IS NULL OR open_operation IN ('capture', 'void')
        WHEN 'captured'   THEN open_operation IS NULL OR open_operation = 'refund'
        ELSE open_operation IS NULL
    END),
    -- A refund in flight counts as given back.
    CONSTRAINT payments_refunds_within_capture CHECK (
        open_operation IS DISTINCT FROM 'refund' OR refunded + open_amount <= captured)
);

-- One live payment for a reference. Those that came to nothing do not count,
-- so that a declined card can be followed by another.
CREATE UNIQUE INDEX payments_open_reference ON payments (tenant, reference)
    WHERE state NOT IN ('declined', 'voided', 'failed');

-- Lists go newest first and resume after (create_time, id).
CREATE INDEX payments_by_time ON payments (tenant, create_time DESC, id DESC);
CREATE INDEX payments_by_reference ON payments (tenant, reference, create_time DESC, id DESC);

CREATE TABLE ledger_entries (
    payment_id    uuid        NOT NULL REFERENCES payments (id),
    -- The key that the processor got: one entry for an operation, for ever.
    processor_key text        NOT NULL,
    tenant        text        NOT NULL,
    kind          text        NOT NULL CHECK (kind IN ('capture', 'refund')),
    debit         text        NOT NULL,
    credit        text        NOT NULL,
    currency      text        NOT NULL CHECK (currency ~ '^[A-Z]{3}$'),
    amount        bigint      NOT NULL CHECK (amount > 0),
    create_time   timestamptz NOT NULL,
    PRIMARY KEY (payment_id, processor_key),
    CHECK (debit <> credit)
);

-- A payment is captured once.
CREATE UNIQUE INDEX ledger_entries_one_capture ON ledger_entries (payment_id) WHERE kind = 'capture';

-- History is only added to. A mistake is corrected by an entry the other way.
-- +goose StatementBegin
CREATE FUNCTION ledger_is_immutable() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'ledger entries are never changed or removed' USING ERRCODE = 'integrity_constraint_violation';
END
$$;
-- +goose StatementEnd

CREATE TRIGGER ledger_entries_immutable BEFORE UPDATE OR DELETE OR TRUNCATE ON ledger_entries
    FOR EACH STATEMENT EXECUTE FUNCTION ledger_is_immutable();

-- +goose Down
DROP TABLE ledger_entries;
DROP FUNCTION ledger_is_immutable();
DROP TABLE payments;
