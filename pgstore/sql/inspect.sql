SELECT
	split_part(current_setting('server_version'), ' ', 1),
	current_setting('server_version_num')::bigint,
	pg_is_in_recovery(),
	current_setting('transaction_read_only'),
	current_setting('fsync'),
	current_setting('full_page_writes'),
	current_setting('synchronous_commit'),
	current_setting('synchronous_standby_names'),
	COALESCE((
		SELECT pg_has_role(t.relowner, 'USAGE') AND has_schema_privilege(n.oid, 'CREATE')
		FROM pg_class t JOIN pg_namespace n ON n.oid = t.relnamespace
		WHERE n.nspname = $1::text AND t.relname = 'trail'), false)
