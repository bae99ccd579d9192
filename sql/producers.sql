-- Promise: what producers really send is taken as it is, or refused with the place, the key, what was expected, and what was found.
SET timezone = 'UTC';
SET datestyle = 'ISO';
\pset null null
SELECT meter.create_stream('producers');
CREATE TEMP VIEW log AS SELECT source, id, "time", sequence, resource, account, entity, action, offering, value, attributes FROM producers.event ORDER BY arrival;

-- --- sequence: the place of an event among those of one instant

SELECT e::meter.event AS event, e::meter.event ->> 'sequence' AS sequence FROM unnest(ARRAY['{"time":"2024-03-05T10:00:00Z","resource":"r","action":"a","sequence":7}', '{"sequence":"-12","time":"2024-03-05T10:00:00Z","resource":"r","action":"a"}',
	'{:time #inst "2024-03-05T10:00:00Z" :resource :r :action :a :sequence 3N}', '{"time":"2024-03-05T10:00:00Z","resource":"r","action":"a","sequence":9223372036854775807}', '{"time":"2024-03-05T10:00:00Z","resource":"r","action":"a","sequence":"-9223372036854775808"}',
	'{"time":"2024-03-05T10:00:00Z","resource":"r","action":"a","sequence":2.0}', '{"time":"2024-03-05T10:00:00Z","resource":"r","action":"a","sequence":null}',
	'{"specversion":"1.0","id":"1","source":"s","type":"t","subject":"r","time":"2024-03-05T10:00:00Z","sequence":"00000000000000000005","sequencetype":"Integer"}',
	'{"specversion":"1.0","id":"1","source":"s","type":"t","subject":"r","time":"2024-03-05T10:00:00Z","sequence":5,"data":{"sequence":6}}']) e;
