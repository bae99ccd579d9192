-- Promise: the type meter.event reads JSON, EDN and CloudEvents, has one text for each event, and says what is wrong and where.
SET timezone = 'America/New_York';		-- the text form depends on no setting
SET datestyle = 'SQL, DMY';

-- the detail of the error that reading a text raises
CREATE FUNCTION refused(event text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	detail text;
BEGIN
	RETURN 'taken: ' || event::meter.event::text;
EXCEPTION WHEN invalid_text_representation THEN
	GET STACKED DIAGNOSTICS detail = PG_EXCEPTION_DETAIL;
	RETURN detail;
END
$$;

-- --- in and out

SELECT '{"time":"2016-12-12T15:48:32Z","resource":"7a07…","action":"create","account":"geneva-jug"}'::meter.event;
-- the same event, as EDN and as JSON
SELECT '{:type :usage :entity :vm :action :create :time #inst "2016-12-12T15:48:32.000-00:00" :template "ubuntu-16.04"
  :source :cloudstack :account "geneva-jug" :uuid "7a070a3d-66ff-4658-ab08-fe3cecd7c70f" :version 1 :offering "medium"}'::meter.event AS edn \gset
SELECT '{"type":"usage","entity":"vm","action":"create","time":"2016-12-12T15:48:32.000-00:00","template":"ubuntu-16.04",
  "source":"cloudstack","account":"geneva-jug","uuid":"7a070a3d-66ff-4658-ab08-fe3cecd7c70f","version":1,"offering":"medium"}'::meter.event AS json \gset
SELECT :'edn' AS event;
SELECT :'edn' = :'json' AS same_text, :'edn'::meter.event = :'json'::meter.event AS same_event, :'edn'::meter.event = :'edn'::meter.event::jsonb::meter.event AS through_jsonb;

-- Whatever the order of keys, white space, zone and spelling: one event has one text.
SELECT DISTINCT e::meter.event FROM (VALUES
	('{"time":"2024-03-05T10:00:00.5Z","resource":"vm-1","action":"start","value":1.5,"a":{"x":1,"y":[true,null,"é"]},"b":"/"}'),
	(E' {\t"b" : "\\/",\r\n"a" : { "y" : [ true , null , "\\u00e9" ] , "x" : 1.0e0 } , "value" : "15e-1" , "action" : "start" , "resource" : "vm-1" , "time" : "2024-03-05t11:00:00.500000+01:00" } '),
	('{"attributes":{"b":"/","a":{"y":[true,null,"é"],"x":1}},"time":"2024-03-05 05:00:00.500-05","resource":"vm-1","action":"start","value":"1.50"}'),
	('; EDN
	{:time #inst "2024-03-05T10:00:00.500Z", :resource "vm-1", :action :start, :value 1.50M, :a {:x 1N "y" [true nil \é]} #_ #_ :b "discarded" :b \/}')) v (e);

-- Nulls and what is left out are the same for fields; attributes keep them.
SELECT '{"time":"2024-03-05T10:00:00Z","resource":"r","action":"a","account":null,"value":null,"note":null}'::meter.event;
-- Attributes may have any other name and value; numbers are decimals, exact to the last digit.
SELECT '{"time":"2024-03-05T10:00:00Z","resource":"r","action":"a","":"empty name","n":[0.1,-0.0,1E3,12345678901234567890.12345678901234567890],"q":"\"\\\b\f\n\r\t\u0001\u007f\ud83d\ude00"}'::meter.event;
-- Whole numbers are taken where a text is expected: some systems number their resources.
SELECT '{"time":"2024-03-05T10:00:00Z","resource":4711,"action":"a","account":42}'::meter.event;
-- as far as timestamps go
SELECT '{"time":"4714-11-24T00:00:00Z BC","resource":"r","action":"a"}'::meter.event, '{"time":"294276-12-31T23:59:59.999999Z","resource":"r","action":"a"}'::meter.event;

-- EDN: what each kind of value becomes.
SELECT '{:time #inst "2024-03-05T11:00:00+01:00" :resource #uuid "7A070A3D-66FF-4658-AB08-FE3CECD7C70F" :action :vm/create
	:keyword :a.b/c-d :char [\a \newline \space \u00e4 \( \,] :numbers [+5 -7N 1.50M 1e3 2.5E-3] :set #{3 1 2} :list (1 [2 {:k nil}]) :string "a\tb
c" :inst #inst "2024-03-05T10:00:00.120Z" :empty [{} [] () #{} ""]}'::meter.event;
-- comments, commas and what is discarded
SELECT '{;comment }
 :time "2024-03-05T10:00:00Z",,,:resource "r" #_:account #_"nobody" :action "a" #_(sym #foo/bar {1 2} ##NaN #inst 7) ;}
} ; the end'::meter.event;

-- CloudEvents: the envelope's source and id are the event's; data says the rest; the subject is the resource and the type
-- the action unless data says otherwise; extensions become attributes.
SELECT '{"specversion":"1.0","id":"A234-1234-1234","source":"/cloud/geneva","type":"com.example.vm.create","subject":"vm-1","time":"2018-04-05T17:31:00Z",
	"comexampleextension1":"value","datacontenttype":"application/json","dataschema":"https://example.com/s","data":{"account":"geneva-jug","value":4,"cores":2}}'::meter.event;
SELECT '{"specversion":"1.0","id":"1","source":"s","type":"com.example.vm.create","subject":"region-1","time":"2018-04-05T17:31:00Z","cores":1,
	"data":{"resource":"vm-1","action":"create","time":"2018-04-05T17:30:00Z","id":7,"source":"agent","type":"vm","cores":2}}'::meter.event;
-- what is in both is taken from data
SELECT '{"z":0,"specversion":"1.0","b":0,"id":"1","a":0,"source":"s","y":"kept","type":"t","subject":"r","time":"2018-04-05T17:31:00Z","c":"kept","account":"envelope","offering":"envelope",
	"data":{"z":1,"b":1,"account":"data","a":1,"x":1,"attributes":{"w":1}}}'::meter.event;

