-- How the release before the expand reads orders.
SELECT o.id, o.tenant, o.state, o.version, o.currency, o.total, o.payment_method, o.charge_key,
       o.payment_id, o.decline_code, o.contact_email, o.shipping_note, o.edited_from,
       o.create_time, o.update_time, l.product_ids, l.quantities, l.unit_prices
FROM orders o
CROSS JOIN LATERAL (
    SELECT array_agg(product_id ORDER BY position) AS product_ids,
           array_agg(quantity   ORDER BY position) AS quantities,
           array_agg(unit_price ORDER BY position) AS unit_prices
    FROM order_lines
    WHERE order_id = o.id
) l
