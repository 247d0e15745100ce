-- +goose Up
-- What scripts remember. The script '' is the space that all share. A value is JSON text, as bytes.
CREATE TABLE kv (
    script     TEXT    NOT NULL,
    key        TEXT    NOT NULL,
    value      BLOB    NOT NULL,
    version    INTEGER NOT NULL,
    expires_at INTEGER NOT NULL, -- 0 for never
    PRIMARY KEY (script, key)
) STRICT;
CREATE INDEX kv_expiring ON kv (expires_at) WHERE expires_at > 0;

-- The last version that was given, so that none is given twice.
CREATE TABLE kv_versions (last INTEGER NOT NULL) STRICT;
INSERT INTO kv_versions VALUES (0);
