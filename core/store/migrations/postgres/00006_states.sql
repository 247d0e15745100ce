-- +goose Up
-- Small things that must outlive the process and that replicas share.
CREATE TABLE states (
    name       TEXT   NOT NULL PRIMARY KEY,
    value      BYTEA  NOT NULL,
    updated_at BIGINT NOT NULL
);
