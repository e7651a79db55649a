-- +goose Up

-- The catalogue. Prices are counted in minor units: cents, pence, yen.
CREATE TABLE products (
    id       text   PRIMARY KEY,
    name     text   NOT NULL,
    currency text   NOT NULL CHECK (currency ~ '^[A-Z]{3}$'),
    price    bigint NOT NULL CHECK (price > 0)
);

INSERT INTO products (id, name, currency, price) VALUES
    ('aeropress',            'AeroPress brewer',                     'USD',  3995),
    ('burr-grinder',         'Hand grinder, steel burrs',            'USD',  8900),
    ('decaf-beans',          'Decaf beans, 250 g',                   'USD',  1450),
    ('espresso-beans',       'Espresso beans, 1 kg',                 'USD',  2490),
    ('espresso-cup',         'Espresso cup, stoneware',              'USD',  1200),
    ('filter-beans',         'Filter beans, Ethiopia, 250 g',        'USD',  1690),
    ('filter-papers',        'Filter papers, 100',                   'USD',   650),
    ('moka-pot',             'Moka pot, six cups, from the factory', 'EUR',  4200),
    ('pour-over-kettle',     'Gooseneck kettle',                     'USD',  7450),
    ('siphon-brewer',        'Siphon brewer, from the workshop',     'JPY', 15800);

CREATE TABLE orders (
    -- Derived from the request's idempotency key, so the primary key refuses a
    -- second order for one key for ever, even after the key itself is forgotten.
    id             uuid        PRIMARY KEY,
    tenant         text        NOT NULL,
    state          text        NOT NULL CHECK (state IN ('PENDING_PAYMENT', 'PAID', 'PAYMENT_FAILED', 'CANCELLING', 'CANCELLED')),
    -- Counted up by every change; a change is written over the version it was
    -- made from, or not at all.
    version        bigint      NOT NULL CHECK (version > 0),
    currency       text        NOT NULL CHECK (currency ~ '^[A-Z]{3}$'),
    total          bigint      NOT NULL CHECK (total > 0),
    payment_method text        NOT NULL,
    -- The idempotency key of the order's one charge. Kept here, so that whoever
    -- finishes the order, its creation or its cancellation, sends the same key,
    -- also after the secret that keys are derived with was replaced.
    charge_key     text        NOT NULL,
    payment_id     uuid,
    decline_code   text        NOT NULL DEFAULT '',
    contact_email  text        NOT NULL DEFAULT '',
    shipping_note  text        NOT NULL DEFAULT '',
    -- The version that the last edit of contact or note was made from.
    edited_from    bigint      NOT NULL DEFAULT 0,
    create_time    timestamptz NOT NULL,
    update_time    timestamptz NOT NULL,
    CHECK (state <> 'PAID' OR payment_id IS NOT NULL)
);

-- Both lists: newest first, from a cursor on.
CREATE INDEX orders_by_time ON orders (tenant, create_time DESC, id DESC);
CREATE INDEX orders_by_state ON orders (tenant, state, create_time DESC, id DESC);

CREATE TABLE order_lines (
    order_id   uuid    NOT NULL REFERENCES orders (id),
    position   integer NOT NULL,
    product_id text    NOT NULL,
    quantity   integer NOT NULL CHECK (quantity > 0),
    -- What one cost when the order was placed, in the order's currency.
    unit_price bigint  NOT NULL CHECK (unit_price > 0),
    PRIMARY KEY (order_id, position)
);

-- +goose Down
DROP TABLE order_lines;
DROP TABLE orders;
DROP TABLE products;
