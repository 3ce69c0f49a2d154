WITH step AS (
	UPDATE onceward.records r SET
		phase = 2, kind = $3, given_up = false, outcome = $4, outcome_digest = $5,
		begun_at = clock_timestamp(),
		expires_at = clock_timestamp() + COALESCE(NULLIF($6::bigint, 0), retain) * interval '1 microsecond',
		due_at = LEAST(due_at, clock_timestamp() + COALESCE(NULLIF($6::bigint, 0), retain) * interval '1 microsecond'),
		actor = $7, reason = $8, trace_id = $9, node = $10
	WHERE id = $1 AND version = 1 AND phase = 1
		AND owner = $2 AND expires_at > clock_timestamp()
	RETURNING /*kept*/, 5 AS step
)/*told*/
SELECT 1 FROM step
