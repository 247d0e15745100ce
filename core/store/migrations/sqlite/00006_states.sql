-- +goose Up
-- Small things that must outlive the process.
CREATE TABLE states (
    name       TEXT    NOT NULL PRIMARY KEY,
    value      BLOB    NOT NULL,
    updated_at INTEGER NOT NULL
) STRICT;
