-- Promise: the type meter.measure says of a quantity what meter.event says of an event, in the same formats, and measure_inbox logs it as inbox logs events.
SET timezone = 'America/New_York';		-- the text form depends on no setting
SET datestyle = 'SQL, DMY';
\pset null null

-- the detail of the error that reading a text raises
CREATE FUNCTION pg_temp.refused(measure text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	detail text;
BEGIN
	RETURN 'taken: ' || measure::meter.measure::text;
EXCEPTION WHEN invalid_text_representation THEN
	GET STACKED DIAGNOSTICS detail = PG_EXCEPTION_DETAIL;
	RETURN detail;
END
$$;

-- --- in and out

-- The keys are the names of the log's columns; all others are attributes, also those that only events have.
SELECT '{"value":1.50,"end_time":"2024-03-05T11:00:00+01:00","start_time":"2024-03-05T09:00:00Z","resource":"ip-1","account":"acme","entity":"ip","source":"router","id":"7",
	"offering":"gold","sequence":3,"action":"tick","type":"gauge","direction":"out"}'::meter.measure;
-- "time" stands for both instants; "uuid" is another name for the resource
SELECT '{"time":"2024-03-05T10:00:00Z","uuid":"r","value":"15e-1"}'::meter.measure;
-- the same measure as EDN, as JSON in any order, and through jsonb
SELECT DISTINCT m::meter.measure FROM (VALUES
	('{"start_time":"2024-03-05T10:00:00.5Z","end_time":"2024-03-05T10:05:00Z","resource":"r","value":1.5,"a":{"x":1,"y":[true,null,"é"]},"b":"/"}'),
	(E' {\t"b" : "\\/",\r\n"a" : { "y" : [ true , null , "\\u00e9" ] , "x" : 1.0e0 } , "value" : "15e-1" , "resource" : "r" , "end_time":"2024-03-05 10:05:00Z", "start_time" : "2024-03-05t11:00:00.500000+01:00" } '),
	('{"attributes":{"b":"/","a":{"y":[true,null,"é"],"x":1}},"start_time":"2024-03-05 05:00:00.500-05","end_time":"2024-03-05T10:05Z","resource":"r","value":"1.50"}'),
	('{:start_time #inst "2024-03-05T10:00:00.500Z", :end_time #inst "2024-03-05T10:05:00Z", :resource :r, :value 1.50M, :a {:x 1N "y" [true nil \é]} :b \/}'),
	('{"start_time":"2024-03-05T10:00:00.5Z","end_time":"2024-03-05T10:05:00Z","resource":"r","value":1.5,"a":{"x":1,"y":[true,null,"é"]},"b":"/"}'::jsonb::meter.measure::text)) v (m);
-- CloudEvents: the subject is the resource, the time both instants unless data has its own, the type an attribute, for a measure has no action.
SELECT '{"specversion":"1.0","id":"1","source":"/gw","type":"api-calls","subject":"customer-1","time":"2024-03-05T10:00:00Z","data":{"value":12,"path":"/v1","type":"rest"}}'::meter.measure;
SELECT '{"specversion":"1.0","id":"2","source":"/gw","type":"bytes","subject":"customer-1","time":"2024-03-05T10:06:00Z","data":{"start_time":"2024-03-05T10:00:00Z","end_time":"2024-03-05T10:05:00Z","value":"7"}}'::meter.measure;
SELECT pg_temp.refused(m) FROM unnest(ARRAY['', '[]', '{}', '{"time":"2024-03-05T10:00:00Z"}', '{"start_time":"2024-03-05T10:00:00Z","resource":"r"}', '{"end_time":"2024-03-05T10:00:00Z","resource":"r"}',
	'{"time":"2024-03-05T10:00:00Z","start_time":"2024-03-05T10:00:00Z","resource":"r"}', '{"end_time":"2024-03-05T10:00:00Z","time":"2024-03-05T10:00:00Z","resource":"r"}',
	'{"start_time":"2024-03-05T10:00:00Z","end_time":"2024-03-05T09:59:59.999999Z","resource":"r"}', '{"time":"2024-03-05T10:00:00Z","resource":"r","value":"NaN"}', '{"time":"2024-03-05T10:00:00Z","resource":"","value":1}',
	'{"time":"2024-03-05T10:00:00Z","resource":"r","attributes":{"value":1}}', '{"time":"2024-03-05T10:00:00Z","resource":"r","attributes":{"type":1,"offering":"o"}}',
	'{"specversion":"1.0","id":"1","source":"s","type":"t","subject":"r","time":"2024-03-05T10:00:00Z","data":{"end_time":"2024-03-05T10:00:00Z"}}']) m;
