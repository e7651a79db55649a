-- +goose Up

-- What every change left of an order, for those who watch it. A row is written in
-- the statement that changes the order and never changes itself. What an order
-- keeps for life, its lines and its total, is not repeated here.
--
-- The release that serves while this runs writes no rows, nor do orders have any
-- that were placed before: whoever watches takes the last state of those from the
-- order itself.
CREATE TABLE order_revisions (
    -- No reference to orders, whose rows are never deleted: the statement that
    -- writes this row has just written that one, and the check would only cost.
    order_id      uuid        NOT NULL,
    version       bigint      NOT NULL CHECK (version > 0),
    state         text        NOT NULL,
    payment_id    uuid,
    decline_code  text        NOT NULL,
    contact_email text        NOT NULL,
    shipping_note text        NOT NULL,
    update_time   timestamptz NOT NULL,
    PRIMARY KEY (order_id, version)
);

-- +goose Down
DROP TABLE order_revisions;
