-- Looks at those that are due. One that lives is looked at again when it is over, so that the cost depends on what expires, not on
-- what is there. The condition is checked again when the row is locked, and again in the delete. Rows are met by their
-- place, because of ids the planner might expect so many that it would read the whole table.
WITH due AS (
	SELECT ctid FROM onceward.records
	WHERE due_at <= (SELECT clock_timestamp()) AND version = 1
	ORDER BY due_at
	LIMIT $1
	FOR UPDATE SKIP LOCKED
), later AS (
	UPDATE onceward.records SET due_at = expires_at
	WHERE ctid = ANY(ARRAY(SELECT ctid FROM due)) AND expires_at > clock_timestamp()
), swept AS (
	DELETE FROM onceward.records
	WHERE ctid = ANY(ARRAY(SELECT ctid FROM due)) AND expires_at <= clock_timestamp()
	RETURNING 1
)
SELECT (SELECT count(*) FROM due), (SELECT count(*) FROM swept)