SELECT '{"resource":"r"}'::jsonb::meter.measure;

-- --- accessors

CREATE TEMP TABLE measure AS SELECT '{"start_time":"2024-03-05T10:00:00Z","end_time":"2024-03-05T10:05:00Z","resource":"r","account":"a","entity":"e","value":1e2,"source":"s","id":"i","map":{"b":1,"a":[]},"null":null,"action":"x"}'::meter.measure AS measure;
SET timezone = 'UTC';
SET datestyle = 'ISO';
SELECT name, measure ->> name AS text FROM measure, unnest('{start_time,end_time,time,resource,account,entity,value,source,id,map,null,action,sequence,attributes}'::text[]) name;
SELECT meter.measure_start(measure), meter.measure_end(measure), meter.measure_value(measure), meter.measure_attributes(measure) FROM measure;
SELECT measure::jsonb, measure::jsonb::meter.measure = measure AS same FROM measure;

-- --- order: by start, then end, resource, account, entity, value, source, id, attributes; what is left out first

CREATE TEMP TABLE ordered (n int, measure meter.measure);
INSERT INTO ordered SELECT n, ('{"resource":"r",' || m || '}')::meter.measure FROM (VALUES
	(1, '"time":"1999-12-31T23:59:59Z","id":"z"'), (2, '"time":"2000-01-01T00:00:00Z"'), (3, '"time":"2000-01-01T00:00:00Z","x":1'), (4, '"time":"2000-01-01T00:00:00Z","id":"a"'),
	(5, '"time":"2000-01-01T00:00:00Z","source":""'), (6, '"time":"2000-01-01T00:00:00Z","value":-10'), (7, '"time":"2000-01-01T00:00:00Z","value":9'), (8, '"time":"2000-01-01T00:00:00Z","value":10'),
	(9, '"time":"2000-01-01T00:00:00Z","account":"1"'), (10, '"start_time":"2000-01-01T00:00:00Z","end_time":"2000-01-01T00:00:01Z"'), (11, '"time":"2000-01-01T00:00:00.000001Z"')) v (n, m);
SELECT string_agg(n::text, ' ' ORDER BY measure) FROM ordered;
SELECT count(*) AS pairs FROM ordered a, ordered b WHERE (a.measure < b.measure) = (a.n < b.n) AND (a.measure <= b.measure) = (a.n <= b.n) AND (a.measure > b.measure) = (a.n > b.n)
	AND (a.measure >= b.measure) = (a.n >= b.n) AND (a.measure = b.measure) = (a.n = b.n) AND (a.measure <> b.measure) = (a.n <> b.n)
	AND sign(meter_internal.measure_cmp(a.measure, b.measure)) = sign(a.n - b.n) AND (a.n <> b.n OR meter_internal.measure_hash(a.measure) = meter_internal.measure_hash(b.measure));
CREATE UNIQUE INDEX ON ordered (measure);
CREATE INDEX ON ordered USING hash (measure);
SELECT count(DISTINCT measure), count(*) FROM (SELECT measure FROM ordered UNION ALL SELECT measure::text::meter.measure FROM ordered) m;

-- --- protobuf: a UsageMeasure, which is also the binary form

