-- Stands after a statement's CTE named step where an audit trail is kept: the entry is in the same statement as the transition.
, told AS (
	INSERT INTO onceward.trail
		(at, id, step, attempt, fence, kind, key_tag, operation, key_hint, actor, reason, trace_id, node)
	SELECT clock_timestamp(), id, step, attempt, fence, CASE WHEN phase = 2 THEN kind ELSE 0 END,
		key_tag, operation, key_hint, actor, reason, trace_id, node
	FROM step
	WHERE step > 0
)
