-- +goose Up
ALTER TABLE events ADD COLUMN trace TEXT NOT NULL DEFAULT '';

-- turn is a delivery's place in the order: the event's seq, or a new number when it is replayed.
-- record is the number of what the event is about; 0 has no order.
DROP INDEX deliveries_due;
ALTER TABLE deliveries DROP COLUMN owner,
    ADD COLUMN turn    BIGINT  NOT NULL DEFAULT 0,
    ADD COLUMN record  BIGINT  NOT NULL DEFAULT 0,
    ADD COLUMN crashes INTEGER NOT NULL DEFAULT 0,
    ADD COLUMN replays INTEGER NOT NULL DEFAULT 0;
UPDATE deliveries SET turn = event_seq;
-- run is how often the delivery had been replayed before the attempt, whose numbers begin anew then.
ALTER TABLE attempts ADD COLUMN run INTEGER NOT NULL DEFAULT 0, DROP CONSTRAINT attempts_pkey,
    ADD PRIMARY KEY (event_seq, listener, run, number);
CREATE INDEX deliveries_pending ON deliveries (listener, turn) WHERE state = 0;

CREATE TABLE listeners (
    name      TEXT   NOT NULL PRIMARY KEY,
    paused_at BIGINT NOT NULL,
    reason    TEXT   NOT NULL
);

-- How often a listener's deliveries were changed by hand. Who serves it reads them again when the
-- number has grown.
CREATE TABLE edits (
    listener TEXT   NOT NULL PRIMARY KEY,
    number   BIGINT NOT NULL
);

-- The newest event handled for each record, of the listeners that skip older ones.
CREATE TABLE handled (
    listener    TEXT   NOT NULL,
    record      BIGINT NOT NULL,
    occurred_at BIGINT NOT NULL,
    PRIMARY KEY (listener, record)
);

-- Requests that were refused. Of each pipeline and status the newest are kept.
CREATE TABLE refused (
    seq      BIGINT  GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    id       TEXT    NOT NULL,
    at       BIGINT  NOT NULL,
    pipeline TEXT    NOT NULL,
    remote   TEXT    NOT NULL,
    status   INTEGER NOT NULL,
    code     TEXT    NOT NULL,
    error    TEXT    NOT NULL,
    header   TEXT    NOT NULL,
    bytes    BIGINT  NOT NULL,
    trace    TEXT    NOT NULL,
    missed   INTEGER NOT NULL
);
CREATE INDEX refused_id ON refused (id);
CREATE INDEX refused_share ON refused (pipeline, status, seq);

-- The one clock by which replicas agree: microseconds of the server.
-- +goose StatementBegin
CREATE FUNCTION pipehook_now() RETURNS BIGINT LANGUAGE sql VOLATILE PARALLEL SAFE
    AS $$ SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint $$;
-- +goose StatementEnd

-- Processes that live until lease_until, unless they renew it. incarnation is drawn at each start, and
-- tells two apart that have one number.
CREATE TABLE replicas (
    id          BIGINT NOT NULL PRIMARY KEY,
    name        TEXT   NOT NULL,
    lease_until BIGINT NOT NULL,
    incarnation BIGINT NOT NULL DEFAULT 0
);

-- Who serves which part of the records. epoch grows with every change of holder.
CREATE TABLE shards (
    shard  INTEGER NOT NULL PRIMARY KEY,
    holder BIGINT  NOT NULL DEFAULT 0,
    epoch  BIGINT  NOT NULL DEFAULT 0
);
INSERT INTO shards (shard) SELECT generate_series(0, 63);
