-- Promise: a stream that an older version made is refused by name, and meter.upgrade_stream() brings it to the shape of this version:
-- afterwards its tables are those of a new stream, and logs, ledger and grants are what they were.
SET timezone = 'UTC';
SET datestyle = 'ISO';
SET meter.now = '2024-03-05 12:00';
SELECT meter.create_stream(s) FROM unnest('{upgrade_old,upgrade_new}'::text[]) s;
SELECT meter.create_meter('upgrade_old', 'vm', starts => '{start}', stops => '{stop}', lateness => '0', since => '2024-03-05 10:00');
INSERT INTO upgrade_old.event ("time", resource, account, action) VALUES ('2024-03-05 10:15', 'a', 'x', 'start'), ('2024-03-05 11:50', 'a', NULL, 'stop'), ('2024-03-05 11:55', 'b', 'x', 'start');
SELECT usage_rows FROM meter.advance('upgrade_old');
CREATE ROLE upgrade_analyst;
GRANT SELECT ON upgrade_old.usage, upgrade_old.current_usage TO upgrade_analyst;
-- What a stream is made of, with what its months and segments have.
CREATE VIEW upgrade_shape AS
SELECT n.nspname AS stream, k.kind, replace(k.what, n.nspname, 'STREAM') AS what FROM pg_namespace n, LATERAL (
	SELECT 'column', c.relname || '.' || a.attname || ' ' || format_type(a.atttypid, a.atttypmod) || CASE WHEN attnotnull THEN ' not null' ELSE '' END
			|| coalesce(' default ' || pg_get_expr(d.adbin, d.adrelid), '') || coalesce(' ' || col_description(c.oid, a.attnum), '')
		FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped AND c.relkind IN ('r', 'p', 'v') LEFT JOIN pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum WHERE c.relnamespace = n.oid
	UNION ALL SELECT 'index', c.relname || ' ' || pg_get_indexdef(c.oid) FROM pg_class c WHERE c.relnamespace = n.oid AND c.relkind IN ('i', 'I')
	UNION ALL SELECT 'constraint', conrelid::regclass || ' ' || pg_get_constraintdef(oid) FROM pg_constraint WHERE connamespace = n.oid
	UNION ALL SELECT 'trigger', pg_get_triggerdef(t.oid) FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid WHERE c.relnamespace = n.oid AND NOT tgisinternal
	UNION ALL SELECT 'view', c.relname || ' ' || pg_get_viewdef(c.oid) FROM pg_class c WHERE c.relnamespace = n.oid AND c.relkind = 'v'
	UNION ALL SELECT 'function', p.proname || ' ' || p.prosrc FROM pg_proc p WHERE p.pronamespace = n.oid
	UNION ALL SELECT 'table', c.relname || ' ' || coalesce(array_to_string(c.reloptions, ' '), '') || coalesce(obj_description(c.oid, 'pg_class'), '') FROM pg_class c WHERE c.relnamespace = n.oid AND c.relkind IN ('r', 'p', 'v')) k (kind, what)
WHERE n.nspname IN ('upgrade_old', 'upgrade_new') AND k.what !~ '_usage_2024|_usage_202';
CREATE VIEW upgrade_differences AS
SELECT CASE WHEN n.what IS NULL THEN 'too much' ELSE 'missing' END AS is, kind, what FROM (SELECT kind, what FROM upgrade_shape WHERE stream = 'upgrade_old') o FULL JOIN (SELECT kind, what FROM upgrade_shape WHERE stream = 'upgrade_new') n USING (kind, what)
WHERE o.what IS NULL OR n.what IS NULL ORDER BY 2, 3;
SELECT count(*) FROM upgrade_differences;

-- A stream as an older version might have made it: without a table, columns, an index, guards, a comment, and with another view.
SELECT meter.upgrade_stream('upgrade_old');
UPDATE meter.stream SET shape = 0 WHERE name = 'upgrade_old';
DROP TABLE upgrade_old._detached;
ALTER TABLE upgrade_old.settlement DROP COLUMN detached_rows, DROP COLUMN last_transaction_id;
DROP INDEX upgrade_old.usage_recorded_at;
DROP TRIGGER guard_truncate ON upgrade_old.held;
DROP TRIGGER guard_ledger ON upgrade_old._usage_2024_03;
COMMENT ON TABLE upgrade_old.held IS NULL;
DROP VIEW upgrade_old.source_quality;
CREATE OR REPLACE FUNCTION upgrade_old.guard_ledger() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN RAISE EXCEPTION 'no'; END$$;
SELECT count(*) > 5 FROM upgrade_differences;
CREATE TABLE upgrade_before AS SELECT 'event' AS t, e::text AS row FROM upgrade_old.event e UNION ALL SELECT 'usage', u::text FROM upgrade_old.usage u UNION ALL SELECT 'total', u::text FROM upgrade_old.account_usage u;
-- Nothing works on it; events are logged.
INSERT INTO upgrade_old.event ("time", resource, action) VALUES ('2024-03-05 12:30', 'b', 'stop');
SET meter.now = '2024-03-05 13:00';
SELECT usage_rows FROM meter.advance('upgrade_old');
SELECT * FROM meter.verify('upgrade_old');
SELECT meter.resume('upgrade_old');
-- Only its owner upgrades it.
SET ROLE upgrade_analyst;
SELECT meter.upgrade_stream('upgrade_old');
RESET ROLE;
SELECT meter.upgrade_stream('upgrade_old');
SELECT shape = (SELECT shape FROM meter.stream WHERE name = 'upgrade_new') AS is_new FROM meter.stream WHERE name = 'upgrade_old';
TABLE upgrade_differences;
SELECT string_agg(tgname, ' ' ORDER BY tgname) FROM pg_trigger WHERE tgrelid = 'upgrade_old._usage_2024_03'::regclass;
SELECT count(*) FROM (TABLE upgrade_before EXCEPT ALL (SELECT 'event' AS t, e::text FROM upgrade_old.event e UNION ALL SELECT 'usage', u::text FROM upgrade_old.usage u UNION ALL SELECT 'total', u::text FROM upgrade_old.account_usage u)) lost;
SELECT has_table_privilege('upgrade_analyst', 'upgrade_old.usage', 'SELECT'), has_table_privilege('upgrade_analyst', 'upgrade_old.current_usage', 'SELECT');
SELECT usage_rows FROM meter.advance('upgrade_old');
SELECT resource, period_start, quantity FROM upgrade_old.usage ORDER BY 2, 1;
SELECT * FROM meter.verify('upgrade_old');
SELECT meter.upgrade_stream('upgrade_old');

-- One that a newer version made, as after going back to an older one, is left alone.
UPDATE meter.stream SET shape = 1000 WHERE name = 'upgrade_old';
SELECT usage_rows FROM meter.advance('upgrade_old');
\set VERBOSITY terse
SELECT meter.upgrade_stream('upgrade_old');
SELECT meter.upgrade_stream('nowhere');
UPDATE meter.stream s SET shape = n.shape FROM meter.stream n WHERE s.name = 'upgrade_old' AND n.name = 'upgrade_new';
SET client_min_messages = warning;
DROP VIEW upgrade_differences, upgrade_shape;
DROP TABLE upgrade_before;
SELECT meter.drop_stream(s, delete_data => true) FROM unnest('{upgrade_old,upgrade_new}'::text[]) s;
DROP ROLE upgrade_analyst;
