-- Promise: what a later stage could not carry is refused where it enters, by every path, with its column, limit and size; what is at a limit is billed.
SET timezone = 'UTC';
SET datestyle = 'ISO';
\pset null null
\pset format unaligned
\set SHOW_CONTEXT never
SELECT meter.create_stream('limits_cloud');
SELECT meter.create_meter('limits_cloud', 'vm', aggregate => 'weighted', starts => '{start}', stops => '{stop}', dimensions => '{offering,entity,note}', clock => 'event', lateness => '0', since => '2024-03-05 10:00');
SELECT meter.create_meter('limits_cloud', 'net', aggregate => 'sum', dimensions => '{entity,note}', clock => 'event', lateness => '0', since => '2024-03-05 10:00');
SELECT meter.create_meter('limits_cloud', 'count', aggregate => 'counter', dimensions => '{note}', clock => 'event', lateness => '0', since => '2024-03-05 10:00');
CREATE ROLE regress_limits_producer;
GRANT USAGE ON SCHEMA limits_cloud TO regress_limits_producer;
GRANT INSERT (source, id, "time", resource, account, entity, action, offering, value, attributes) ON limits_cloud.event TO regress_limits_producer;
GRANT INSERT (source, id, start_time, end_time, resource, account, entity, value, attributes) ON limits_cloud.measure TO regress_limits_producer;
GRANT INSERT ON limits_cloud.inventory, limits_cloud.inbox TO regress_limits_producer;
-- Messages as a producer makes them: pg_temp.batch, pg_temp.delimited, pg_temp.measure.
\getenv srcdir PG_ABS_SRCDIR
\set protobuf :srcdir '/test/protobuf.sql'
\set ECHO none
\i :protobuf
\set ECHO all

