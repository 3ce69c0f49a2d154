SELECT id, fence FROM onceward.records
WHERE id = ANY($1::bytea[]) AND phase = 1 AND NOT given_up
	AND lease_until > clock_timestamp() AND expires_at > clock_timestamp()
