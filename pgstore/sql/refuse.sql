-- Release of nothing: the owner's Acquire may still be on its way. A fence that is remembered is not forgotten sooner.
INSERT INTO onceward.records AS r (
	id, version, phase, on_crash, kind, given_up, resolved, owner, fence, attempt, max_attempts,
	begun_at, lease_until, expires_at, due_at,
	lease, max_execution, retain, doubt_retain, fingerprint_algorithm, fingerprint_sum,
	key_tag, scope_tag, operation, key_hint, route, host, actor, reason, trace_id, node)
VALUES ($1, 1, 0, 1, 0, false, false, $2, 0, 0, 0,
	clock_timestamp(), clock_timestamp(), clock_timestamp() + interval '1 minute', clock_timestamp() + interval '1 minute',
	0, 0, 0, 0, '', '', '', '', '', '', '', '', '', '', '', '')
ON CONFLICT (id) DO UPDATE SET
	phase = 0, kind = 0, given_up = false, resolved = false, owner = $2, outcome = NULL, outcome_digest = NULL,
	expires_at = GREATEST(r.expires_at, clock_timestamp() + interval '1 minute')
WHERE r.version = 1 AND (r.phase = 0 OR r.expires_at <= clock_timestamp())
RETURNING 1
