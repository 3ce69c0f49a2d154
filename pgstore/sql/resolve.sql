-- Ends a doubt with an outcome, or any record if it is forced.
WITH step AS (
	UPDATE onceward.records SET
		phase = 2, kind = $4, given_up = false, resolved = true, outcome = $5, outcome_digest = $6,
		fence = fence + CASE WHEN $3 THEN 1 ELSE 0 END,
		begun_at = clock_timestamp(),
		expires_at = clock_timestamp() + COALESCE(NULLIF($7::bigint, 0), retain) * interval '1 microsecond',
		due_at = LEAST(due_at, clock_timestamp() + COALESCE(NULLIF($7::bigint, 0), retain) * interval '1 microsecond'),
		actor = $8, reason = $9, trace_id = $10, node = $11
	WHERE id = $1 AND version = 1 AND phase <> 0
		AND fence = $2 AND expires_at > clock_timestamp()
		AND ($3 OR phase = 1 AND (given_up OR lease_until <= clock_timestamp())
			AND NOT (on_crash = 2 AND attempt < max_attempts))
	RETURNING *, CASE WHEN $3 THEN 8 ELSE 7 END AS step
)/*told*/
SELECT 1 FROM step
