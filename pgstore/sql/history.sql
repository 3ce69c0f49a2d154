-- What is asked for is added below, so that an index of the trail can be used for it.
SELECT seq, at, id, step, attempt, fence, kind, key_tag, operation, key_hint, actor, reason, trace_id, node
FROM onceward.trail
WHERE seq > $1 AND ($2::bigint < 0 OR at > clock_timestamp() - $2::bigint * interval '1 microsecond')
