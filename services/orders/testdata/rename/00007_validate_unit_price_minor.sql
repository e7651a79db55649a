-- +goose Up

-- Validating reads every row and lets readers and writers pass. Afterwards SET
-- NOT NULL reads none: the check has proved it.
ALTER TABLE order_lines VALIDATE CONSTRAINT order_lines_unit_price_minor_check;
ALTER TABLE order_lines VALIDATE CONSTRAINT order_lines_unit_price_minor_given;
ALTER TABLE order_lines
    ALTER COLUMN unit_price_minor SET NOT NULL,
    DROP CONSTRAINT order_lines_unit_price_minor_given;
