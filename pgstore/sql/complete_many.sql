-- Stores those of the outcomes whose record runs and is their owner's. Whoever is not answered is told why by the statement for
-- one.
--
-- Of so narrow a range PostgreSQL expects a single row, and looks records up by the index. Of an array it expects ten, would read
-- the whole table as long as that is small, and keep to this plan while the table grows.
WITH step AS (
	UPDATE onceward.records r SET
		phase = 2, kind = a.kind, given_up = false, outcome = a.outcome, outcome_digest = a.digest,
		begun_at = clock_timestamp(),
		expires_at = clock_timestamp() + COALESCE(NULLIF(a.retain, 0), r.retain) * interval '1 microsecond',
		due_at = LEAST(r.due_at, clock_timestamp() + COALESCE(NULLIF(a.retain, 0), r.retain) * interval '1 microsecond'),
		actor = a.actor, reason = a.reason, trace_id = a.trace_id, node = a.node
	FROM unnest(
		$1::bytea[], $2::bytea[], $3::smallint[], $4::bytea[], $5::bytea[], $6::bigint[], $7::bytea[], $8::bytea[], $9::bytea[], $10::bytea[]
	) AS a (id, owner, kind, outcome, digest, retain, actor, reason, trace_id, node)
	WHERE a.kind BETWEEN 1 AND 2 AND r.id = a.id AND r.version = 1 AND r.phase = 1
		AND r.owner = a.owner AND r.expires_at > clock_timestamp()
	RETURNING /*kept*/, 5 AS step
)/*told*/
SELECT id FROM step
