-- What a statement answers of the row r, before its outcome.
r.version, r.phase, r.on_crash, r.kind, r.given_up, r.resolved, r.owner,
r.fence, r.attempt, r.max_attempts, r.max_execution,
clock_timestamp(), r.begun_at, r.lease_until, r.expires_at,
r.fingerprint_algorithm, r.fingerprint_sum, r.key_tag, r.scope_tag, r.operation, r.key_hint, r.route, r.host,
r.actor, r.reason, r.trace_id, r.node
