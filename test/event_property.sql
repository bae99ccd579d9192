-- Promise: whatever an event or a measure says, it says the same as JSON, EDN, jsonb and protobuf, and what plain SQL says of the jsonb.
--
--     psql -v seed=0.5 -v events=10000 -f test/event_property.sql
--
-- Printed are lines 'what<TAB>differences'; all must be 0.

\set QUIET on
\pset format unaligned
\pset fieldsep '\t'
\pset tuples_only on
\set ON_ERROR_STOP on
SET timezone = 'UTC';
SET client_min_messages = warning;
SELECT setseed(:seed) \g /dev/null

CREATE FUNCTION pg_temp.pick(VARIADIC choices text[]) RETURNS text LANGUAGE sql VOLATILE
	RETURN choices[1 + floor(random() * cardinality(choices))];

CREATE FUNCTION pg_temp.some_text() RETURNS text LANGUAGE sql VOLATILE
	RETURN pg_temp.pick('a', 'b', 'geneva-jug', 'vm', '', 'true', '1.50', 'null', E'quote " \\ / end', E'tab\tline\nreturn\r\x01\x7f', 'ä€😀', '; {no} [comment]', 'a longer text '
		|| repeat('x', (random() * 300)::int), md5((random() * 50)::int::text)::uuid::text, upper(md5('x')::uuid::text));

CREATE FUNCTION pg_temp.some_number() RETURNS numeric LANGUAGE sql VOLATILE
	RETURN trim_scale(round((random() * 2 - 1)::numeric * pg_temp.pick('1', '1000', '1e20', '0.001')::numeric, pg_temp.pick('0', '1', '6', '30')::int));

CREATE FUNCTION pg_temp.some_json(depth int) RETURNS jsonb LANGUAGE plpgsql VOLATILE AS $$
BEGIN
	CASE floor(random() * CASE WHEN depth > 2 THEN 5 ELSE 7 END)::int
		WHEN 0 THEN RETURN 'null';
		WHEN 1 THEN RETURN to_jsonb(random() < 0.5);
		WHEN 2 THEN RETURN to_jsonb(pg_temp.some_number());
		WHEN 3, 4 THEN RETURN to_jsonb(pg_temp.some_text());
		WHEN 5 THEN RETURN coalesce((SELECT jsonb_agg(pg_temp.some_json(depth + 1)) FROM generate_series(1, floor(random() * 4)::int)), '[]');
		ELSE RETURN coalesce((SELECT jsonb_object_agg(pg_temp.some_text() || i, pg_temp.some_json(depth + 1)) FROM generate_series(1, floor(random() * 4)::int) i), '{}');
	END CASE;
END
$$;

-- the same in EDN, its keys as keywords where they can be
CREATE FUNCTION pg_temp.edn(doc jsonb) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
	CASE jsonb_typeof(doc)
		WHEN 'null' THEN RETURN 'nil';
		WHEN 'array' THEN RETURN '[' || coalesce((SELECT string_agg(pg_temp.edn(value), ' ') FROM jsonb_array_elements(doc)), '') || ']';
		WHEN 'object' THEN RETURN '{' || coalesce((SELECT string_agg(CASE WHEN key ~ '^[a-z]+$' THEN ':' || key ELSE to_json(key)::text END || ' ' || pg_temp.edn(value), ', ')
			FROM jsonb_each(doc)), '') || '}';
		ELSE RETURN doc::text;
	END CASE;
END
$$;

CREATE TEMP TABLE world AS
SELECT n, jsonb_strip_nulls(jsonb_build_object(
	'time', to_char(at, 'YYYY-MM-DD"T"HH24:MI:SS') || rtrim(to_char(at, '.US'), '.0') || 'Z',
	'resource', 'r' || pg_temp.some_text(), 'action', pg_temp.pick('create', 'start', 'stop', 'resize', 'void'),
	'account', CASE WHEN random() < 0.5 THEN pg_temp.some_text() END, 'entity', CASE WHEN random() < 0.5 THEN pg_temp.some_text() END,
	'offering', CASE WHEN random() < 0.5 THEN pg_temp.some_text() END, 'value', CASE WHEN random() < 0.5 THEN pg_temp.some_number() END,
	'source', CASE WHEN random() < 0.5 THEN pg_temp.some_text() END, 'id', CASE WHEN random() < 0.5 THEN pg_temp.some_text() END,
	'sequence', CASE floor(random() * 4)::int WHEN 0 THEN floor(random() * 5) WHEN 1 THEN floor((random() * 2 - 1)::numeric * 9e18) END))
	|| coalesce((SELECT jsonb_object_agg(pg_temp.pick('template', 'version', '', 'b c', E'q"\\\n', 'ä') || i % 3, pg_temp.some_json(0)) FROM generate_series(1, floor(random() * 5 + n * 0)::int) i), '{}') AS doc