SELECT meter.measure_to_protobuf('{"start_time":"2016-12-12T15:48:00Z","end_time":"2016-12-12T15:49:00Z","resource":"7a07","value":1.5}');
SELECT meter.measure_from_protobuf('\x088098ecb980efd0021080a6bad680efd0021a04376130374203312e35');
SELECT meter.measure_from_protobuf(meter.measure_to_protobuf(measure)) = measure AS same, meter.measure_to_protobuf(measure) = meter_internal.measure_send(measure) AS send_is_that FROM measure;
CREATE FUNCTION pg_temp.why(message bytea) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
	RETURN 'taken: ' || meter.measure_from_protobuf(message);
EXCEPTION WHEN OTHERS THEN
	RETURN SQLSTATE || ' ' || SQLERRM;
END $$;
SELECT what, pg_temp.why(message) FROM (VALUES (1, 'nothing', ''::bytea), (2, 'no end', '\x08001a0172'), (3, 'an empty resource', '\x080010001a00'), (4, 'ends before it starts', '\x080110001a0172'),
	(5, 'a value that is no number', '\x080010001a0172420178'), (6, 'milliseconds', '\x08 80e8eda1ba2b 10 80e8eda1ba2b 1a0172'), (7, 'attributes with a field', '\x080010001a01724a0b7b2276616c7565223a317d'), (8, 'no length', '\x080010001a0172')) x (n, what, message) ORDER BY n;
-- What timestamps can say and the message cannot is refused by the name of the field.
SELECT meter.measure_to_protobuf('{"start_time":"2024-03-05T10:00:00Z","end_time":"294276-01-01T00:00:00Z","resource":"r"}');

-- --- the inbox

CREATE ROLE regress_measure_producer;
SELECT meter.create_stream('measures');
GRANT USAGE ON SCHEMA measures TO regress_measure_producer;
GRANT INSERT ON measures.measure_inbox TO regress_measure_producer;
-- A producer needs INSERT on measure_inbox and nothing else, and that is no right to send events.
SET ROLE regress_measure_producer;
INSERT INTO measures.measure_inbox VALUES ('{"source":"m","id":"1","start_time":"2024-03-05T10:00:00Z","end_time":"2024-03-05T10:30:00Z","resource":"ip-1","account":"acme","entity":"","value":10,"dir":"out"}');
COPY measures.measure_inbox FROM STDIN;
{"source":"m","id":"2","start_time":"2024-03-05T10:30:00Z","end_time":"2024-03-05T11:30:00Z","resource":"ip-1","value":20}

