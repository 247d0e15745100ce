-- +goose Up
-- Small things that must outlive the process.
CREATE TABLE states (
    name       TEXT    NOT NULL PRIMARY KEY,
    value      BLOB    NOT NULL,
    updated_at INTEGER NOT NULL
) STRICT;

-- Deliveries that were given up, dead or quarantined, by what they are about.
CREATE INDEX deliveries_given_up ON deliveries (listener, record) WHERE state IN (2, 4);