-- --- accessors

CREATE TEMP TABLE event AS SELECT :'edn'::meter.event AS event;
SELECT event ->> 'account' AS account, event ->> 'time' AS time, event ->> 'template' AS template, event ->> 'version' AS version, event ->> 'nothing' AS nothing FROM event;
SET timezone = 'UTC';
SET datestyle = 'ISO';
SELECT meter.event_time(event), event ->> 'resource' AS resource, event ->> 'action' AS action, event ->> 'account' AS account, event ->> 'entity' AS entity,
	event ->> 'offering' AS offering FROM event;
SELECT meter.event_value(event), event ->> 'source' AS source, event ->> 'id' AS id, meter.event_attributes(event) FROM event;
SELECT name, quote_nullable('{"time":"2024-03-05T10:00:00Z","resource":"r","action":"a","value":1e2,"id":"","null":null,"map":{"b":1,"a":[]},"quo\"te":"a\nb","":true}'::meter.event ->> name) AS text
FROM unnest('{value,id,null,map,"quo\"te","",attributes,uuid,type}'::text[]) name;
SELECT event::jsonb FROM event;
SELECT '{"resource":"r","time":"2024-03-05T10:00:00Z","action":"a","n":1.0}'::jsonb::meter.event;
INSERT INTO event VALUES ('{"resource":"r","time":"2024-03-05T10:00:00Z","action":"a"}'::jsonb), (NULL);		-- an assignment will do
SELECT '{"resource":"r"}'::jsonb::meter.event;
SELECT '[]'::jsonb::meter.event;

-- --- order: by time, then resource, action, account, entity, offering, value, source, id, attributes; what is left out first

CREATE TEMP TABLE ordered (n int, event meter.event);
INSERT INTO ordered SELECT n, ('{"resource":"r","action":"a",' || e || '}')::meter.event FROM (VALUES
	(1, '"time":"1999-12-31T23:59:59Z","id":"z"'), (2, '"time":"2000-01-01T00:00:00Z"'), (3, '"time":"2000-01-01T00:00:00Z","x":1'), (4, '"time":"2000-01-01T00:00:00Z","x":2'),
	(5, '"time":"2000-01-01T00:00:00Z","id":""'), (6, '"time":"2000-01-01T00:00:00Z","id":"a"'), (7, '"time":"2000-01-01T00:00:00Z","id":"a","source":""'),
	(8, '"time":"2000-01-01T00:00:00Z","value":-10'), (9, '"time":"2000-01-01T00:00:00Z","value":9'), (10, '"time":"2000-01-01T00:00:00Z","value":10'),
	(11, '"time":"2000-01-01T00:00:00Z","account":"00000000-0000-0000-0000-000000000000"'), (12, '"time":"2000-01-01T00:00:00Z","account":"1"'), (13, '"time":"2000-01-01T00:00:00.000001Z"')) v (n, e);
SELECT string_agg(n::text, ' ' ORDER BY event) FROM ordered;
SELECT count(*) AS pairs FROM ordered a, ordered b WHERE (a.event < b.event) = (a.n < b.n) AND (a.event <= b.event) = (a.n <= b.n) AND (a.event > b.event) = (a.n > b.n)
	AND (a.event >= b.event) = (a.n >= b.n) AND (a.event = b.event) = (a.n = b.n) AND (a.event <> b.event) = (a.n <> b.n)
	AND sign(meter_internal.event_cmp(a.event, b.event)) = sign(a.n - b.n) AND (a.n <> b.n OR meter_internal.event_hash(a.event) = meter_internal.event_hash(b.event));
