SELECT id FROM onceward_records FORCE INDEX (PRIMARY)
WHERE expires_at <= UTC_TIMESTAMP(6) AND version = 1 AND id IN
