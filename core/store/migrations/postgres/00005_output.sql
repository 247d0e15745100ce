-- +goose Up
-- What a listener said during an attempt. The last attempt's stands with its delivery too, for one
-- that succeeded has no row of its own.
ALTER TABLE deliveries ADD COLUMN output TEXT NOT NULL DEFAULT '';
ALTER TABLE attempts ADD COLUMN output TEXT NOT NULL DEFAULT '';
