-- labels and overlay are what stages said of an event, and what a script as its source said, as JSON;
-- empty when nothing was said.
-- +goose Up
ALTER TABLE events ADD COLUMN labels TEXT NOT NULL DEFAULT '';
ALTER TABLE events ADD COLUMN overlay TEXT NOT NULL DEFAULT '';