{:source :m :id "3" :time #inst "2024-03-05T11:30:00Z" :resource "ip-1" :value 30}
\.
SELECT meter.ingest_json('measures', '[{"source":"m","id":"4","time":"2024-03-05T11:40:00Z","resource":"ip-1","value":40},{"time":"2024-03-05T11:50:00Z","resource":"ip-2"}]', measures => true);
INSERT INTO measures.measure (start_time, end_time, resource) VALUES (now(), now(), 'r');
INSERT INTO measures.inbox VALUES ('{"time":"2024-03-05T10:00:00Z","resource":"r","action":"start"}');
SELECT meter.ingest_json('measures', '{"time":"2024-03-05T10:00:00Z","resource":"r","action":"start"}');
TABLE measures.measure_inbox;
RESET ROLE;
CREATE TEMP VIEW log AS SELECT source, id, start_time, end_time, resource, account, entity, value, attributes FROM measures.measure ORDER BY arrival;
TABLE log;

-- Rows of one source and id are duplicates; what a meter sums is what was sent.
SELECT FROM meter.create_meter('measures', 'bytes', aggregate => 'sum', dimensions => '{}', lateness => '0', since => '2024-03-05 10:00Z');
INSERT INTO measures.measure_inbox VALUES ('{"source":"m","id":"1","start_time":"2024-03-05T10:00:00Z","end_time":"2024-03-05T10:30:00Z","resource":"ip-1","account":"acme","value":10,"dir":"out"}');
CALL meter.run('measures');
SELECT account, resource, sum(quantity) FROM measures.usage GROUP BY 1, 2 ORDER BY 1, 2;
SELECT count(*) FROM meter.verify('measures');

-- A bad line refuses its statement, and is named; diverted, it is kept with the reason, and the rest is taken.
COPY measures.measure_inbox FROM STDIN;
{"time":"2024-03-05T12:00:00Z","resource":"bad","value":1}
{"start_time":"2024-03-05T12:00:00Z","end_time":"2024-03-05T11:00:00Z","resource":"bad","value":1}
\.
INSERT INTO measures.measure_inbox VALUES (NULL);
SET meter.on_bad_event = divert;
COPY measures.measure_inbox FROM STDIN;
{"time":"2024-03-05T12:00:00Z","resource":"good","value":1}
{"start_time":"2024-03-05T12:00:00Z","end_time":"2024-03-05T11:00:00Z","resource":"bad","value":1}
{"time":"2024-03-05T12:00:00Z","resource":"bad","value":1e100}

not at all
\N
\.
SELECT meter.ingest_json('measures', '[{"time":"2024-03-05T12:00:00Z","resource":"bad","value":"x"},{"time":"2024-03-05T12:00:00Z","resource":"good","value":2}]', true);
RESET meter.on_bad_event;
SELECT resource, value FROM log WHERE resource IN ('good', 'bad');
SELECT raw, reason FROM measures.rejected ORDER BY rejection;
UPDATE measures.measure_inbox SET measure = NULL;
DELETE FROM measures.measure_inbox;

-- The same limits on all paths.
CREATE FUNCTION pg_temp.try(path text, key text, value text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	measure jsonb := jsonb_build_object('time', '2024-03-05T10:00:00Z', 'resource', 'r') || jsonb_build_object(key, value);
BEGIN
	CASE path
		WHEN 'measure_inbox' THEN INSERT INTO measures.measure_inbox VALUES (measure::text);
		WHEN 'jsonb' THEN INSERT INTO measures.measure_inbox VALUES (measure);
		WHEN 'ingest_json' THEN PERFORM meter.ingest_json('measures', jsonb_build_array(measure)::text, true);
		WHEN 'protobuf' THEN INSERT INTO measures.measure_inbox SELECT meter.measure_from_protobuf(meter.measure_to_protobuf(measure::meter.measure));
	END CASE;
	RETURN 'accepted';
EXCEPTION WHEN OTHERS THEN
	RETURN sqlstate || ' ' || sqlerrm;
END $$;
SELECT key, length(value) AS length, string_agg(path, ' ' ORDER BY path) AS paths, outcome FROM (VALUES ('source', repeat('s', 256)), ('id', repeat('i', 1001)), ('resource', repeat('r', 1001)), ('account', repeat('a', 1001)),
	('account', repeat('a', 1000)), ('entity', repeat('e', 256)), ('value', '1e100'), ('value', '1e-101'), ('time', '10000-01-01T00:00:00Z'), ('note', repeat('n', 65536))) v (key, value),
	unnest('{measure_inbox,jsonb,ingest_json,protobuf}'::text[]) path, LATERAL (SELECT pg_temp.try(path, key, value) AS outcome) t GROUP BY 1, 2, 4 ORDER BY 1, 2, 4;

-- A protobuf batch carries both kinds of measures.
\getenv srcdir PG_ABS_SRCDIR
\set protobuf :srcdir '/test/protobuf.sql'
\set ECHO none
\i :protobuf
\set ECHO all
SELECT meter.ingest_protobuf('measures', '\x2a' || pg_temp.delimited(meter.measure_to_protobuf('{"source":"p","id":"1","time":"2024-03-05T13:00:00Z","resource":"2001:db8::1","account":"acme","value":5}'))
	|| '\x12' || pg_temp.delimited(pg_temp.measure('192.0.2.1', 10, '2024-03-05 13:00Z', '2024-03-05 13:01Z', 1)) || '\x1a026d31' || pg_temp.batch('{"time":"2024-03-05T13:00:00Z","resource":"r","action":"start"}'));
SELECT * FROM log WHERE source IN ('p', 'm1');
SELECT m ->> 'id' AS id FROM meter.usage_measures_from_protobuf_stream(pg_temp.delimited(meter.measure_to_protobuf('{"id":"1","time":"2024-03-05T13:00:00Z","resource":"r"}')) || pg_temp.delimited(meter.measure_to_protobuf('{"id":"2","time":"2024-03-05T13:00:00Z","resource":"r"}'))) m;

-- An address is a text, and taken as it comes: two spellings of one are two resources. inet has one spelling of each.
SELECT host(a::inet) AS resource, count(*) FROM unnest('{2001:db8::1,2001:0DB8:0:0::0001,192.0.2.1}'::text[]) a GROUP BY 1 ORDER BY 1;

-- Row security of the measure log is for the producer: an inbox, which inserts as the owner, cannot apply it, and refuses.
ALTER TABLE measures.measure ENABLE ROW LEVEL SECURITY;
SET ROLE regress_measure_producer;
INSERT INTO measures.measure_inbox VALUES ('{"time":"2024-03-05T13:00:00Z","resource":"r"}');
SELECT meter.ingest_json('measures', '[{"time":"2024-03-05T13:00:00Z","resource":"r"}]', true);
RESET ROLE;
ALTER TABLE measures.measure DISABLE ROW LEVEL SECURITY;

-- The views come and go with the stream; resume makes them anew.
DROP VIEW measures.measure_inbox;
SELECT meter.ingest_json('measures', '{}', true);
SELECT meter.resume('measures');
INSERT INTO measures.measure_inbox VALUES ('{"time":"2024-03-05T13:00:00Z","resource":"again"}');
SELECT count(*) FROM log WHERE resource = 'again';
SELECT tgname FROM pg_trigger WHERE tgrelid = 'measures.measure_inbox'::regclass ORDER BY 1;
ALTER VIEW measures.measure_inbox OWNER TO regress_measure_producer;
INSERT INTO measures.measure_inbox VALUES ('{"time":"2024-03-05T13:00:00Z","resource":"again"}');
ALTER VIEW measures.measure_inbox OWNER TO CURRENT_USER;
-- A trigger that is missing loses nothing in silence.
DROP TRIGGER store ON measures.measure_inbox;
INSERT INTO measures.measure_inbox VALUES ('{"time":"2024-03-05T13:00:00Z","resource":"lost"}');
DROP VIEW log;
SET client_min_messages = warning;
SELECT meter.drop_stream('measures', true);
RESET client_min_messages;
SELECT to_regnamespace('measures');

-- One malformed record in a batch of job records: the others are logged.
SELECT meter.create_stream('jobs');
SET meter.on_bad_event = divert;
INSERT INTO jobs.measure_inbox VALUES ('{"source":"ce","id":"1","start_time":"2024-03-05T10:00:00Z","end_time":"2024-03-05T10:30:00Z","resource":"job-1","account":"phys","value":1}'),
	('{"source":"ce","id":"2","start_time":"2024-03-05T10:00:01Z","end_time":"2024-03-05T10:00:00Z","resource":"job-2","account":"phys","value":1}'),
	('{"source":"ce","id":"3","start_time":"2024-03-05T10:00:00Z","end_time":"2024-03-05T10:30:00Z","resource":"job-3","account":"phys","value":1}');
RESET meter.on_bad_event;
SELECT id, resource FROM jobs.measure ORDER BY id;
SELECT reason FROM jobs.rejected;
SET client_min_messages = warning;
SELECT meter.drop_stream('jobs', true);
DROP OWNED BY regress_measure_producer;
DROP ROLE regress_measure_producer;
