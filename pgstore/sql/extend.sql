-- A sign of life, or none any more when the lease is 0. The row is locked first, because what is told depends on what it was.
WITH was AS (
	SELECT id, given_up, (actor, reason, trace_id, node) = ($4, $5, $6, $7) AS same_note
	FROM onceward.records
	WHERE id = $1 AND owner = $2 AND phase = 1
	FOR UPDATE
), step AS (
	UPDATE onceward.records r SET
		given_up = $3::bigint = 0,
		lease_until = clock_timestamp() + $3::bigint * interval '1 microsecond',
		expires_at = clock_timestamp() + doubt_retain * interval '1 microsecond',
		lease = COALESCE(NULLIF($3::bigint, 0), lease),
		actor = $4, reason = $5, trace_id = $6, node = $7
	FROM was
	WHERE r.id = was.id AND version = 1 AND phase = 1
		AND owner = $2 AND expires_at > clock_timestamp()
	RETURNING /*kept*/, CASE
		WHEN $3::bigint = 0 THEN CASE WHEN was.given_up AND was.same_note THEN 0 ELSE 4 END
		WHEN was.given_up OR $8 THEN 3
		ELSE 0
	END AS step
)/*told*/
SELECT 1 FROM step
