UPDATE onceward_records SET
/*fields*/
WHERE id = ?
