-- Looked up one by one, as in get_many.
SELECT r.id, r.fence
FROM unnest($1::bytea[]) AS a (id), LATERAL (SELECT * FROM onceward.records WHERE id = a.id OFFSET 0) r
WHERE r.phase = 1 AND NOT r.given_up AND r.lease_until > clock_timestamp() AND r.expires_at > clock_timestamp()
