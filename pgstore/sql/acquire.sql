-- A key that is known is read, one that is not is taken. Nothing is written for the former, not even a lock.
--
-- Whoever holds a key in a transaction of its own has locked its number, and must not be waited for: the insert would wait for
-- the end of that transaction. Two statements of this kind may meet, and then the index decides.
WITH seen AS (
	SELECT * FROM onceward.records WHERE id = $1
), step AS (
	INSERT INTO onceward.records (
		id, version, phase, on_crash, kind, given_up, resolved, owner, fence, attempt, max_attempts,
		begun_at, lease_until, expires_at, due_at,
		lease, max_execution, retain, doubt_retain, fingerprint_algorithm, fingerprint_sum,
		key_tag, scope_tag, operation, key_hint, route, host, actor, reason, trace_id, node)
	SELECT $1, 1, 1, $5, 0, false, false, $2, 1, 1, $6,
		t.now, t.now + $8::bigint * interval '1 microsecond', t.now + $10::bigint * interval '1 microsecond',
		t.now + LEAST($9::bigint, $10) * interval '1 microsecond',
		$8, $7, $9, $10, $3, $4,
		$11, $12, $13, $14, $15, $16, $17, $18, $19, $20
	FROM (SELECT clock_timestamp() AS now) t
	WHERE NOT EXISTS (SELECT FROM seen) AND pg_try_advisory_xact_lock_shared($21)
	ON CONFLICT (id) DO NOTHING
	RETURNING *, 1 AS step
)/*told*/
SELECT 1, /*row*/, r.outcome, r.outcome_digest FROM seen r
UNION ALL
SELECT 2, /*row*/, r.outcome, r.outcome_digest FROM step r