CREATE UNIQUE INDEX ON ordered (event);
CREATE INDEX ON ordered USING hash (event);
SET enable_seqscan = off;
SELECT n FROM ordered WHERE event >= '{"time":"2000-01-01T00:00:00Z","resource":"r","action":"a","value":9}' ORDER BY event;
SELECT count(*) FROM ordered a JOIN ordered b USING (event);
RESET enable_seqscan;
SELECT count(DISTINCT event), count(*) FROM (SELECT event FROM ordered UNION ALL SELECT event::text::meter.event FROM ordered) e;

-- --- size: at most half of jsonb's

SELECT pg_column_size(event) * 2 <= pg_column_size(event::jsonb) AS half FROM event WHERE event IS NOT NULL ORDER BY event;

-- --- timelines: the label is the offering; actions in neither list are changes

SELECT event ->> 'resource' AS resource, meter.timeline(event, '{create,start}', '{destroy}') FROM (SELECT e::meter.event AS event FROM unnest(ARRAY[
	'{"time":"2024-03-05T12:00:00Z","resource":"b","action":"destroy"}', '{"time":"2024-03-05T11:00:00Z","resource":"a","action":"resize","offering":"large"}',
	'{"time":"2024-03-05T10:00:00Z","resource":"a","action":"create","offering":"small","value":2}', '{"time":"2024-03-05T12:00:00Z","resource":"a","action":"destroy","offering":"huge"}',
	'{"time":"2024-03-05T09:00:00Z","resource":"b","action":"start"}', '{"time":"2024-03-05T11:30:00Z","resource":"a","action":"void","offering":"other"}', NULL]) e) x
WHERE event IS NOT NULL GROUP BY 1 ORDER BY 1;
SELECT meter.timeline(event, '{create}', NULL) FROM event;
SELECT meter.timeline(event, '{a}', '{b,a}') FROM event;
SELECT meter.timeline(event, '{a}', '{b}') FROM event WHERE false;

-- in any order, and by parallel workers
CREATE TABLE many AS SELECT format('{"time":"2024-03-05T%s:%s:00Z","resource":"r%s","action":"%s","offering":"o%s"}', to_char(i * 7 % 24, 'FM00'), to_char(i * 11 % 60, 'FM00'), i % 5,
	(ARRAY['create', 'resize', 'destroy'])[1 + i * 13 % 3], i % 3)::meter.event AS event FROM generate_series(1, 3000) i;
ANALYZE many;
CREATE TEMP TABLE serially AS SELECT event ->> 'resource' AS resource, meter.timeline(event, '{create}', '{destroy}' ORDER BY event DESC) AS line FROM many GROUP BY 1;
SET parallel_setup_cost = 0;
SET parallel_tuple_cost = 0;
SET min_parallel_table_scan_size = 0;
CREATE FUNCTION pg_temp.plan_has(query text, what text) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
	line text;
BEGIN
	FOR line IN EXECUTE 'EXPLAIN (COSTS OFF) ' || query LOOP
		IF line LIKE '%' || what || '%' THEN RETURN true; END IF;
	END LOOP;
	RETURN false;
END
$$;
SELECT pg_temp.plan_has($$SELECT meter.timeline(event, '{create}', '{destroy}') FROM many GROUP BY event ->> 'resource'$$, 'Partial') AS in_parallel;
CREATE TABLE event_in_parallel AS SELECT event ->> 'resource' AS resource, meter.timeline(event, '{create}', '{destroy}') AS line FROM many GROUP BY 1;
SELECT count(*) FROM serially JOIN event_in_parallel USING (resource, line);
RESET parallel_setup_cost;
RESET parallel_tuple_cost;
RESET min_parallel_table_scan_size;
DROP TABLE many, event_in_parallel;

-- --- what is refused, and what is said then

SELECT refused(e) FROM unnest(ARRAY['', ' ', 'x', E'\uFEFF{}', '[]', '"a"', '{', '{}', '{"time"}', '{"time":}', '{"time":1,}', '{"a":1 "b":2}', '{"a":1}}', '{a:1}', '{''a'':1}', '{"a":1', '{"a":tru}', '{"a":"b', '{"a":[1,2',
	'{"a":[1,]}', '{"a":01}', '{"a":1.}', '{"a":.5}', '{"a":+1}', '{"a":0x10}', '{"a":NaN}', '{"a":-Infinity}', '{"a":1e999999}', '{"a":"\x"}', '{"a":"\u12"}', '{"a":"\u0000"}', '{"a":"\ud800"}', '{"a":"\ud800\u0041"}', '{"a":"\udc00"}',
	E'{"a":"\t"}', '{"a":1,"b":2,"a":3}', '{"a":{"b":1,"b":2}}', '{"a":' || repeat('[', 100) || repeat(']', 100) || '}']) e;
