-- Entries that are over, of the partitions that cannot be dropped.
DELETE FROM onceward.trail
WHERE (seq, at) IN (
	SELECT seq, at FROM onceward.trail
	WHERE at <= (SELECT clock_timestamp()) - $1::bigint * interval '1 microsecond'
	ORDER BY at
	LIMIT $2
)
