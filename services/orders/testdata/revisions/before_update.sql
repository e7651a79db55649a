-- How the release before revisions changes an order.
UPDATE orders
SET state = $4, version = $5, payment_id = $6, decline_code = $7,
    contact_email = $8, shipping_note = $9, edited_from = $10, update_time = $11
WHERE tenant = $1 AND id = $2 AND version = $3
