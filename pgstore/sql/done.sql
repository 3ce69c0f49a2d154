-- The outcome of an attempt in a transaction, of a key of which nothing was known. Without a row this fails, so that the
-- COMMIT which is already on its way finds nothing to commit.
WITH step AS (
	INSERT INTO onceward.records AS r (
		id, version, phase, on_crash, kind, given_up, resolved, owner, fence, attempt, max_attempts,
		begun_at, lease_until, expires_at, due_at,
		lease, max_execution, retain, doubt_retain, fingerprint_algorithm, fingerprint_sum,
		key_tag, scope_tag, operation, key_hint, route, host, actor, reason, trace_id, node, outcome, outcome_digest)
	SELECT $1, 1, 2, $5, $23, false, false, $2, $21, $22, $6,
		t.now, t.now, t.now + $26::bigint * interval '1 microsecond',
		t.now + $26::bigint * interval '1 microsecond',
		$8, $7, $9, $10, $3, $4,
		$11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $24, $25
	FROM (SELECT clock_timestamp() AS now) t
	ON CONFLICT (id) DO NOTHING
	RETURNING /*kept*/, 5 AS step
)/*told*/
SELECT 1 / count(*) FROM step
