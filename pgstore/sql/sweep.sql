-- The condition is checked again when the row is locked, and again in the delete.
DELETE FROM onceward.records
WHERE id IN (
	SELECT id FROM onceward.records
	WHERE expires_at <= (SELECT clock_timestamp()) AND version = 1
	ORDER BY expires_at
	LIMIT $1
	FOR UPDATE SKIP LOCKED
) AND expires_at <= clock_timestamp()
