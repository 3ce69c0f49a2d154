-- The store makes the partitions of coming weeks and drops those whose entries are over. Whatever has none is in "rest".

CREATE TABLE IF NOT EXISTS onceward_trail (
  seq       BIGINT UNSIGNED  NOT NULL AUTO_INCREMENT,
  at        DATETIME(6)      NOT NULL,
  id        BINARY(32)       NOT NULL,
  version   TINYINT UNSIGNED NOT NULL COMMENT 'of this encoding',
  step      TINYINT UNSIGNED NOT NULL
    COMMENT '1 acquired, 2 taken over, 3 extended, 4 given up, 5 completed, 6 released, 7 resolved, 8 forced',
  attempt   BIGINT           NOT NULL,
  fence     BIGINT UNSIGNED  NOT NULL,
  kind      TINYINT UNSIGNED NOT NULL COMMENT '0 none, 1 answer, 2 tombstone',
  key_tag   BINARY(8)        NOT NULL,
  operation BLOB             NOT NULL,
  key_hint  BLOB             NOT NULL,
  actor     BLOB             NOT NULL,
  reason    BLOB             NOT NULL,
  trace_id  BLOB             NOT NULL,
  node      BLOB             NOT NULL,
  PRIMARY KEY (seq, at),
  KEY at (at),
  KEY id (id),
  KEY key_tag (key_tag),
  KEY operation (operation(64))
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC
PARTITION BY RANGE COLUMNS (at) (PARTITION rest VALUES LESS THAN (MAXVALUE));

INSERT IGNORE INTO onceward_migrations VALUES (2, 'trail', UTC_TIMESTAMP(6));
