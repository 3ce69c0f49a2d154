SELECT 1, /*row*/, r.outcome, r.outcome_digest
FROM onceward.records r
WHERE r.id = $1
