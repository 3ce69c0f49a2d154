-- The audit trail, in partitions by day, which Sweep makes ahead and drops. Without the right to do so every entry is in the
-- one that takes the rest, and is deleted by row.
CREATE SEQUENCE onceward.trail_seq;

CREATE TABLE onceward.trail (
	seq       bigint      NOT NULL DEFAULT nextval('onceward.trail_seq'), -- the order in which the steps of a key happened
	at        timestamptz NOT NULL,
	id        bytea       NOT NULL,
	step      smallint    NOT NULL, -- 1 acquired, 2 taken over, 3 extended, 4 given up, 5 completed, 6 released, 7 resolved, 8 forced
	attempt   bigint      NOT NULL,
	fence     bigint      NOT NULL,
	kind      smallint    NOT NULL,
	key_tag   bytea       NOT NULL,
	operation bytea       NOT NULL,
	key_hint  bytea       NOT NULL,
	actor     bytea       NOT NULL,
	reason    bytea       NOT NULL,
	trace_id  bytea       NOT NULL,
	node      bytea       NOT NULL,
	PRIMARY KEY (seq, at)
) PARTITION BY RANGE (at);

CREATE TABLE onceward.trail_rest PARTITION OF onceward.trail DEFAULT;

CREATE INDEX trail_id ON onceward.trail (id, seq);
CREATE INDEX trail_key_tag ON onceward.trail (key_tag, seq);
CREATE INDEX trail_operation ON onceward.trail (operation, seq);
CREATE INDEX trail_at ON onceward.trail (at);

INSERT INTO onceward.migrations (version, name) VALUES (2, 'trail');
