DELETE FROM onceward_records WHERE expires_at <= UTC_TIMESTAMP(6) AND version = 1 AND id IN