FROM (SELECT n, timestamp '1990-01-01' + floor(random() * 20) * interval '1000 days' + CASE WHEN random() < 0.5 THEN floor(random() * 5) * interval '1 hour'
	ELSE random() * interval '1000 days' END AS at FROM generate_series(1, :events) n) x;
CREATE TEMP TABLE event AS SELECT n, doc, doc::meter.event AS event FROM world;
ANALYZE event;

SELECT 'jsonb and back', count(*) FROM event WHERE event::jsonb IS DISTINCT FROM doc;
SELECT 'text is JSON that says the same', count(*) FROM event WHERE event::text::jsonb IS DISTINCT FROM doc;
SELECT 'text and back', count(*) FROM event WHERE event::text::meter.event IS DISTINCT FROM event;
SELECT 'the text of jsonb', count(*) FROM event WHERE doc::text::meter.event IS DISTINCT FROM event;
SELECT 'protobuf and back', count(*) FROM event WHERE meter.event_from_protobuf(meter.event_to_protobuf(event)) IS DISTINCT FROM event;
SELECT 'EDN', count(*) FROM event WHERE pg_temp.edn(doc)::meter.event IS DISTINCT FROM event;
SELECT 'equal, and nothing else', count(*) FROM event WHERE NOT event = event OR event <> event OR event < event OR event > event OR NOT event <= event OR NOT event >= event;
SELECT 'one hash', count(*) FROM event WHERE meter_internal.event_hash(event) <> meter_internal.event_hash(pg_temp.edn(doc)::meter.event);
SELECT 'every field and attribute', count(*) FROM event, jsonb_each(doc) WHERE CASE jsonb_typeof(value) WHEN 'array' THEN (event ->> key)::jsonb IS DISTINCT FROM value
	WHEN 'object' THEN (event ->> key)::jsonb IS DISTINCT FROM value ELSE (event ->> key) IS DISTINCT FROM (doc ->> key) END;
SELECT 'accessors', count(*) FROM event WHERE (meter.event_time(event), event ->> 'resource', event ->> 'action', event ->> 'account', event ->> 'entity',
	event ->> 'offering', meter.event_value(event), event ->> 'source', event ->> 'id', (event ->> 'sequence')::bigint) IS DISTINCT FROM ((doc ->> 'time')::timestamptz, doc ->> 'resource', doc ->> 'action',
	doc ->> 'account', doc ->> 'entity', doc ->> 'offering', (doc ->> 'value')::numeric, doc ->> 'source', doc ->> 'id', (doc ->> 'sequence')::bigint);
SELECT 'attributes', count(*) FROM event WHERE coalesce(meter.event_attributes(event), '{}')
	IS DISTINCT FROM doc - '{time,resource,action,account,entity,offering,value,source,id,sequence}'::text[];
SELECT 'order', count(*) FROM (SELECT rank() OVER (ORDER BY event) AS by_event, rank() OVER (ORDER BY (doc ->> 'time')::timestamptz, (doc ->> 'sequence')::bigint NULLS FIRST, doc ->> 'resource' COLLATE "C", doc ->> 'action' COLLATE "C",
	doc ->> 'account' COLLATE "C" NULLS FIRST, doc ->> 'entity' COLLATE "C" NULLS FIRST, doc ->> 'offering' COLLATE "C" NULLS FIRST, (doc ->> 'value')::numeric NULLS FIRST,
	doc ->> 'source' COLLATE "C" NULLS FIRST, doc ->> 'id' COLLATE "C" NULLS FIRST, event ->> 'attributes' COLLATE "C" NULLS FIRST) AS by_columns FROM event) x WHERE by_event <> by_columns;
