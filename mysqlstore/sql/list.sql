SELECT /*columns*/
FROM onceward_records
WHERE id > ? AND phase > 0 AND expires_at > UTC_TIMESTAMP(6)
