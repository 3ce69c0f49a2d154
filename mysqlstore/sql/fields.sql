  version = ?, phase = ?, owner = ?, fence = ?, attempt = ?, max_attempts = ?, on_crash = ?, given_up = ?, resolved = ?,
  begun_at = IFNULL(TIMESTAMP '1970-01-01 00:00:00' + INTERVAL ? MICROSECOND, UTC_TIMESTAMP(6)),
  lease_until = UTC_TIMESTAMP(6) + INTERVAL ? MICROSECOND,
  expires_at = UTC_TIMESTAMP(6) + INTERVAL ? MICROSECOND,
  lease = ?, max_execution = ?, retain = ?, doubt_retain = ?,
  kind = ?, key_tag = ?, scope_tag = ?, fingerprint_algorithm = ?, fingerprint_sum = ?,
  operation = ?, key_hint = ?, route = ?, host = ?, actor = ?, reason = ?, trace_id = ?, node = ?,
  outcome_digest = ?, outcome = ?