-- Try to insert a row that has a value in one column, and what is needed in the others; as a role that may only insert.
CREATE FUNCTION pg_temp.try(path text, col text, val text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	defaults jsonb := CASE path WHEN 'measure' THEN '{"start_time":"2024-03-05 10:00Z","end_time":"2024-03-05 10:30Z","resource":"vm-1"}'
		WHEN 'inventory' THEN '{"source":"s","at":"2024-03-05 10:00Z","resource":"vm-1"}'
		ELSE '{"time":"2024-03-05T10:00:00Z","resource":"vm-1","action":"start"}' END;
	given jsonb := defaults || jsonb_build_object(col, CASE WHEN col IN ('attributes', 'value') AND val NOT IN ('NaN', 'Infinity', '-Infinity') THEN val::jsonb ELSE to_jsonb(val) END);
	names text := (SELECT string_agg(quote_ident(k), ', ') FROM jsonb_object_keys(given) k);
	reason text;
BEGIN
	SET LOCAL ROLE regress_limits_producer;
	IF path IN ('event', 'measure', 'inventory') THEN
		EXECUTE format('INSERT INTO limits_cloud.%1$I (%2$s) SELECT %2$s FROM jsonb_populate_record(NULL::limits_cloud.%1$I, $1)', path, names)
			USING given;
	ELSIF path = 'inbox' THEN
		INSERT INTO limits_cloud.inbox VALUES (given::text::meter.event);
	ELSIF path = 'ingest' THEN
		PERFORM meter.ingest('limits_cloud', given::text::meter.event);
	ELSE
		PERFORM meter.ingest_protobuf('limits_cloud', '\x0a' || pg_temp.delimited(meter.event_to_protobuf(given::text::meter.event)));
	END IF;
	RESET ROLE;
	RETURN 'accepted';
EXCEPTION WHEN OTHERS THEN
	RESET ROLE;
	GET STACKED DIAGNOSTICS reason = PG_EXCEPTION_DETAIL;
	RETURN sqlstate || ' ' || sqlerrm || CASE WHEN reason = '' THEN '' ELSE ' (' || left(reason, 150) || ')' END;
END $$;

-- Texts: at the limit, and a byte more. A character of two bytes counts two.
CREATE TEMP TABLE texts AS SELECT * FROM (VALUES ('event', 'resource', 1000), ('event', 'account', 1000), ('event', 'id', 1000), ('event', 'source', 255), ('event', 'entity', 255), ('event', 'action', 255), ('event', 'offering', 255),
	('measure', 'resource', 1000), ('measure', 'account', 1000), ('measure', 'id', 1000), ('measure', 'source', 255), ('measure', 'entity', 255),
	('inventory', 'resource', 1000), ('inventory', 'account', 1000), ('inventory', 'source', 255), ('inventory', 'entity', 255), ('inventory', 'offering', 255), ('inventory', 'meter', 255)) t (tab, col, bytes);
CREATE TEMP VIEW paths AS SELECT tab, col, bytes, path FROM texts CROSS JOIN LATERAL unnest(CASE tab WHEN 'event' THEN '{event,inbox,ingest,protobuf}' ELSE ARRAY[tab] END) path;
SELECT path, col, pg_temp.try(path, col, repeat('x', bytes)) AS at_limit, pg_temp.try(path, col, repeat('x', bytes - 1) || 'é') AS beyond FROM paths ORDER BY tab, col, path;
SELECT path, col, pg_temp.try(path, col, repeat('x', 3 * 1000 * 1000)) AS megabytes FROM paths WHERE col IN ('resource', 'offering') ORDER BY tab, col, path;
-- An empty resource or action is none.
SELECT path, col, pg_temp.try(path, col, '') AS empty FROM paths WHERE col IN ('resource', 'action') ORDER BY tab, col, path;

-- Values, times and attributes.
SELECT path, col, CASE WHEN length(val) > 40 THEN left(val, 20) || '... of ' || length(val) ELSE val END AS value, pg_temp.try(path, col, val) AS outcome
FROM (VALUES ('value', repeat('9', 100)), ('value', '-' || repeat('9', 100)), ('value', '1e100'), ('value', '-1e100'), ('value', '9e131071'), ('value', '1e-100'), ('value', '1e-101'), ('value', '1e-16383'),
	('value', 'NaN'), ('value', 'Infinity'), ('value', '-Infinity'),
	('attributes', '[]'), ('attributes', '1'), ('attributes', '"{}"'), ('attributes', '{}'),
	('attributes', jsonb_build_object('note', repeat('x', 65536 - 24))::text), ('attributes', jsonb_build_object('note', repeat('x', 65536))::text)) v (col, val)
CROSS JOIN unnest('{event,inbox,ingest,protobuf,measure,inventory}'::text[]) WITH ORDINALITY path (path, n) ORDER BY col, val COLLATE "C", n;
SELECT path, col, val, pg_temp.try(path, col, val) AS outcome
FROM (VALUES ('0001-01-01 00:00Z', 1), ('0001-12-31 23:59:59.999999Z BC', 2), ('9999-12-31 23:59:59.999999Z', 3), ('10000-01-01 00:00Z', 4), ('infinity', 5), ('-infinity', 6)) v (val, n),
	(VALUES ('event', 'time', 1), ('measure', 'start_time', 2), ('measure', 'end_time', 3), ('inventory', 'at', 4), ('inventory', 'since', 5)) t (path, col, m) ORDER BY m, n;
SELECT val, pg_temp.try('inbox', 'time', val) AS outcome FROM unnest('{0001-01-01T00:00:00Z,0000-12-31T23:59:59Z,9999-12-31T23:59:59.999999Z}'::text[]) val;
-- Compressed values are what they are without compression.
CREATE TEMP TABLE elsewhere AS SELECT jsonb_build_object('note', repeat('x', 3000000)) AS attributes, repeat('y', 3000000) AS resource;
SELECT pg_column_size(attributes) < 65536 AS compressed FROM elsewhere;
INSERT INTO limits_cloud.event ("time", resource, action, attributes) SELECT now(), 'r', 'start', attributes FROM elsewhere;
INSERT INTO limits_cloud.measure (start_time, end_time, resource) SELECT now(), now(), resource FROM elsewhere;

-- The unit of a time in a UsageEvent: milliseconds, seconds and nanoseconds are plainly wrong; a clock that was not set is not.
CREATE FUNCTION pg_temp.at(micros bigint) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
	RETURN meter.event_from_protobuf('\x08' || pg_temp.varint(micros::numeric + CASE WHEN micros < 0 THEN 18446744073709551616 ELSE 0 END) || '\x1201721a0161');
EXCEPTION WHEN OTHERS THEN
	RETURN sqlerrm;
END $$;
SELECT n, micros, pg_temp.at(micros) FROM (VALUES (1, 1481557712000000), (2, 1481557712000), (3, 1481557712), (4, 1481557712000000000), (5, 0), (6, 999999999), (7, 1000000000), (8, 31535999999999), (9, 31536000000000),
	(10, 253402300799999999), (11, 253402300800000000), (12, -1), (13, -62135596800000000), (14, -62135596800000001)) t (n, micros) ORDER BY n;
-- A start in milliseconds with a stop at the right time never bills 46 years.
SELECT meter.ingest('limits_cloud', meter.event_from_protobuf('\x0880b9e29d8f2b1204766d2d311a057374617274320461636d65'));

-- The same limits for the source of measures that come as protobuf, and of a heartbeat.
SELECT meter.ingest_measures('limits_cloud', repeat('s', 256), pg_temp.delimited(pg_temp.measure('192.0.2.1', 1, '2024-03-05 10:00Z', '2024-03-05 11:00Z', 1)));
SELECT meter.ingest_protobuf('limits_cloud', '\x12' || pg_temp.delimited(pg_temp.measure('192.0.2.1', 1, '2024-03-05 10:00Z', '2024-03-05 11:00Z', 1)) || '\x1a' || pg_temp.delimited(convert_to(repeat('s', 256), 'UTF8')));
SELECT meter.heartbeat('limits_cloud', repeat('s', 256));
SELECT meter.set_source('limits_cloud', repeat('s', 256));

-- Actions of observations are refused but by columns, where their attributes must be such that the engine can read.
SELECT path, pg_temp.try(path, 'action', 'reconciled:start') AS outcome FROM unnest('{event,inbox,ingest,protobuf}'::text[]) path;
CREATE FUNCTION pg_temp.observe(attributes jsonb) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
	INSERT INTO limits_cloud.event ("time", resource, account, action, attributes) VALUES ('2024-03-05 10:20', 'observed', 'a', 'reconciled:start', attributes);
	RETURN 'accepted';
EXCEPTION WHEN OTHERS THEN
	RETURN sqlstate || ' ' || sqlerrm;
END $$;
SELECT a AS attributes, pg_temp.observe(a::jsonb) AS outcome FROM unnest(ARRAY['[]', '1', 'null', '{"meter":1}', '{"meter":"vm","tolerance":-1}', '{"meter":"vm","tolerance":"60"}', '{"meter":"vm","tolerance":1e131000}', '{"meter":"vm","tolerance":60.5}',
	'{"meter":"vm","since":"10000-01-01T00:00:00Z"}', '{"meter":"vm","since":"0000-01-01T00:00:00Z"}', '{"meter":"vm","alive":"-4713-01-01T00:00:00Z"}', '{"meter":"vm","absent":7}', '{"meter":"vm","since":"yesterday"}', '{"meter":"vm","since":"2024-03-05T10:10:00+00:00"}', '{}', NULL]) a;

-- What fails in a stream that diverts is kept with the reason.
SET meter.on_bad_event = divert;
SELECT meter.ingest('limits_cloud', jsonb_build_object('time', '2024-03-05T10:00:00Z', 'resource', repeat('x', 1001), 'action', 'start')::text::meter.event, '{"time":"2024-03-05T10:00:00Z","resource":"r","action":"start","value":1e100}', '{"time":"2024-03-05T10:00:00Z","resource":"diverted","action":"tick"}');
INSERT INTO limits_cloud.inbox SELECT jsonb_build_object('time', '2024-03-05T10:00:00Z', 'resource', 'r', 'action', 'start', 'offering', repeat('x', 256))::text::meter.event;
SELECT left(raw, 40) AS raw, reason FROM limits_cloud.rejected ORDER BY rejection;
RESET meter.on_bad_event;

-- COPY names line, column, limit and size.
COPY limits_cloud.event ("time", resource, action, entity) FROM STDIN (FORMAT csv);
2024-03-05 10:00Z,vm-1,start,vm
2024-03-05 10:00Z,"",start,vm
\.
COPY limits_cloud.event ("time", resource, action, value) FROM STDIN (FORMAT csv);
2024-03-05 10:00Z,vm-1,start,1
2024-03-05 10:00Z,vm-1,start,1e100
\.
COPY limits_cloud.measure (start_time, end_time, resource, value) FROM STDIN (FORMAT csv);
2024-03-05 10:00Z,2024-03-05 09:59Z,vm-1,1
\.

-- An entity '' is NULL by every path: one dimension, one snapshot, one content of duplicates.
INSERT INTO limits_cloud.event (source, id, "time", resource, account, entity, action, value) VALUES ('e', '1', '2024-03-05 10:00', 'e1', 'x', '', 'start', 1), ('e', '1', '2024-03-05 10:00', 'e1', 'x', NULL, 'start', 1), (NULL, NULL, '2024-03-05 10:30', 'e1', 'x', NULL, 'start', 1);
INSERT INTO limits_cloud.measure (source, id, start_time, end_time, resource, account, entity, value) VALUES ('e', '1', '2024-03-05 10:00', '2024-03-05 10:10', 'e1', 'x', '', 1), ('e', '2', '2024-03-05 10:10', '2024-03-05 10:20', 'e1', 'x', NULL, 1);
INSERT INTO limits_cloud.inbox VALUES ('{"time":"2024-03-05T10:00:00Z","resource":"e2","action":"start","entity":"","value":1}');
SELECT entity FROM limits_cloud.event WHERE resource = 'e2';

-- What is at the limits is billed, also late and taken back, verified, listed and explained.
INSERT INTO limits_cloud.event (source, id, "time", resource, account, action, offering, value, attributes) VALUES
	(repeat('s', 255), repeat('j', 1000), '2024-03-05 10:00', repeat('r', 1000), repeat('a', 1000), 'start', repeat('o', 255), 1, jsonb_build_object('note', repeat('n', 60000)));
INSERT INTO limits_cloud.event ("time", resource, account, action, value) VALUES ('2024-03-05 10:00', 'good', 'good', 'start', 2), ('2024-03-05 13:00', 'clock', 'x', 'tick', NULL);
-- a counter whose dimension is longer than an entry of an index: random bytes, which do not compress
INSERT INTO limits_cloud.measure (start_time, end_time, resource, account, value, attributes)
	SELECT t, t, repeat('r', 1000), 'good', n, jsonb_build_object('note', (SELECT string_agg(md5(g::text), '') FROM generate_series(1, 100 * series) g))
	FROM (VALUES (1, '2024-03-05 10:00'::timestamptz, 1), (5, '2024-03-05 11:30', 1), (2, '2024-03-05 10:00', 2), (3, '2024-03-05 11:30', 2)) v (n, t, series);
INSERT INTO limits_cloud.measure (start_time, end_time, resource, value) VALUES ('2024-03-05 13:00', '2024-03-05 13:00', 'clock', NULL);
CALL meter.run('limits_cloud');
INSERT INTO limits_cloud.event (source, id, "time", resource, action, attributes) VALUES (repeat('s', 255), repeat('j', 1000), '2024-03-05 10:00', repeat('r', 1000), 'void', NULL), (NULL, repeat('j', 1000), '2024-03-05 11:00', repeat('r', 1000), 'start', NULL);
INSERT INTO limits_cloud.measure (start_time, end_time, resource, account, value, attributes)
	SELECT '2024-03-05 10:45', '2024-03-05 10:45', repeat('r', 1000), 'good', 4, jsonb_build_object('note', (SELECT string_agg(md5(g::text), '') FROM generate_series(1, 100) g));
CALL meter.run('limits_cloud');
SELECT meter, last_error FROM meter.status WHERE stream = 'limits_cloud' AND last_error IS NOT NULL;
SELECT meter, left(account, 10) AS account, left(resource, 10) AS resource, length(dimensions::text) AS dimensions, min(period_start) AS since, trim_scale(sum(quantity)) AS quantity
FROM limits_cloud.usage_total WHERE resource IN ('good', 'e1', 'e2', 'observed') OR resource = repeat('r', 1000) GROUP BY meter, account, resource, dimensions ORDER BY 1, 2, 3, 4;
SELECT count(*) FROM meter.verify('limits_cloud');
SELECT count(*) > 0 AS explained FROM limits_cloud.usage u CROSS JOIN LATERAL meter.explain('limits_cloud', u.transaction_id) x WHERE u.resource = repeat('r', 1000);
SELECT class, count(*) FROM limits_cloud.anomaly WHERE class = 'conflicting duplicate' AND resource = 'e1' GROUP BY class;

-- The limits are the stream's own: they stay when the extension goes, and meter.resume looks for them.
SELECT conrelid::regclass AS "table", coninhcount FROM pg_constraint WHERE conname = 'within_limits' AND connamespace = 'limits_cloud'::regnamespace ORDER BY conrelid::regclass::text COLLATE "C";
SELECT count(*) AS members FROM pg_depend d JOIN pg_proc p ON d.objid = p.oid AND d.classid = 'pg_proc'::regclass WHERE d.deptype = 'e' AND p.pronamespace = 'limits_cloud'::regnamespace;
ALTER TABLE limits_cloud.measure DROP CONSTRAINT within_limits;
SELECT meter.resume('limits_cloud');
SET client_min_messages = warning;
SELECT meter.drop_stream('limits_cloud', true);
DROP ROLE regress_limits_producer;
