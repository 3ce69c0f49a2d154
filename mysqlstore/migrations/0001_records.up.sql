-- Instants are UTC by the server's clock, lengths of time are microseconds. What is opaque has no collation.

CREATE TABLE IF NOT EXISTS onceward_migrations (
  version    INT UNSIGNED   NOT NULL PRIMARY KEY,
  name       VARBINARY(100) NOT NULL,
  applied_at DATETIME(6)    NOT NULL
) ENGINE = InnoDB;

CREATE TABLE IF NOT EXISTS onceward_records (
  id                    BINARY(32)       NOT NULL PRIMARY KEY,
  version               TINYINT UNSIGNED NOT NULL COMMENT 'of this encoding',
  phase                 TINYINT UNSIGNED NOT NULL COMMENT '0 residue, 1 running, 2 done',
  owner                 BINARY(16)       NOT NULL,
  fence                 BIGINT UNSIGNED  NOT NULL,
  attempt               BIGINT           NOT NULL,
  max_attempts          BIGINT           NOT NULL,
  on_crash              TINYINT UNSIGNED NOT NULL COMMENT '1 hold, 2 rerun',
  given_up              TINYINT UNSIGNED NOT NULL,
  resolved              TINYINT UNSIGNED NOT NULL COMMENT '1 when an operator ended it: the outcome is not its owner''s',
  begun_at              DATETIME(6)      NOT NULL COMMENT 'the attempt, or when it was done',
  lease_until           DATETIME(6)      NOT NULL,
  expires_at            DATETIME(6)      NOT NULL,
  lease                 BIGINT           NOT NULL,
  max_execution         BIGINT           NOT NULL,
  retain                BIGINT           NOT NULL,
  doubt_retain          BIGINT           NOT NULL,
  kind                  TINYINT UNSIGNED NOT NULL COMMENT '1 answer, 2 tombstone',
  key_tag               BINARY(8)        NOT NULL,
  scope_tag             BINARY(8)        NOT NULL,
  fingerprint_algorithm BLOB             NOT NULL,
  fingerprint_sum       BLOB             NOT NULL,
  operation             BLOB             NOT NULL,
  key_hint              BLOB             NOT NULL,
  route                 BLOB             NOT NULL,
  host                  BLOB             NOT NULL,
  actor                 BLOB             NOT NULL,
  reason                BLOB             NOT NULL,
  trace_id              BLOB             NOT NULL,
  node                  BLOB             NOT NULL,
  outcome_digest        BINARY(8)        NOT NULL COMMENT 'the first bytes of its SHA-256',
  outcome               LONGBLOB         NOT NULL,
  KEY expires_at (expires_at)
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC;

CREATE OR REPLACE SQL SECURITY INVOKER VIEW onceward_keys AS
SELECT
  LOWER(HEX(id)) AS id,
  CASE
    WHEN phase = 2 THEN 'done'
    WHEN given_up = 0 AND lease_until > UTC_TIMESTAMP(6) OR on_crash = 2 AND attempt < max_attempts THEN 'running'
    ELSE 'in-doubt'
  END AS state,
  CONVERT(operation USING utf8mb4) AS operation,
  CONVERT(key_hint USING utf8mb4) AS key_hint,
  LOWER(HEX(key_tag)) AS key_tag,
  LOWER(HEX(scope_tag)) AS scope_tag,
  CONVERT(route USING utf8mb4) AS route,
  CONVERT(host USING utf8mb4) AS host,
  CASE on_crash WHEN 1 THEN 'hold' ELSE 'rerun' END AS on_crash,
  fence, attempt, max_attempts, given_up, begun_at, lease_until, expires_at,
  CASE kind WHEN 1 THEN 'answer' WHEN 2 THEN 'tombstone' ELSE '' END AS outcome,
  LENGTH(outcome) AS outcome_bytes,
  CONVERT(actor USING utf8mb4) AS actor,
  CONVERT(reason USING utf8mb4) AS reason,
  CONVERT(trace_id USING utf8mb4) AS trace_id,
  CONVERT(node USING utf8mb4) AS node
FROM onceward_records
WHERE phase > 0 AND expires_at > UTC_TIMESTAMP(6);

INSERT IGNORE INTO onceward_migrations VALUES (1, 'records', UTC_TIMESTAMP(6));
