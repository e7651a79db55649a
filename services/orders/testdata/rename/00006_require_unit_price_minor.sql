-- +goose Up

-- The release that is about to come writes only the new column, so the old one
-- may be empty, and the new one must not be. What serves now writes both.
ALTER TABLE order_lines
    ALTER COLUMN unit_price DROP NOT NULL,
    ADD CONSTRAINT order_lines_unit_price_minor_given CHECK (unit_price_minor IS NOT NULL) NOT VALID;
