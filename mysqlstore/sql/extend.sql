UPDATE onceward_records SET
  lease = IFNULL(?, lease), -- the old length stays when the lease is given up, for the residue
  lease_until = UTC_TIMESTAMP(6) + INTERVAL ? MICROSECOND,
  given_up = ?,
  expires_at = UTC_TIMESTAMP(6) + INTERVAL doubt_retain MICROSECOND,
  actor = ?, reason = ?, trace_id = ?, node = ?
WHERE id = ? AND owner = ? AND phase = 1 AND version = 1 AND expires_at > UTC_TIMESTAMP(6)