-- It is a number in jsonb, too, and passes protobuf.
SELECT e, (e::jsonb -> 'sequence')::text AS jsonb, e::jsonb::meter.event = e AS same, meter.event_to_protobuf(e), meter.event_from_protobuf(meter.event_to_protobuf(e)) = e AS same_event
FROM (SELECT ('{"time":"2024-03-05T10:00:00Z","resource":"r","action":"a","sequence":' || n || '}')::meter.event AS e FROM unnest('{0,-1,300,9223372036854775807,-9223372036854775808}'::text[]) n) x;
-- Events of one instant are ordered by it, those without one first.
SELECT string_agg(coalesce(e ->> 'sequence', '') || (e ->> 'resource'), ' ' ORDER BY e) FROM (SELECT jsonb_build_object('time', '2024-03-05T10:00:00Z', 'action', 'a', 'resource', r, 'sequence', n)::meter.event AS e FROM (VALUES ('z', 9), ('b', 10), ('c', -2), ('b', NULL), ('a', 9), ('a', NULL)) v (r, n)) x;
-- What is none is refused, with the key.
CREATE FUNCTION pg_temp.refused(event text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	detail text;
BEGIN
	RETURN 'taken: ' || event::meter.event::text;
EXCEPTION WHEN invalid_text_representation THEN
	GET STACKED DIAGNOSTICS detail = PG_EXCEPTION_DETAIL;
	RETURN detail;
END
$$;
SELECT pg_temp.refused('{"time":"2024-03-05T10:00:00Z","resource":"r","action":"a",' || s || '}') FROM unnest(ARRAY['"sequence":9223372036854775808', '"sequence":"-9223372036854775809"', '"sequence":1.5', '"sequence":"first"', '"sequence":""', '"sequence":true', '"sequence":[1]', '"sequence":"-"', '"attributes":{"sequence":1}']) s;
-- It reaches the log by every path.
INSERT INTO producers.inbox VALUES ('{"id":"1","time":"2024-03-05T10:00:00Z","resource":"seq","action":"inbox","sequence":1}');
SELECT meter.ingest('producers', '{"id":"2","time":"2024-03-05T10:00:00Z","resource":"seq","action":"ingest","sequence":"2"}');
SELECT meter.ingest_json('producers', '{"id":"3","time":"2024-03-05T10:00:00Z","resource":"seq","action":"json","sequence":3}');
INSERT INTO producers.inbox SELECT meter.event_from_protobuf(meter.event_to_protobuf('{"id":"4","time":"2024-03-05T10:00:00Z","resource":"seq","action":"protobuf","sequence":4}'));
SELECT id, sequence, action, attributes FROM log WHERE resource = 'seq';

-- --- times

-- Any number of digits of a second (what is finer than a microsecond is cut), no second at all, and the 60th, which is the next minute's first as in PostgreSQL.
SELECT t, ('{"time":"' || t || '","resource":"r","action":"a"}')::meter.event ->> 'time' AS "time", ('{"time":"' || t || '","resource":"r"}')::meter.measure ->> 'end_time' AS of_measure FROM unnest(ARRAY['2026-07-22T14:35:35.376645589Z', '2024-03-05T10:00:00.1234569999999999999999Z', '1999-12-31T23:59:59.999999999-01:00', '2024-03-05T10:00:00.0Z',
	'2024-03-05T10:00Z', '2024-03-05T10:00+01:00', '2024-03-05 10:00+0100', '2016-12-31T23:59:60Z', '2016-12-31T23:59:60.5Z', '2024-03-05T10:00:60Z', '9999-12-31T23:59:60Z']) t;
SELECT pg_temp.refused('{"time":"' || t || '","resource":"r","action":"a"}') FROM unnest(ARRAY['2024-03-05T10:00:61Z', '2024-03-05T10:60Z', '2024-03-05T10:00:00.Z', '2024-03-05T10Z', '2024-03-05T10:00', '2024-03-05T10:00:00.123456789', '2024-03-05T10:00:', '1709632800']) t;
-- The paths of one stream agree about a leap second.
INSERT INTO producers.event ("time", resource, action) VALUES ('2016-12-31 23:59:60Z', 'leap', 'start');
INSERT INTO producers.inbox VALUES ('{"time":"2016-12-31T23:59:60Z","resource":"leap","action":"stop"}');
SELECT "time", action FROM log WHERE resource = 'leap';
-- A telephone exchange stamps nanoseconds.
INSERT INTO producers.inbox VALUES ('{"time":"2026-07-22T14:35:35.376645589Z","resource":"call-1","action":"answer","account":"alice"}'),
	('{"specversion":"1.0","id":"1","source":"/sw","type":"hangup","subject":"call-1","time":"2026-07-22T14:35:57.785963439Z"}');
SELECT "time", action FROM log WHERE resource = 'call-1';

-- --- files

-- Blank lines of a file say nothing, in whatever mode.
COPY producers.inbox FROM STDIN;

{"time":"2024-03-05T10:00:00Z","resource":"file","action":"start"}
\x20\x20
{"time":"2024-03-05T11:00:00Z","resource":"file","action":"stop"}

\.
SET meter.on_bad_event = divert;
COPY producers.inbox FROM STDIN (FORMAT csv, DELIMITER E'\x01', QUOTE E'\x02');

{"time":"2024-03-05T12:00:00Z","resource":"file","action":"start"}

\.
RESET meter.on_bad_event;
SELECT "time", action FROM log WHERE resource = 'file';
SELECT count(*) FROM producers.rejected;
-- Elsewhere a blank text is no event: nothing was said that could be left out.
INSERT INTO producers.inbox VALUES ('');
CREATE TEMP TABLE kept (event meter.event);
COPY kept FROM STDIN;

\.
-- An error names line, key, place, what was expected, and what was found.
COPY producers.inbox FROM STDIN;
{"time":"2024-03-05T12:00:00Z","resource":"file","action":"start"}
{"timestamp":"2024-03-05T12:00:00Z","resource":"file","action":"stop"}
\.
COPY producers.inbox FROM STDIN;
{"time":"2024-03-05T12:00:00Z","resource":"file","verb":"stop","a long name of a key that nobody would expect in an event, and more":1}
\.

-- --- drivers: parameters of type text, varchar and jsonb are taken without a cast

PREPARE of_text(text) AS INSERT INTO producers.inbox VALUES ($1);
PREPARE of_varchar(varchar) AS INSERT INTO producers.inbox VALUES ($1);
PREPARE of_jsonb(jsonb) AS INSERT INTO producers.inbox VALUES ($1);
PREPARE measure_of_text(text) AS INSERT INTO producers.measure_inbox VALUES ($1);
PREPARE measure_of_varchar(varchar) AS INSERT INTO producers.measure_inbox SELECT $1;
PREPARE measure_of_jsonb(jsonb) AS INSERT INTO producers.measure_inbox VALUES ($1);
EXECUTE of_text('{"time":"2024-03-05T10:00:00Z","resource":"driver","action":"text"}');
EXECUTE of_varchar('{"time":"2024-03-05T10:00:00Z","resource":"driver","action":"varchar"}');
EXECUTE of_jsonb('{"time":"2024-03-05T10:00:00Z","resource":"driver","action":"jsonb"}');
EXECUTE measure_of_text('{"time":"2024-03-05T10:00:00Z","resource":"driver","value":1}');
EXECUTE measure_of_varchar('{"time":"2024-03-05T10:00:00Z","resource":"driver","value":2}');
EXECUTE measure_of_jsonb('{"time":"2024-03-05T10:00:00Z","resource":"driver","value":3}');
EXECUTE of_text('{"time":"2024-03-05T10:00:00Z","resource":"driver"}');
SET meter.on_bad_event = divert;
EXECUTE of_text('{"time":"2024-03-05T10:00:00Z","resource":"driver"}');
RESET meter.on_bad_event;
SELECT action FROM log WHERE resource = 'driver';
SELECT value FROM producers.measure WHERE resource = 'driver' ORDER BY arrival;
SELECT raw, reason FROM producers.rejected;
DELETE FROM producers.rejected;
-- Nothing else becomes an event by accident.
SELECT '{"time":"2024-03-05T10:00:00Z","resource":"r","action":"a"}'::text = '{"time":"2024-03-05T10:00:00Z","resource":"r","action":"a"}'::meter.event;

-- --- batches: one event, or an array of them, as one value

SELECT meter.ingest_json('producers', '{"time":"2024-03-05T10:00:00Z","resource":"batch","action":"one"}');
SELECT meter.ingest_json('producers', E' [\n {"time":"2024-03-05T10:00:01Z","resource":"batch","action":"t[w,o"} ,\r\n{"specversion":"1.0","id":"3","source":"s","type":"three \\"]","subject":"batch","time":"2024-03-05T10:00:02Z","data":{"list":[1,[2,{}]]}}\t] ');
SELECT meter.ingest_json('producers', '[]');
SELECT action, attributes FROM log WHERE resource = 'batch';
-- All of an array, or nothing; an error names the element.
SELECT meter.ingest_json('producers', '[{"time":"2024-03-05T10:00:00Z","resource":"none","action":"é"},{"time":"2024-03-05T10:00:00","resource":"none","action":"b"}]');
SELECT meter.ingest_json('producers', '[{"time":"2024-03-05T10:00:00Z","resource":"none","action":"a"}, {"time":"2024-03-05T10:00:00Z","resource":"none","action":"reconciled:start"}]');
SELECT meter.ingest_json('producers', '[{"time":"2024-03-05T10:00:00Z","resource":"none","action":"a"}, {"time":"2024-03-05T10:00:00Z","resource":"none","action":"a","account":"' || repeat('a', 1001) || '"}]');
SELECT meter.ingest_json('producers', document) FROM (VALUES ('[{"time":"2024-03-05T10:00:00Z","resource":"none","action":"a"}')) v (document);
SELECT meter.ingest_json('producers', '[{"time":"2024-03-05T10:00:00Z","resource":"none","action":"a"},]');
SELECT meter.ingest_json('producers', '[{"time":"2024-03-05T10:00:00Z","resource":"none","action":"a"}] and more');
SELECT meter.ingest_json('producers', '[[{"time":"2024-03-05T10:00:00Z","resource":"none","action":"a"}]]');
SELECT meter.ingest_json('producers', 'null');
SELECT meter.ingest_json('producers', '');
SELECT meter.ingest_json('producers', NULL);
SELECT meter.ingest_json('nowhere', '[]');
SELECT count(*) FROM log WHERE resource = 'none';
-- Diverted, the bad ones are put aside, each as it came; of what is no array, nothing can be told apart.
SET meter.on_bad_event = divert;
SELECT meter.ingest_json('producers', '[{"time":"2024-03-05T10:00:00Z","resource":"some","action":"a"}, {"time":"2024-03-05T10:00:00","resource":"some","action":"b"} ,null,{"time":"2024-03-05T10:00:00Z","resource":"some","action":"c"}]');
SELECT meter.ingest_json('producers', '[{"time":"2024-03-05T10:00:00Z","resource":"some","action":"d"},{"time"]');
RESET meter.on_bad_event;
SELECT action FROM log WHERE resource = 'some';
SELECT raw, reason FROM producers.rejected ORDER BY rejection;
DELETE FROM producers.rejected;

-- --- CloudEvents, as their specification has them

-- A type of content, which is not kept; a schema and extensions, which are attributes.
SELECT meter.ingest_json('producers', '{"specversion":"1.0","type":"com.example.someevent","source":"/mycontext","subject":"larger-context","id":"A234-1234-1234","time":"2018-04-05T17:31:00Z","comexampleextension1":"value","comexampleothervalue":5,
	"datacontenttype":"application/json","dataschema":"https://example.com/schema","unsetextension":null,"data":{"appinfoA":"abc","appinfoB":123,"appinfoC":true}}');
SELECT * FROM log WHERE id = 'A234-1234-1234';
-- An event without a subject names no resource, unless its data does.
SELECT meter.ingest_json('producers', '{"specversion":"1.0","type":"com.example.someevent","source":"/mycontext","subject":null,"id":"D234-1234-1234","time":"2018-04-05T17:31:00Z","comexampleextension1":"value","datacontenttype":"application/json","data":{"appinfoA":"abc","appinfoB":123}}');
SELECT meter.ingest_json('producers', '{"specversion":"1.0","type":"com.example.someevent","source":"/mycontext","subject":"s","id":"C234-1234-1234","time":"2018-04-05T17:31:00Z","datacontenttype":"text/xml","data":"<much wow=\"xml\"/>"}');
-- Bytes are a protobuf message: a UsageEvent in an event, a UsageMeasure in a measure. The envelope adds what they leave out, and names the event.
\set payload `printf '%s' '{"time":"2024-03-05T10:00:00Z","resource":"bytes","action":"start","account":"acme","value":2,"sequence":4,"id":"inner","zone":"a","n":{"x":[1]}}'`
SELECT format('{"specversion":"1.0","id":"outer","source":"/ce","type":"t","subject":"s","time":"2030-01-01T00:00:00Z","datacontenttype":"application/protobuf","offering":"gold","data_base64":%s}', to_json(replace(encode(meter.event_to_protobuf(:'payload'), 'base64'), E'\n', ''))) AS event \gset
SELECT meter.ingest_json('producers', :'event');
SELECT * FROM log WHERE resource = 'bytes';
SELECT format('{"specversion":"1.0","id":"outer","source":"/ce","type":"t","datacontenttype":"application/x-protobuf; proto=meter.UsageMeasure","data_base64":"%s"}', replace(encode(meter.measure_to_protobuf('{"start_time":"2024-03-05T10:00:00Z","end_time":"2024-03-05T11:00:00Z","resource":"bytes","value":2}'), 'base64'), E'\n', ''))::meter.measure;
SELECT pg_temp.refused('{"specversion":"1.0","id":"1","source":"s","type":"t","subject":"r","time":"2024-03-05T10:00:00Z",' || d || '}') FROM unnest(ARRAY['"data_base64":"CAA="', '"datacontenttype":"application/vnd.apache.thrift.binary","data_base64":"CAA="', '"datacontenttype":"application/protobuf","data_base64":"CAA="',
	'"datacontenttype":"application/protobuf","data_base64":"C%A="', '"datacontenttype":"application/protobuf","data_base64":"CAASA"', '"datacontenttype":"application/protobuf","data_base64":{}', '"datacontenttype":"application/protobuf","data_base64":"CAA=","data":{}', '"datacontenttype":7,"data_base64":"CAA="']) d;

-- --- as systems in the field send them

-- OpenTelemetry: a sum in cumulative temporality, its times in nanoseconds as RFC 3339.
INSERT INTO producers.measure_inbox VALUES ('{"source":"otel","id":"p-1","start_time":"2024-03-05T10:00:00.000000123Z","end_time":"2024-03-05T10:01:00.999999999Z","resource":"host-1","value":"1844674407370955161599","unit":"By","attributes":{"net.interface":"eth0","direction":"transmit"}}');
SELECT start_time, end_time, value, attributes FROM producers.measure WHERE source = 'otel';
-- CloudStack: numbers as names, an offset without a colon.
INSERT INTO producers.inbox VALUES ('{"source":"cloudstack","id":88123,"action":"VM.START","time":"2024-03-05T10:00:00+0000","resource":4711,"account":2,"offering":12,"size":null,"zoneid":1,"resourcename":"i-2-4711-VM"}');
SELECT * FROM log WHERE source = 'cloudstack';
-- Stripe: meter events, with their customer and value within the payload, which is for the producer to name.
INSERT INTO producers.measure_inbox SELECT jsonb_build_object('source', 'stripe', 'id', e ->> 'identifier', 'time', to_timestamp((e ->> 'timestamp')::numeric), 'entity', e ->> 'event_name', 'resource', e -> 'payload' ->> 'stripe_customer_id', 'value', e -> 'payload' ->> 'value')
FROM (VALUES ('{"object":"v1.billing.meter_event","event_name":"tokens","identifier":"id_1","timestamp":1709632800,"payload":{"stripe_customer_id":"cus_9","value":"25"}}'::jsonb)) v (e);
SELECT id, start_time, resource, entity, value FROM producers.measure WHERE source = 'stripe';
-- Sent as it is, it is refused with what was found.
SELECT meter.ingest_json('producers', '{"object":"v1.billing.meter_event","event_name":"tokens","identifier":"id_1","timestamp":1709632800,"payload":{"stripe_customer_id":"cus_9","value":"25"}}', measures => true);

DROP VIEW log;
SET client_min_messages = warning;
SELECT meter.drop_stream('producers', true);
