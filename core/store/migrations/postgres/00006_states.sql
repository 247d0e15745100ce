-- +goose Up
-- Small things that must outlive the process and that replicas share.
CREATE TABLE states (
    name       TEXT   NOT NULL PRIMARY KEY,
    value      BYTEA  NOT NULL,
    updated_at BIGINT NOT NULL
);

-- Deliveries that were given up, dead or quarantined, by what they are about.
CREATE INDEX deliveries_given_up ON deliveries (listener, record) WHERE state IN (2, 4);
