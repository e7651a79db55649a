-- The second release begins: of the first one's replicas, which write both
-- columns, all are up, and none of those before it is left. So every line that
-- is still without the new column is an old one, and no new one comes.

-- +goose NO TRANSACTION
-- +goose Up

-- A thousand lines at a time, in the order of the primary key, each batch its
-- own transaction: no lock is held for long, and a try that fails half-way keeps
-- what it did.
-- +goose StatementBegin
DO $$
DECLARE
    last_order    uuid    := '00000000-0000-0000-0000-000000000000';
    last_position integer := 0;
BEGIN
    LOOP
        WITH batch AS (
            SELECT order_id, position
            FROM order_lines
            WHERE (order_id, position) > (last_order, last_position)
            ORDER BY order_id, position
            LIMIT 1000
        ),
        filled AS (
            UPDATE order_lines line
            SET unit_price_minor = line.unit_price
            FROM batch
            WHERE line.order_id = batch.order_id AND line.position = batch.position
              AND line.unit_price_minor IS NULL
        )
        SELECT order_id, position INTO last_order, last_position
        FROM batch
        ORDER BY order_id DESC, position DESC
        LIMIT 1;
        EXIT WHEN NOT FOUND;
        COMMIT;
    END LOOP;
END
$$;
-- +goose StatementEnd
