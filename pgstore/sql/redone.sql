-- As done, of a key of which there was something: a record that is over, a residue, or an attempt that may be followed by
-- another. It must be as it was seen. What matched the fingerprint of the first attempt still does.
WITH step AS (
	UPDATE onceward.records r SET
		phase = 2, on_crash = $5, kind = $23, given_up = false, resolved = false,
		owner = $2, fence = $21, attempt = $22, max_attempts = $6,
		begun_at = clock_timestamp(), lease_until = clock_timestamp(),
		expires_at = clock_timestamp() + $26::bigint * interval '1 microsecond',
		due_at = clock_timestamp() + $26::bigint * interval '1 microsecond',
		lease = $8, max_execution = $7, retain = $9, doubt_retain = $10,
		fingerprint_algorithm = CASE WHEN $30 THEN fingerprint_algorithm ELSE $3 END,
		fingerprint_sum = CASE WHEN $30 THEN fingerprint_sum ELSE $4 END,
		key_tag = $11, scope_tag = $12, operation = $13, key_hint = $14, route = $15, host = $16,
		actor = $17, reason = $18, trace_id = $19, node = $20,
		outcome = $24, outcome_digest = $25
	WHERE id = $1 AND version = 1
		AND owner = $27 AND fence = $28 AND phase = $29
		AND (phase = 0 OR expires_at <= clock_timestamp() OR phase = 1 AND (given_up OR lease_until <= clock_timestamp()))
	RETURNING /*kept*/, 5 AS step
)/*told*/
SELECT 1 / count(*) FROM step
