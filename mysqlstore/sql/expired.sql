SELECT id FROM onceward_records WHERE expires_at <= UTC_TIMESTAMP(6) AND version = 1 ORDER BY expires_at LIMIT ? OFFSET ?
