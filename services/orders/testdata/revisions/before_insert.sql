-- How the release before revisions writes an order.
new_order AS (
    INSERT INTO orders (id, tenant, state, version, currency, total, payment_method, charge_key,
                        contact_email, shipping_note, create_time, update_time)
    SELECT $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $11
    FROM claimed
    RETURNING id
),
new_lines AS (
    INSERT INTO order_lines (order_id, position, product_id, quantity, unit_price, unit_price_minor)
    SELECT new_order.id, line.position, line.product_id, line.quantity, line.unit_price, line.unit_price
    FROM new_order,
         unnest($12::text[], $13::integer[], $14::bigint[])
         WITH ORDINALITY AS line (product_id, quantity, unit_price, position)
)
