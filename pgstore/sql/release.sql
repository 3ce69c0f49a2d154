-- Leaves a residue, which lasts for two leases and at least a minute. The labels stay for the trail.
WITH step AS (
	UPDATE onceward.records r SET
		phase = 0, given_up = false,
		expires_at = clock_timestamp() + GREATEST(60000000, lease + lease) * interval '1 microsecond',
		due_at = LEAST(due_at, clock_timestamp() + GREATEST(60000000, lease + lease) * interval '1 microsecond'),
		actor = $3, reason = $4, trace_id = $5, node = $6
	WHERE id = $1 AND version = 1 AND phase = 1
		AND owner = $2 AND expires_at > clock_timestamp()
	RETURNING /*kept*/, 6 AS step
)/*told*/
SELECT 1 FROM step
