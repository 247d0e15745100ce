-- Times are unix microseconds. Bodies are bytes as received.
-- +goose Up
CREATE TABLE events (
    seq         INTEGER PRIMARY KEY,
    id          TEXT    NOT NULL,
    pipeline    TEXT    NOT NULL,
    source      TEXT    NOT NULL,
    action      TEXT    NOT NULL,
    object      TEXT    NOT NULL,
    object_id   TEXT    NOT NULL,
    occurred_at INTEGER NOT NULL,
    received_at INTEGER NOT NULL,
    dedupe_key  BLOB,
    remote      TEXT    NOT NULL,
    header      TEXT    NOT NULL,
    body        BLOB
) STRICT;
CREATE UNIQUE INDEX events_id ON events (id);
CREATE UNIQUE INDEX events_dedupe ON events (pipeline, dedupe_key) WHERE dedupe_key IS NOT NULL;

-- next_at is when to try, or, while a process holds the row, when the row is free again.
CREATE TABLE deliveries (
    event_seq   INTEGER NOT NULL,
    listener    TEXT    NOT NULL,
    state       INTEGER NOT NULL,
    attempts    INTEGER NOT NULL,
    next_at     INTEGER NOT NULL,
    owner       INTEGER NOT NULL,
    finished_at INTEGER NOT NULL DEFAULT 0,
    duration_us INTEGER NOT NULL DEFAULT 0,
    last_error  TEXT    NOT NULL DEFAULT '',
    code        TEXT    NOT NULL DEFAULT '',
    PRIMARY KEY (event_seq, listener)
) STRICT, WITHOUT ROWID;
CREATE INDEX deliveries_due ON deliveries (listener, next_at) WHERE state = 0;

-- The attempts that failed. One that succeeded is the last of its delivery and stands there.
CREATE TABLE attempts (
    event_seq   INTEGER NOT NULL,
    listener    TEXT    NOT NULL,
    number      INTEGER NOT NULL,
    started_at  INTEGER NOT NULL,
    duration_us INTEGER NOT NULL,
    error       TEXT    NOT NULL,
    code        TEXT    NOT NULL,
    PRIMARY KEY (event_seq, listener, number)
) STRICT, WITHOUT ROWID;
