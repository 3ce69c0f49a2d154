-- Takes those of the keys of which nothing is known. Whoever is not answered is told why by the statement for one.
WITH asked AS (
	SELECT * FROM unnest(
		$1::bytea[], $2::bytea[], $3::bytea[], $4::bytea[], $5::smallint[], $6::bigint[], $7::bigint[], $8::bigint[], $9::bigint[],
		$10::bigint[], $11::bytea[], $12::bytea[], $13::bytea[], $14::bytea[], $15::bytea[], $16::bytea[], $17::bytea[], $18::bytea[],
		$19::bytea[], $20::bytea[], $21::bigint[]
	) AS a (
		id, owner, algorithm, sum, on_crash, max_attempts, max_execution, lease, retain,
		doubt_retain, key_tag, scope_tag, operation, key_hint, route, host, actor, reason,
		trace_id, node, number)
), step AS (
	INSERT INTO onceward.records AS r (
		id, version, phase, on_crash, kind, given_up, resolved, owner, fence, attempt, max_attempts,
		begun_at, lease_until, expires_at, due_at,
		lease, max_execution, retain, doubt_retain, fingerprint_algorithm, fingerprint_sum,
		key_tag, scope_tag, operation, key_hint, route, host, actor, reason, trace_id, node)
	SELECT a.id, 1, 1, a.on_crash, 0, false, false, a.owner, 1, 1, a.max_attempts,
		t.now, t.now + a.lease * interval '1 microsecond', t.now + a.doubt_retain * interval '1 microsecond',
		t.now + LEAST(a.retain, a.doubt_retain) * interval '1 microsecond',
		a.lease, a.max_execution, a.retain, a.doubt_retain, a.algorithm, a.sum,
		a.key_tag, a.scope_tag, a.operation, a.key_hint, a.route, a.host, a.actor, a.reason, a.trace_id, a.node
	FROM asked a, (SELECT clock_timestamp() AS now) t
	WHERE pg_try_advisory_xact_lock_shared(a.number)
	ORDER BY a.id
	ON CONFLICT (id) DO NOTHING
	RETURNING /*kept*/, 1 AS step
)/*told*/
SELECT id FROM step
