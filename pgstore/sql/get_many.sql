SELECT 1, /*row*/, r.outcome, r.outcome_digest, r.id
FROM onceward.records r
WHERE r.id = ANY($1::bytea[])
