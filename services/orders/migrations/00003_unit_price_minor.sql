-- +goose Up

-- A rename, first half: order_lines.unit_price becomes unit_price_minor, whose
-- name says what it counts. The release that serves while this runs knows only
-- the old name, so the new one is added beside it; see docs/migrations.md for
-- the releases that follow.
--
-- Null where that release wrote the line: whoever reads falls back to the old
-- column. One price never changes once it is written, so both always agree.
ALTER TABLE order_lines ADD COLUMN unit_price_minor bigint;

-- NOT VALID: no row is read, and what is written from now on is checked. It lets
-- null pass, because the release before writes none.
ALTER TABLE order_lines ADD CONSTRAINT order_lines_unit_price_minor_check
    CHECK (unit_price_minor > 0) NOT VALID;

-- +goose Down
ALTER TABLE order_lines DROP COLUMN unit_price_minor;
