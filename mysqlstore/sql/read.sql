SELECT /*columns*/, outcome_digest, outcome
FROM onceward_records WHERE id = ?
