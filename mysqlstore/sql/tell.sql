INSERT INTO onceward_trail
  (at, version, id, step, attempt, fence, kind, key_tag, operation, key_hint, actor, reason, trace_id, node)
VALUES (UTC_TIMESTAMP(6), 1, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
