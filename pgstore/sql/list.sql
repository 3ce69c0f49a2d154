-- Records without their outcome, in the order of ids, which is stable. The state is derived as for a single record.
SELECT 1, /*row*/, NULL::bytea, NULL::bytea, r.id
FROM (SELECT clock_timestamp() AS now) t, onceward.records r
WHERE r.id > $1 AND r.phase <> 0 AND r.expires_at > t.now
	AND ($2::bytea IS NULL OR r.key_tag = $2) AND ($3::bytea = '' OR r.operation = $3)
	AND CASE $4::text
		WHEN 'done' THEN r.phase = 2
		WHEN 'running' THEN r.phase = 1 AND (NOT r.given_up AND r.lease_until > t.now OR r.on_crash = 2 AND r.attempt < r.max_attempts)
		WHEN 'in-doubt' THEN r.phase = 1 AND NOT (NOT r.given_up AND r.lease_until > t.now OR r.on_crash = 2 AND r.attempt < r.max_attempts)
		ELSE true
	END
ORDER BY r.id
LIMIT $5
