UPDATE onceward_records SET
  phase = 2, kind = ?, outcome_digest = ?, outcome = ?, given_up = 0,
  actor = ?, reason = ?, trace_id = ?, node = ?,
  begun_at = UTC_TIMESTAMP(6),
  expires_at = UTC_TIMESTAMP(6) + INTERVAL IFNULL(?, retain) MICROSECOND
WHERE id = ? AND owner = ? AND phase = 1 AND version = 1 AND expires_at > UTC_TIMESTAMP(6)
