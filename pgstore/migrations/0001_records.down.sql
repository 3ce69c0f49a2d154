-- The schema stays, because it may hold what is somebody else's.
DROP VIEW onceward.keys;
DROP TABLE onceward.records;
DELETE FROM onceward.migrations WHERE version = 1;
