-- Ends a doubt by making the key free again, or any record if it is forced.
WITH step AS (
	UPDATE onceward.records SET
		phase = 0, kind = 0, given_up = false, resolved = false, outcome = NULL, outcome_digest = NULL,
		fence = fence + CASE WHEN $3 THEN 1 ELSE 0 END,
		expires_at = clock_timestamp() + GREATEST(60000000, lease + lease) * interval '1 microsecond',
		due_at = LEAST(due_at, clock_timestamp() + GREATEST(60000000, lease + lease) * interval '1 microsecond'),
		actor = $4, reason = $5, trace_id = $6, node = $7
	WHERE id = $1 AND version = 1 AND phase <> 0
		AND fence = $2 AND expires_at > clock_timestamp()
		AND ($3 OR phase = 1 AND (given_up OR lease_until <= clock_timestamp())
			AND NOT (on_crash = 2 AND attempt < max_attempts))
	RETURNING *, CASE WHEN $3 THEN 8 ELSE 7 END AS step
)/*told*/
SELECT 1 FROM step