-- what fields take
SELECT refused(replace('{"resource":"r","action":"a",%}', '%', e)) FROM unnest(ARRAY['"x":1', '"time":null', '"time":1709632800', '"time":"2024-03-05T10:00:00"', '"time":"2024-03-05"', '"time":"2024-03-05T10:00Z"', '"time":"now"', '"time":"infinity"',
	'"time":"2024-02-30T10:00:00Z"', '"time":"2024-03-05T24:00:00Z"', '"time":"2016-12-31T23:59:60Z"', '"time":"2024-03-05T10:00:00.1234567Z"', '"time":"2024-03-05T10:00:00.1234560Z"', '"time":"2024-03-05T10:00:00+25"', '"time":"2024-03-05T10:00:00 America/New_York"',
	'"time":"0000-03-05T10:00:00Z"', '"time":"999999-03-05T10:00:00Z"']) e;
SELECT refused(replace('{"time":"2024-03-05T10:00:00Z",%}', '%', e)) FROM unnest(ARRAY['"resource":"r"', '"action":"a"', '"resource":"","action":"a"', '"resource":"r","action":""', '"resource":"r","action":true', '"resource":["r"],"action":"a"', '"resource":1.5,"action":"a"',
	'"resource":"r","uuid":"r","action":"a"', '"resource":"r","action":"a","type":"invoice"', '"resource":"r","action":"a","value":"NaN"', '"resource":"r","action":"a","value":"much"', '"resource":"r","action":"a","value":{}', '"resource":"r","action":"a","attributes":[]',
	'"resource":"r","action":"a","attributes":{"account":"x"}', '"resource":"r","action":"a","x":1,"attributes":{"x":1}']) e;
-- EDN
SELECT refused(replace('{:time "2024-03-05T10:00:00Z" :resource "r" :action :a %}', '%', e)) FROM unnest(ARRAY[':x', ':x sym', ':x true :x false', '"x" 1 :x 2', 'x 1', '1 2', ':x #{1 1}', ':x {:y 1 :y 2}', ':x 1/2', ':x 007', ':x 1.5N', ':x ##Inf', ':x #foo 1',
	':x #inst "2024-03-05"', ':x #uuid "7a07"', ':x \nonsense', ':x \u0000', ':x "\u0000"', ':x :', ':x "a', '#_', ':x [1 2', ':x (1 2]', repeat('#_', 100), ':type :invoice', ':resource 1', '} :b', ':x ^{:m 1} []', ':x #:ns{:a 1}']) e;
-- CloudEvents
SELECT refused(replace('{"specversion":"1.0",%}', '%', e)) FROM unnest(ARRAY['"id":"1","source":"s"', '"id":"","source":"s","type":"t"', '"id":"1","source":"s","type":"t","subject":"r"', '"id":"1","source":"s","type":"t","time":"2024-03-05T10:00:00Z"',
	'"id":"1","source":"s","type":"t","subject":"r","time":"2024-03-05T10:00:00Z","data_base64":"AAEC"', '"id":"1","source":"s","type":"t","subject":"r","time":"2024-03-05T10:00:00Z","data":"text"', '"id":"1","source":"s","type":"t","subject":"r","time":"2024-03-05T10:00:00Z","data":{"value":"x"}']) e;
SELECT refused('{"specversion":"0.3","id":"1","source":"s","type":"t","subject":"r","time":"2024-03-05T10:00:00Z"}');
-- an error as users see it
SELECT '{"time":"2024-03-05T10:00:00","resource":"r","action":"a"}'::meter.event;

-- --- bad events: with meter.on_bad_event = 'divert' a text that is none is kept, and nothing is done with it

SET meter.on_bad_event = 'divert';
CREATE TEMP TABLE diverted (event meter.event);
COPY diverted FROM stdin;
{"time":"2024-03-05T10:00:00Z","resource":"r","action":"good"}
{"time":"2024-03-05T10:00:00","resource":"r","action":"no zone"}
not even JSON
\.
RESET meter.on_bad_event;
SELECT event FROM diverted;
SELECT event ->> 'action' FROM diverted;
SELECT event FROM diverted ORDER BY event;
SELECT DISTINCT event FROM diverted;
SELECT event::jsonb FROM diverted;
SELECT meter.timeline(event, '{good}', '{}') FROM diverted;
SET meter.on_bad_event = 'ignore';
-- jsonb has its own errors, diverted or not
SET meter.on_bad_event = 'divert';
SELECT '{}'::jsonb::meter.event;
RESET meter.on_bad_event;
DROP FUNCTION refused;
