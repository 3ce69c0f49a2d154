SELECT seq, TIMESTAMPDIFF(MICROSECOND, TIMESTAMP '1970-01-01 00:00:00', at), id, version, step, attempt, fence, kind,
  key_tag, operation, key_hint, actor, reason, trace_id, node
FROM onceward_trail
WHERE seq > ?
