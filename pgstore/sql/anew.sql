-- Takes a key of which only a trace is left: a record that is over, or the residue of a released one.
WITH step AS (
	UPDATE onceward.records SET
		phase = 1, on_crash = $5, kind = 0, given_up = false, resolved = false,
		owner = $2, fence = fence + 1, attempt = 1, max_attempts = $6,
		begun_at = clock_timestamp(),
		lease_until = clock_timestamp() + $8::bigint * interval '1 microsecond',
		expires_at = clock_timestamp() + $10::bigint * interval '1 microsecond',
		due_at = clock_timestamp() + LEAST($9::bigint, $10) * interval '1 microsecond',
		lease = $8, max_execution = $7, retain = $9, doubt_retain = $10,
		fingerprint_algorithm = $3, fingerprint_sum = $4,
		key_tag = $11, scope_tag = $12, operation = $13, key_hint = $14, route = $15, host = $16,
		actor = $17, reason = $18, trace_id = $19, node = $20,
		outcome = NULL, outcome_digest = NULL
	WHERE id = $1 AND version = 1
		AND owner = $21 AND fence = $22 AND phase = $23
		AND (phase = 0 OR expires_at <= clock_timestamp())
	RETURNING *, 1 AS step
)/*told*/
SELECT 2, /*row*/, r.outcome, r.outcome_digest
FROM step r
