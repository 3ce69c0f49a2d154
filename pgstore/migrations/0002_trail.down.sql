DROP TABLE onceward.trail;
DROP SEQUENCE onceward.trail_seq;
DELETE FROM onceward.migrations WHERE version = 2;
