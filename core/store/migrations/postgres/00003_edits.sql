-- +goose Up
-- How often a listener's deliveries were changed by hand. Who serves it reads them again when the
-- number has grown.
CREATE TABLE edits (
    listener TEXT   NOT NULL PRIMARY KEY,
    number   BIGINT NOT NULL
);
