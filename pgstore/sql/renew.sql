-- An Acquire that its running owner repeats, because the first answer may have been lost.
WITH step AS (
	UPDATE onceward.records r SET
		given_up = false,
		lease_until = clock_timestamp() + $3::bigint * interval '1 microsecond',
		expires_at = clock_timestamp() + $5::bigint * interval '1 microsecond',
		due_at = LEAST(due_at, clock_timestamp() + LEAST($4::bigint, $5) * interval '1 microsecond'),
		lease = $3, retain = $4, doubt_retain = $5,
		actor = $6, reason = $7, trace_id = $8, node = $9
	WHERE id = $1 AND version = 1 AND phase = 1
		AND owner = $2 AND fence = $10 AND given_up = $11 AND expires_at > clock_timestamp()
	RETURNING *, CASE WHEN $11 OR $12 THEN 3 ELSE 0 END AS step
)/*told*/
SELECT 2, /*row*/, r.outcome, r.outcome_digest
FROM step r
