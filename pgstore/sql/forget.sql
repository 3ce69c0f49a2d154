-- Entries that are over, of the whole trail, or of the partition that is never dropped.
DELETE FROM onceward./*trail*/
WHERE (seq, at) IN (
	SELECT seq, at FROM onceward./*trail*/
	WHERE at <= (SELECT clock_timestamp()) - $1::bigint * interval '1 microsecond'
	ORDER BY at
	LIMIT $2
)
