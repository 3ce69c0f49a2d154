DELETE r
FROM (/*ids*/) AS k STRAIGHT_JOIN onceward_records AS r FORCE INDEX (PRIMARY) ON r.id = k.id
