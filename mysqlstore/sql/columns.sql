  id, version, phase, owner, fence, attempt, max_attempts, on_crash, given_up, resolved,
  TIMESTAMPDIFF(MICROSECOND, TIMESTAMP '1970-01-01 00:00:00', begun_at),
  TIMESTAMPDIFF(MICROSECOND, begun_at, UTC_TIMESTAMP(6)),
  TIMESTAMPDIFF(MICROSECOND, UTC_TIMESTAMP(6), lease_until),
  TIMESTAMPDIFF(MICROSECOND, UTC_TIMESTAMP(6), expires_at),
  lease, max_execution, retain, doubt_retain,
  kind, key_tag, scope_tag, fingerprint_algorithm, fingerprint_sum,
  operation, key_hint, route, host, actor, reason, trace_id, node
