-- +goose Up

-- contract: unused since v0.2.0, expanded by 00003
ALTER TABLE order_lines DROP COLUMN unit_price;
