UPDATE onceward_records SET
  lease_until = lease_until + INTERVAL 1 MICROSECOND -- of a done record it means nothing; what changes nothing is not logged
WHERE id = ? AND owner = ? AND fence = ? AND phase = 2 AND version = 1