SELECT 'timelines', count(*) FROM (SELECT meter.timeline(event, '{create,start}', '{stop}') AS by_event, meter.timeline((doc ->> 'time')::timestamptz,
	CASE doc ->> 'action' WHEN 'resize' THEN NULL WHEN 'stop' THEN false ELSE true END, doc ->> 'offering', (doc ->> 'value')::numeric) FILTER (WHERE doc ->> 'action' <> 'void') AS by_columns
	FROM event GROUP BY doc ->> 'resource') x WHERE by_event IS DISTINCT FROM by_columns;

-- The same of measures: what an event says but for its time, and two instants.
CREATE TEMP TABLE measured AS SELECT n, doc - 'time' || jsonb_build_object('start_time', doc -> 'time',
	'end_time', to_char((doc ->> 'time')::timestamptz + floor(random() * 3) * interval '1 hour', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')) AS doc FROM world;
UPDATE measured SET doc = doc || jsonb_build_object('end_time', replace(rtrim(rtrim(doc ->> 'end_time', 'Z'), '0') || 'Z', '.Z', 'Z'));
CREATE TEMP TABLE measure AS SELECT n, doc, doc::meter.measure AS measure FROM measured;
ANALYZE measure;
SELECT 'measures: jsonb and back', count(*) FROM measure WHERE measure::jsonb IS DISTINCT FROM doc;
SELECT 'measures: text and back', count(*) FROM measure WHERE measure::text::meter.measure IS DISTINCT FROM measure OR doc::text::meter.measure IS DISTINCT FROM measure;
SELECT 'measures: protobuf and back', count(*) FROM measure WHERE meter.measure_from_protobuf(meter.measure_to_protobuf(measure)) IS DISTINCT FROM measure;
SELECT 'measures: EDN', count(*) FROM measure WHERE pg_temp.edn(doc)::meter.measure IS DISTINCT FROM measure;
SELECT 'measures: one time for both', count(*) FROM measure WHERE doc -> 'start_time' = doc -> 'end_time' AND (doc - 'start_time' - 'end_time' || jsonb_build_object('time', doc -> 'start_time'))::meter.measure IS DISTINCT FROM measure;
SELECT 'measures: every field and attribute', count(*) FROM measure, jsonb_each(doc) WHERE CASE jsonb_typeof(value) WHEN 'array' THEN (measure ->> key)::jsonb IS DISTINCT FROM value
	WHEN 'object' THEN (measure ->> key)::jsonb IS DISTINCT FROM value ELSE (measure ->> key) IS DISTINCT FROM (doc ->> key) END;
SELECT 'measures: accessors', count(*) FROM measure WHERE (meter.measure_start(measure), meter.measure_end(measure), meter.measure_value(measure), coalesce(meter.measure_attributes(measure), '{}')) IS DISTINCT FROM
	((doc ->> 'start_time')::timestamptz, (doc ->> 'end_time')::timestamptz, (doc ->> 'value')::numeric, doc - '{start_time,end_time,resource,account,entity,value,source,id}'::text[]);
SELECT 'measures: order', count(*) FROM (SELECT rank() OVER (ORDER BY measure) AS by_measure, rank() OVER (ORDER BY (doc ->> 'start_time')::timestamptz, (doc ->> 'end_time')::timestamptz, doc ->> 'resource' COLLATE "C",
	doc ->> 'account' COLLATE "C" NULLS FIRST, doc ->> 'entity' COLLATE "C" NULLS FIRST, (doc ->> 'value')::numeric NULLS FIRST,
	doc ->> 'source' COLLATE "C" NULLS FIRST, doc ->> 'id' COLLATE "C" NULLS FIRST, measure ->> 'attributes' COLLATE "C" NULLS FIRST) AS by_columns FROM measure) x WHERE by_measure <> by_columns;
SELECT 'measures: one hash', count(*) FROM measure WHERE meter_internal.measure_hash(measure) <> meter_internal.measure_hash(pg_temp.edn(doc)::meter.measure);
DROP TABLE world, event, measured, measure;
