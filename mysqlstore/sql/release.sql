UPDATE onceward_records SET
  phase = 0,
  expires_at = UTC_TIMESTAMP(6) + INTERVAL GREATEST(60000000, 2 * lease) MICROSECOND -- driver.MinResidue
WHERE id = ? AND owner = ? AND phase = 1 AND version = 1 AND expires_at > UTC_TIMESTAMP(6)
