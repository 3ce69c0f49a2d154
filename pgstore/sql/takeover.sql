-- Begins the next attempt of a key whose lease is over. What the first Acquire fixed stays, also its fingerprint.
WITH step AS (
	UPDATE onceward.records SET
		given_up = false, owner = $2, fence = fence + 1, attempt = attempt + 1,
		begun_at = clock_timestamp(),
		lease_until = clock_timestamp() + $3::bigint * interval '1 microsecond',
		expires_at = clock_timestamp() + $5::bigint * interval '1 microsecond',
		due_at = LEAST(due_at, clock_timestamp() + LEAST($4::bigint, $5) * interval '1 microsecond'),
		lease = $3, retain = $4, doubt_retain = $5,
		actor = $6, reason = $7, trace_id = $8, node = $9
	WHERE id = $1 AND version = 1 AND phase = 1
		AND owner = $10 AND fence = $11 AND attempt < max_attempts AND on_crash = 2
		AND (given_up OR lease_until <= clock_timestamp()) AND expires_at > clock_timestamp()
	RETURNING *, 2 AS step
)/*told*/
SELECT 2, /*row*/, r.outcome, r.outcome_digest
FROM step r
