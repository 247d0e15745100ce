-- +goose Up
-- What scripts remember. The script '' is the space that all share. A value is JSON text, as bytes.
CREATE TABLE kv (
    script     TEXT   NOT NULL,
    key        TEXT   COLLATE "C" NOT NULL, -- in the order of its bytes, whatever the database's language
    value      BYTEA  NOT NULL,
    version    BIGINT NOT NULL,
    expires_at BIGINT NOT NULL, -- 0 for never
    PRIMARY KEY (script, key)
);
CREATE INDEX kv_expiring ON kv (expires_at) WHERE expires_at > 0;

-- No version is given twice.
CREATE SEQUENCE kv_versions;
