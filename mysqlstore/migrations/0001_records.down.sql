DROP VIEW IF EXISTS onceward_keys;

DROP TABLE IF EXISTS onceward_records;

DROP TABLE IF EXISTS onceward_migrations;
