-- The days that have a partition, and the server's.
SELECT clock_timestamp(), COALESCE(string_agg(child.relname, ','), '')
FROM pg_inherits i JOIN pg_class child ON child.oid = i.inhrelid
WHERE i.inhparent = 'onceward.trail'::regclass AND child.relname ~ '^trail_[0-9]{8}$'
