-- Times are unix microseconds. Bodies are bytes as received.
-- +goose Up
CREATE TABLE events (
    seq         BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    id          TEXT   NOT NULL,
    pipeline    TEXT   NOT NULL,
    source      TEXT   NOT NULL,
    action      TEXT   NOT NULL,
    object      TEXT   NOT NULL,
    object_id   TEXT   NOT NULL,
    occurred_at BIGINT NOT NULL,
    received_at BIGINT NOT NULL,
    dedupe_key  BYTEA,
    remote      TEXT   NOT NULL,
    header      TEXT   NOT NULL,
    body        BYTEA
);
CREATE UNIQUE INDEX events_id ON events (id);
CREATE UNIQUE INDEX events_dedupe ON events (pipeline, dedupe_key) WHERE dedupe_key IS NOT NULL;

-- next_at is when to try, or, while a process holds the row, when the row is free again.
CREATE TABLE deliveries (
    event_seq   BIGINT   NOT NULL,
    listener    TEXT     NOT NULL,
    state       SMALLINT NOT NULL,
    attempts    INTEGER  NOT NULL,
    next_at     BIGINT   NOT NULL,
    owner       BIGINT   NOT NULL,
    finished_at BIGINT   NOT NULL DEFAULT 0,
    duration_us BIGINT   NOT NULL DEFAULT 0,
    last_error  TEXT     NOT NULL DEFAULT '',
    code        TEXT     NOT NULL DEFAULT '',
    PRIMARY KEY (event_seq, listener)
);
CREATE INDEX deliveries_due ON deliveries (listener, next_at) WHERE state = 0;

-- The attempts that failed. One that succeeded is the last of its delivery and stands there.
CREATE TABLE attempts (
    event_seq   BIGINT  NOT NULL,
    listener    TEXT    NOT NULL,
    number      INTEGER NOT NULL,
    started_at  BIGINT  NOT NULL,
    duration_us BIGINT  NOT NULL,
    error       TEXT    NOT NULL,
    code        TEXT    NOT NULL,
    PRIMARY KEY (event_seq, listener, number)
);
