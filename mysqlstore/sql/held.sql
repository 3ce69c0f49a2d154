SELECT id, fence FROM onceward_records
WHERE phase = 1 AND given_up = 0 AND lease_until > UTC_TIMESTAMP(6) AND expires_at > UTC_TIMESTAMP(6) AND id IN
