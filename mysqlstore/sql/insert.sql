INSERT INTO onceward_records SET
/*fields*/, id = ?
