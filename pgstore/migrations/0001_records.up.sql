-- One row per key. Whatever a caller sends is bytea, because a text has a collation and an encoding, and neither may decide
-- which keys are the same. Durations are microseconds; instants are by the server's clock, and only it compares them.
CREATE SCHEMA IF NOT EXISTS onceward;

CREATE TABLE IF NOT EXISTS onceward.migrations (
	version    integer     PRIMARY KEY,
	name       text        NOT NULL,
	applied_at timestamptz NOT NULL DEFAULT clock_timestamp()
);

CREATE TABLE onceward.records (
	id                    bytea       PRIMARY KEY,
	version               smallint    NOT NULL, -- of this encoding; rows of another one are not touched
	phase                 smallint    NOT NULL, -- 0 residue of a released key, 1 running, 2 done
	on_crash              smallint    NOT NULL, -- 1 hold, 2 rerun
	kind                  smallint    NOT NULL, -- 0 none, 1 answer, 2 tombstone
	given_up              boolean     NOT NULL, -- the owner gave its lease up
	resolved              boolean     NOT NULL, -- ended by an operator, so that the outcome is no owner's
	owner                 bytea       NOT NULL, -- proves ownership: shown to nobody
	fence                 bigint      NOT NULL,
	attempt               bigint      NOT NULL,
	max_attempts          bigint      NOT NULL,
	begun_at              timestamptz NOT NULL, -- when the attempt began, or when it was done
	lease_until           timestamptz NOT NULL,
	expires_at            timestamptz NOT NULL, -- absent from then on, swept or not
	due_at                timestamptz NOT NULL, -- when sweeping looks at it, no later than that
	lease                 bigint      NOT NULL, -- its length, for the residue
	max_execution         bigint      NOT NULL,
	retain                bigint      NOT NULL,
	doubt_retain          bigint      NOT NULL,
	fingerprint_algorithm bytea       NOT NULL,
	fingerprint_sum       bytea       NOT NULL,
	key_tag               bytea       NOT NULL,
	scope_tag             bytea       NOT NULL,
	operation             bytea       NOT NULL,
	key_hint              bytea       NOT NULL,
	route                 bytea       NOT NULL,
	host                  bytea       NOT NULL,
	actor                 bytea       NOT NULL, -- this and the rest: the note of the last transition
	reason                bytea       NOT NULL,
	trace_id              bytea       NOT NULL,
	node                  bytea       NOT NULL,
	outcome               bytea,
	outcome_digest        bytea -- the first 8 bytes of its SHA-256
) WITH (fillfactor = 50);

-- Every step moves expires_at, and few of them move due_at. The others touch no index, as long as the page has room for the new
-- row beside the old one.
CREATE INDEX records_due_at ON onceward.records (due_at);

-- For people. Bytes that are no ASCII are shown as octal numbers.
CREATE VIEW onceward.keys AS
SELECT
	encode(id, 'hex') AS id,
	CASE
		WHEN phase = 2 THEN 'done'
		WHEN NOT given_up AND lease_until > clock_timestamp() OR on_crash = 2 AND attempt < max_attempts THEN 'running'
		ELSE 'in-doubt'
	END AS state,
	encode(operation, 'escape') AS operation,
	encode(key_hint, 'escape') AS key_hint,
	encode(key_tag, 'hex') AS key_tag,
	encode(scope_tag, 'hex') AS scope_tag,
	encode(route, 'escape') AS route,
	encode(host, 'escape') AS host,
	CASE on_crash WHEN 1 THEN 'hold' WHEN 2 THEN 'rerun' END AS on_crash,
	CASE kind WHEN 1 THEN 'answer' WHEN 2 THEN 'tombstone' END AS kind,
	fence, attempt, max_attempts, given_up, begun_at, lease_until, expires_at,
	encode(actor, 'escape') AS actor,
	encode(reason, 'escape') AS reason,
	encode(trace_id, 'escape') AS trace_id,
	encode(node, 'escape') AS node
FROM onceward.records
WHERE phase <> 0 AND expires_at > clock_timestamp();

INSERT INTO onceward.migrations (version, name) VALUES (1, 'records');
