-- OFFSET keeps the planner from joining, for which it would read the whole table as long as that is small, and keep to this plan
-- while the table grows.
SELECT 1, /*row*/, r.outcome, r.outcome_digest, r.id
FROM unnest($1::bytea[]) AS a (id), LATERAL (SELECT * FROM onceward.records WHERE id = a.id OFFSET 0) r
