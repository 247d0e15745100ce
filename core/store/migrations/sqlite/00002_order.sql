-- +goose Up
ALTER TABLE events ADD COLUMN trace TEXT NOT NULL DEFAULT '';

-- turn is a delivery's place in the order: the event's seq, or a new number when it is replayed.
-- record is the number of what the event is about; 0 has no order.
DROP INDEX deliveries_due;
ALTER TABLE deliveries DROP COLUMN owner;
ALTER TABLE deliveries ADD COLUMN turn INTEGER NOT NULL DEFAULT 0;
ALTER TABLE deliveries ADD COLUMN record INTEGER NOT NULL DEFAULT 0;
ALTER TABLE deliveries ADD COLUMN crashes INTEGER NOT NULL DEFAULT 0;
ALTER TABLE deliveries ADD COLUMN replays INTEGER NOT NULL DEFAULT 0;
UPDATE deliveries SET turn = event_seq;
-- run is how often the delivery had been replayed before the attempt, whose numbers begin anew then.
CREATE TABLE runs (
    event_seq   INTEGER NOT NULL,
    listener    TEXT    NOT NULL,
    run         INTEGER NOT NULL,
    number      INTEGER NOT NULL,
    started_at  INTEGER NOT NULL,
    duration_us INTEGER NOT NULL,
    error       TEXT    NOT NULL,
    code        TEXT    NOT NULL,
    PRIMARY KEY (event_seq, listener, run, number)
) STRICT, WITHOUT ROWID;
INSERT INTO runs SELECT event_seq, listener, 0, number, started_at, duration_us, error, code FROM attempts;
DROP TABLE attempts;
ALTER TABLE runs RENAME TO attempts;
CREATE INDEX deliveries_pending ON deliveries (listener, turn) WHERE state = 0;

-- The highest turn that a replay has taken; events are numbered above it.
CREATE TABLE turns (last INTEGER NOT NULL) STRICT;
INSERT INTO turns VALUES (0);

CREATE TABLE listeners (
    name      TEXT    NOT NULL PRIMARY KEY,
    paused_at INTEGER NOT NULL,
    reason    TEXT    NOT NULL
) STRICT, WITHOUT ROWID;

-- How often a listener's deliveries were changed by hand. Who serves it reads them again when the
-- number has grown.
CREATE TABLE edits (
    listener TEXT    NOT NULL PRIMARY KEY,
    number   INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- The newest event handled for each record, of the listeners that skip older ones.
CREATE TABLE handled (
    listener    TEXT    NOT NULL,
    record      INTEGER NOT NULL,
    occurred_at INTEGER NOT NULL,
    PRIMARY KEY (listener, record)
) STRICT, WITHOUT ROWID;

-- Requests that were refused. Of each pipeline and status the newest are kept.
CREATE TABLE refused (
    seq      INTEGER PRIMARY KEY,
    id       TEXT    NOT NULL,
    at       INTEGER NOT NULL,
    pipeline TEXT    NOT NULL,
    remote   TEXT    NOT NULL,
    status   INTEGER NOT NULL,
    code     TEXT    NOT NULL,
    error    TEXT    NOT NULL,
    header   TEXT    NOT NULL,
    bytes    INTEGER NOT NULL,
    trace    TEXT    NOT NULL,
    missed   INTEGER NOT NULL
) STRICT;
CREATE INDEX refused_id ON refused (id);
CREATE INDEX refused_share ON refused (pipeline, status, seq);
