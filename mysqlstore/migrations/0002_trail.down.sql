DROP TABLE IF EXISTS onceward_trail;

DELETE FROM onceward_migrations WHERE version = 2;
