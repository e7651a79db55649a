-- Idempotency keys. Every service that has them carries this file as it is: a
-- test compares the copies.

-- +goose Up

-- Keys that are UUIDv7, in daily partitions by the time in the key, so that
-- retention is DROP TABLE. Partitions are made by idempotency.Maintain, which
-- migrating calls. Columns are ordered by alignment.
CREATE TABLE idempotency_keys (
    key         uuid        NOT NULL,
    -- The send that wrote the row, so that a sender whose connection was cut
    -- knows its own.
    op          uuid        NOT NULL,
    -- What the effect is on, for the completer.
    resource    uuid,
    create_time timestamptz NOT NULL DEFAULT now(),
    -- Until when an undecided row is left to its owner.
    lease_until timestamptz,
    -- Grows with every takeover; a write by an earlier owner matches no row.
    epoch       bigint      NOT NULL DEFAULT 1,
    -- The version of the fingerprint, and of the secret that child keys use.
    fpv         smallint    NOT NULL,
    secret      smallint    NOT NULL,
    -- Decided: the effect is final. Sealed: the answer was given before that.
    decided     boolean     NOT NULL,
    sealed      boolean     NOT NULL,
    tenant      text        NOT NULL,
    method      text        NOT NULL,
    fingerprint bytea       NOT NULL,
    -- The answer in wire form; null while there is none.
    response    bytea,
    PRIMARY KEY (key, tenant)
) PARTITION BY RANGE (key);

-- What the completer sweeps. Empty most of the time, and free for rows that
-- are born decided.
CREATE INDEX idempotency_keys_undecided ON idempotency_keys (lease_until) WHERE NOT decided;

-- All other keys. They say nothing of their age, so a row stays as a tombstone,
-- without fingerprint and response, when its retention is over.
CREATE TABLE idempotency_opaque_keys (
    op          uuid        NOT NULL,
    resource    uuid,
    create_time timestamptz NOT NULL DEFAULT now(),
    lease_until timestamptz,
    epoch       bigint      NOT NULL DEFAULT 1,
    fpv         smallint    NOT NULL,
    secret      smallint    NOT NULL,
    decided     boolean     NOT NULL,
    sealed      boolean     NOT NULL,
    key         text        NOT NULL COLLATE "C",
    tenant      text        NOT NULL,
    method      text        NOT NULL,
    fingerprint bytea,
    response    bytea,
    PRIMARY KEY (key, tenant)
);

CREATE INDEX idempotency_opaque_keys_undecided ON idempotency_opaque_keys (lease_until) WHERE NOT decided;

-- What maintenance turns into tombstones.
CREATE INDEX idempotency_opaque_keys_live ON idempotency_opaque_keys (create_time) WHERE fingerprint IS NOT NULL;

-- Raises unless the condition holds. A write that matches no row is no error in
-- SQL; committed together with an answer that says it happened, it would be.
-- Volatile, so that the planner neither folds nor drops the call.
-- +goose StatementBegin
CREATE FUNCTION idempotency_require(condition boolean, what text) RETURNS boolean
    LANGUAGE plpgsql VOLATILE
AS $$
BEGIN
    IF condition IS NOT TRUE THEN
        RAISE EXCEPTION 'idempotency: %', what USING ERRCODE = 'HF001';
    END IF;
    RETURN TRUE;
END
$$;
-- +goose StatementEnd

-- +goose Down

DROP FUNCTION idempotency_require(boolean, text);
DROP TABLE idempotency_opaque_keys;
DROP TABLE idempotency_keys;
