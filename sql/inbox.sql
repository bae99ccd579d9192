-- Promise: what comes to the inbox of a stream, or to meter.ingest…, is logged once, refused or kept as rejected, and never lost.
SET timezone = 'UTC';
SET datestyle = 'ISO';
\pset null null
CREATE ROLE regress_inbox_producer;
CREATE ROLE regress_inbox_stranger;
SELECT meter.create_stream('inbox_cloud');
GRANT USAGE ON SCHEMA inbox_cloud TO regress_inbox_producer;
GRANT INSERT ON inbox_cloud.inbox TO regress_inbox_producer;
CREATE VIEW log AS SELECT arrival, source, id, "time", resource, account, entity, action, offering, value, attributes FROM inbox_cloud.event ORDER BY arrival;

-- A producer needs INSERT on the inbox and nothing else.
SET ROLE regress_inbox_producer;
INSERT INTO inbox_cloud.inbox VALUES ('{"time":"2016-12-12T15:48:32Z","resource":"7a07","action":"create","account":"geneva-jug"}');
COPY inbox_cloud.inbox FROM STDIN;
{"time":"2016-12-12T15:49:00Z","resource":"vm-1","action":"start","value":1.50,"zone":"ch-gva-2","id":"1","source":"dev"}
{:type :usage :entity :vm :action :create :time #inst "2016-12-12T15:48:32.000-00:00" :template "ubuntu-16.04" :source :cloudstack :account "geneva-jug" :uuid "7a070a3d-66ff-4658-ab08-fe3cecd7c70f" :version 1 :offering "medium"}
\.
SELECT meter.ingest('inbox_cloud', '{"time":"2016-12-12T16:00:00Z","resource":"vm-1","action":"stop"}', '{"time":"2016-12-12T16:01:00Z","resource":"vm-1","action":"start"}');
INSERT INTO inbox_cloud.event ("time", resource, action) VALUES (now(), 'r', 'start');
TABLE inbox_cloud.inbox;
SELECT count(*) FROM inbox_cloud.event;
RESET ROLE;
TABLE log;
TABLE inbox_cloud.inbox;

-- Others are refused on every ingestion path.
SET ROLE regress_inbox_stranger;
INSERT INTO inbox_cloud.inbox VALUES ('{"time":"2016-12-12T15:48:32Z","resource":"7a07","action":"create"}');
SELECT meter.ingest('inbox_cloud', '{"time":"2016-12-12T15:48:32Z","resource":"7a07","action":"create"}');
SELECT meter.ingest_protobuf('inbox_cloud', '');
SELECT meter.ingest_measures('inbox_cloud', 'r', '');
RESET ROLE;
GRANT USAGE ON SCHEMA inbox_cloud TO regress_inbox_stranger;
SET ROLE regress_inbox_stranger;
SELECT meter.ingest('inbox_cloud', '{"time":"2016-12-12T15:48:32Z","resource":"7a07","action":"create"}');
RESET ROLE;
SELECT meter.ingest('nowhere', '{"time":"2016-12-12T15:48:32Z","resource":"7a07","action":"create"}');
SELECT meter.ingest(NULL, '{"time":"2016-12-12T15:48:32Z","resource":"7a07","action":"create"}');
SELECT meter.ingest('inbox_cloud', VARIADIC NULL);

-- One bad line refuses its statement, and is named.
COPY inbox_cloud.inbox FROM STDIN;
{"time":"2016-12-12T15:49:00Z","resource":"vm-9","action":"start"}
{"time":"2016-12-12T15:49:00","resource":"vm-9","action":"stop"}
\.
COPY inbox_cloud.inbox FROM STDIN;
{"time":"2016-12-12T15:49:00Z","resource":"vm-9","action":"start"}
{"time":"2016-12-12T15:49:00Z","resource":"vm-9","action":"reconciled:stop"}
\.
INSERT INTO inbox_cloud.inbox VALUES (NULL);
SELECT meter.ingest('inbox_cloud', '{"time":"2016-12-12T16:00:00Z","resource":"vm-9","action":"stop"}', NULL);
SELECT count(*) FROM log WHERE resource = 'vm-9';

-- Diverted, it is kept with the reason, and the rest is taken.
SET meter.on_bad_event = divert;
COPY inbox_cloud.inbox FROM STDIN;
{"time":"2016-12-12T15:49:00Z","resource":"vm-9","action":"start"}
{"time":"2016-12-12T15:49:00","resource":"vm-9","action":"stop"}
{"time":"2016-12-12T15:50:00Z","resource":"vm-9","action":"reconciled:stop"}
not at all
\N

{"time":"2016-12-12T15:51:00Z","resource":"vm-9","action":"stop"}
\.
INSERT INTO inbox_cloud.inbox VALUES ('{"time":"2016-12-12T15:52:00Z","resource":"vm-9","action":"start"}'), ('{}') RETURNING event ->> 'time' AS "time";
SELECT meter.ingest('inbox_cloud', '{"resource":"vm-9"}', '{"time":"2016-12-12T16:00:00Z","resource":"vm-9","action":"stop"}', NULL);
RESET meter.on_bad_event;
SELECT "time", action FROM log WHERE resource = 'vm-9';
SELECT rejection, received_at <= now() AS received, sender = session_user AS by_me, raw, reason FROM inbox_cloud.rejected ORDER BY 1;
-- What is mended is sent again; what is rejected goes when its owner says so.
INSERT INTO inbox_cloud.inbox SELECT replace(raw, '00",', '00Z",')::meter.event FROM inbox_cloud.rejected WHERE rejection = 1;
DELETE FROM inbox_cloud.rejected;
SELECT "time", action FROM log WHERE resource = 'vm-9' ORDER BY arrival DESC LIMIT 1;

-- An event can be taken back, by the action for it.
SELECT meter.ingest('inbox_cloud', '{"time":"2016-12-12T16:00:00Z","resource":"vm-1","action":"void","source":"dev","id":"1"}');

-- What an inbox cannot do.
UPDATE inbox_cloud.inbox SET event = NULL;
DELETE FROM inbox_cloud.inbox;
TRUNCATE inbox_cloud.inbox;
INSERT INTO inbox_cloud.inbox VALUES ('{"time":"2016-12-12T16:00:00Z","resource":"c","action":"stop"}') ON CONFLICT (event) DO NOTHING;
-- Nothing there conflicts: duplicates are a matter of source and id.
INSERT INTO inbox_cloud.inbox VALUES ('{"time":"2016-12-12T16:00:00Z","resource":"c","action":"stop"}') ON CONFLICT DO NOTHING;

-- More than a block, in order.
INSERT INTO inbox_cloud.inbox SELECT jsonb_build_object('time', '2020-01-01 00:00Z'::timestamptz + n * interval '1 s', 'resource', 'many', 'action', 'start', 'value', n)::meter.event FROM generate_series(1, 2500) n;
SELECT count(*), count(*) FILTER (WHERE value > before) AS in_order, sum(value) FROM (SELECT value, lag(value, 1, 0) OVER (ORDER BY arrival) AS before FROM inbox_cloud.event WHERE resource = 'many') x;

-- Several in one statement, and one in another.
SELECT meter.create_stream('inbox_other');
WITH a AS (INSERT INTO inbox_cloud.inbox SELECT jsonb_build_object('time', '2020-01-01T00:00:00Z', 'resource', 'a', 'action', n)::meter.event FROM generate_series(1, 3) n RETURNING event),
	b AS (INSERT INTO inbox_cloud.inbox SELECT jsonb_build_object('time', '2020-01-01T00:00:00Z', 'resource', 'b', 'action', n)::meter.event FROM generate_series(1, 2) n RETURNING event)
INSERT INTO inbox_other.inbox SELECT event FROM a UNION ALL SELECT event FROM b;
SELECT (SELECT count(*) FROM inbox_cloud.event WHERE resource IN ('a', 'b')) AS cloud, (SELECT count(*) FROM inbox_other.event) AS other;
CREATE FUNCTION also(n integer, fails boolean) RETURNS meter.event LANGUAGE plpgsql AS $$
BEGIN
	BEGIN
		INSERT INTO inbox_cloud.inbox SELECT jsonb_build_object('time', '2020-01-01T00:00:00Z', 'resource', 'inner', 'action', i)::meter.event FROM generate_series(1, 600) i;
		IF fails THEN
			RAISE division_by_zero;
		END IF;
	EXCEPTION WHEN division_by_zero THEN
		NULL;
	END;
	RETURN jsonb_build_object('time', '2020-01-01T00:00:00Z', 'resource', 'outer', 'action', n);
END $$;
-- An inner statement that fails takes along its own rows and no others.
INSERT INTO inbox_cloud.inbox SELECT also(n, n % 3 = 0) FROM generate_series(1, 9) n;
SELECT resource, count(*), count(DISTINCT action) FROM inbox_cloud.event WHERE resource IN ('inner', 'outer') GROUP BY 1 ORDER BY 1;

-- So do triggers that the owner has on the log, in the middle of a block and at its end.
CREATE FUNCTION echo() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	INSERT INTO inbox_cloud.inbox VALUES (jsonb_build_object('time', NEW."time", 'resource', 'echo', 'action', NEW.action)::meter.event);
	RETURN NULL;
END $$;
CREATE TRIGGER echo AFTER INSERT ON inbox_cloud.event FOR EACH ROW WHEN (NEW.resource = 'voice') EXECUTE FUNCTION echo();
INSERT INTO inbox_cloud.inbox SELECT jsonb_build_object('time', '2020-01-01T00:00:00Z', 'resource', 'voice', 'action', i)::meter.event FROM generate_series(1, 1500) i;
SELECT resource, count(*), count(DISTINCT action) FROM inbox_cloud.event WHERE resource IN ('voice', 'echo') GROUP BY 1 ORDER BY 1;
DROP TRIGGER echo ON inbox_cloud.event;
-- One that waits for the end of the transaction would run as whoever sent the event: it is refused.
CREATE CONSTRAINT TRIGGER echo AFTER INSERT ON inbox_cloud.event DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION echo();
INSERT INTO inbox_cloud.inbox VALUES ('{"time":"2020-01-01T00:00:00Z","resource":"voice","action":"late"}');
DROP TRIGGER echo ON inbox_cloud.event;
-- Columns that the owner adds are no matter, and statements that are kept notice.
ALTER TABLE inbox_cloud.event ADD COLUMN note text DEFAULT 'none';
INSERT INTO inbox_cloud.inbox VALUES ('{"time":"2020-01-01T00:00:00Z","resource":"noted","action":"start"}');
SELECT resource, note FROM inbox_cloud.event WHERE resource = 'noted';
ALTER TABLE inbox_cloud.event DROP COLUMN note;

-- What is rolled back was never there.
BEGIN;
SAVEPOINT s;
INSERT INTO inbox_cloud.inbox SELECT jsonb_build_object('time', '2020-01-01T00:00:00Z', 'resource', 'gone', 'action', i)::meter.event FROM generate_series(1, 1500) i;
ROLLBACK TO s;
INSERT INTO inbox_cloud.inbox VALUES ('{"time":"2020-01-01T00:00:00Z","resource":"kept","action":"start"}');
SAVEPOINT t;
INSERT INTO inbox_cloud.inbox VALUES ('{"time":"2020-01-01T00:00:01Z","resource":"kept","action":"stop"}');
RELEASE t;
COMMIT;
SELECT resource, count(*) FROM inbox_cloud.event WHERE resource IN ('gone', 'kept') GROUP BY 1;
-- A statement that fails in the middle of a block leaves nothing behind, not even for the next one.
INSERT INTO inbox_cloud.inbox SELECT jsonb_build_object('time', '2020-01-01T00:00:00Z', 'resource', 'gone', 'action', 10 / (20 - i))::meter.event FROM generate_series(1, 30) i;
INSERT INTO inbox_cloud.inbox VALUES ('{"time":"2020-01-01T00:00:02Z","resource":"kept","action":"start"}');
SELECT resource, count(*) FROM inbox_cloud.event WHERE resource IN ('gone', 'kept') GROUP BY 1;

-- Without the statement trigger nothing commits, and nothing is lost in silence.
DROP TRIGGER store ON inbox_cloud.inbox;
INSERT INTO inbox_cloud.inbox VALUES ('{"time":"2020-01-01T00:00:00Z","resource":"lost","action":"start"}');
BEGIN;
SAVEPOINT s;
INSERT INTO inbox_cloud.inbox VALUES ('{"time":"2020-01-01T00:00:00Z","resource":"lost","action":"start"}');
RELEASE s;
COMMIT;
BEGIN;
INSERT INTO inbox_cloud.inbox VALUES ('{"time":"2020-01-01T00:00:00Z","resource":"lost","action":"start"}');
PREPARE TRANSACTION 'lost';
SELECT meter.resume('inbox_cloud');
INSERT INTO inbox_cloud.inbox VALUES ('{"time":"2020-01-01T00:00:00Z","resource":"found","action":"start"}');
SELECT resource, count(*) FROM inbox_cloud.event WHERE resource IN ('lost', 'found') GROUP BY 1;
BEGIN;
INSERT INTO inbox_cloud.inbox VALUES ('{"time":"2020-01-01T00:00:00Z","resource":"prepared","action":"start"}');
PREPARE TRANSACTION 'prepared';
COMMIT PREPARED 'prepared';
SELECT count(*) FROM inbox_cloud.event WHERE resource = 'prepared';

-- Rows are logged as the owner of the stream, who must own the view.
ALTER VIEW inbox_cloud.inbox OWNER TO regress_inbox_stranger;
INSERT INTO inbox_cloud.inbox VALUES ('{"time":"2020-01-01T00:00:00Z","resource":"r","action":"start"}');
ALTER VIEW inbox_cloud.inbox OWNER TO CURRENT_USER;
ALTER TABLE inbox_cloud.rejected OWNER TO regress_inbox_stranger;
SET meter.on_bad_event = divert;
INSERT INTO inbox_cloud.inbox VALUES ('{}');
RESET meter.on_bad_event;
ALTER TABLE inbox_cloud.rejected OWNER TO CURRENT_USER;
-- The triggers are of use for nothing else.
CREATE VIEW public.path AS SELECT NULL::meter.event AS event WHERE false;
CREATE TRIGGER collect INSTEAD OF INSERT ON public.path FOR EACH ROW EXECUTE FUNCTION meter_internal.inbox_collect();
CREATE TRIGGER store AFTER INSERT ON public.path FOR EACH STATEMENT EXECUTE FUNCTION meter_internal.inbox_store();
INSERT INTO public.path VALUES ('{"time":"2020-01-01T00:00:00Z","resource":"r","action":"start"}');
CREATE TABLE public.plain (event meter.event);
CREATE TRIGGER collect BEFORE INSERT ON public.plain FOR EACH ROW EXECUTE FUNCTION meter_internal.inbox_collect();
INSERT INTO public.plain VALUES ('{"time":"2020-01-01T00:00:00Z","resource":"r","action":"start"}');
SELECT meter_internal.inbox_collect();
DROP VIEW public.path;
DROP TABLE public.plain;

-- Messages as a producer makes them: pg_temp.measure, pg_temp.delimited, pg_temp.stream and pg_temp.batch.
\getenv srcdir PG_ABS_SRCDIR
\set protobuf :srcdir '/test/protobuf.sql'
\set ECHO none
\i :protobuf
\set ECHO all

-- Protobuf: a batch of two events and a measure, from source m1.
SELECT meter.ingest_protobuf('inbox_cloud', pg_temp.batch('{"time":"2020-02-01T00:00:00Z","resource":"p1","action":"start"}', '{"time":"2020-02-01T01:00:00Z","resource":"p1","action":"stop"}')
	|| '\x12' || pg_temp.delimited(pg_temp.measure('192.0.2.1', 10485760, '2016-12-12 15:48:00Z', '2016-12-12 15:49:00Z', 1))
	|| '\x1a026d31');
SELECT "time", action FROM log WHERE resource = 'p1';
CREATE VIEW measures AS SELECT arrival, source, id, start_time, end_time, resource, account, value, attributes FROM inbox_cloud.measure;
TABLE measures;
-- Sent again with another batch, and in milliseconds, it has the same id: what it is about.
CREATE TEMP VIEW measured AS SELECT string_agg(pg_temp.delimited(pg_temp.measure('192.0.2.' || n, n * 1000, '2016-12-12 15:48:00Z', '2016-12-12 15:49:00Z', 1, milliseconds)), '' ORDER BY n) AS seconds,
	milliseconds FROM generate_series(1, 3) n, (VALUES (false), (true)) m (milliseconds) GROUP BY milliseconds;
SELECT milliseconds, meter.ingest_measures('inbox_cloud', 'm1', seconds, milliseconds) FROM measured ORDER BY milliseconds;
SELECT source, id, start_time, end_time, resource, value, count(*) FROM measures GROUP BY 1, 2, 3, 4, 5, 6 ORDER BY resource, value;
SELECT meter.ingest_measures('inbox_cloud', 'm1', pg_temp.delimited(pg_temp.measure('192.0.2.9', 1, '2016-12-12 15:48:00.250Z', '2016-12-12 15:49:00Z', 1, true)), true);
SELECT id FROM measures WHERE resource = '192.0.2.9';
-- What is damaged is refused, or diverted as it came: a message, or from there on all.
SELECT meter.ingest_measures('inbox_cloud', NULL, seconds) FROM measured WHERE NOT milliseconds;
SELECT meter.ingest_measures('inbox_cloud', 'm1', NULL);
SELECT meter.ingest_measures('inbox_cloud', 'm2', seconds || '\x020801' || seconds || '\xff') FROM measured WHERE NOT milliseconds;
SELECT meter.ingest_protobuf('inbox_cloud', '\x1200');
SELECT meter.ingest_protobuf('inbox_cloud', '\x12001a026d31');
SELECT meter.ingest_protobuf('inbox_cloud', '\x0a03080012');
SET meter.on_bad_event = divert;
SELECT meter.ingest_measures('inbox_cloud', 'm2', seconds || '\x020801' || seconds || '\xff') FROM measured WHERE NOT milliseconds;
SELECT meter.ingest_protobuf('inbox_cloud', '\x12001a026d31' || pg_temp.batch('{"time":"2020-02-01T00:00:00Z","resource":"p2","action":"start"}', '{"time":"2020-02-01T00:00:00Z","resource":"p2","action":"reconciled:start"}'));
SELECT meter.ingest_protobuf('inbox_cloud', '\x1200');
SELECT meter.ingest_protobuf('inbox_cloud', '\x0a0308001201');
RESET meter.on_bad_event;
SELECT raw, reason FROM inbox_cloud.rejected ORDER BY rejection;
SELECT count(*) FROM measures WHERE source = 'm2';
SELECT count(*) FROM log WHERE resource = 'p2';

-- A batch sent again, whole or in part, by any ingestion path, changes no bill.
SELECT FROM meter.create_stream('inbox_bill');
SELECT meter.create_meter('inbox_bill', 'vm', starts => '{start}', stops => '{stop}', lateness => '0', since => '2024-03-05 00:00Z');
CREATE VIEW batch AS SELECT jsonb_build_object('time', '2024-03-05 00:00Z'::timestamptz + n * interval '7 minutes', 'resource', 'r' || n % 5, 'account', 'a' || n % 2,
	'action', CASE WHEN n / 5 % 2 = 0 THEN 'start' ELSE 'stop' END, 'source', 'dev', 'id', n)::meter.event AS event FROM generate_series(1, 60) n;
CREATE FUNCTION bill() RETURNS text LANGUAGE sql AS $$SELECT md5(string_agg(format('%s %s %s %s', resource, account, period_start, quantity), ';' ORDER BY resource, account, period_start)) FROM inbox_bill.usage_total WHERE quantity <> 0$$;
INSERT INTO inbox_bill.inbox SELECT event FROM batch;
SET meter.now = '2024-03-05 08:00Z';
SELECT usage_rows > 20 AS usage FROM meter.advance('inbox_bill');
SELECT bill() AS before \gset
SELECT sum(quantity) FROM inbox_bill.usage_total;
INSERT INTO inbox_bill.inbox SELECT event FROM batch;
SELECT meter.ingest('inbox_bill', VARIADIC array_agg(event)) FROM batch WHERE (event ->> 'id')::integer % 2 = 0;
SELECT meter.ingest_protobuf('inbox_bill', pg_temp.batch(VARIADIC array_agg(event))) FROM batch;
SELECT adjustments, late_rows FROM meter.advance('inbox_bill');
SELECT bill() = :'before' AS unchanged;
SELECT * FROM meter.verify('inbox_bill');

-- The ingestion paths go with the extension or the stream, what came in stays; made again, they work again.
SELECT meter.drop_stream('inbox_bill');
SELECT count(*) FROM inbox_bill.event;
INSERT INTO inbox_bill.inbox SELECT event FROM batch;
SELECT meter.create_stream('inbox_bill');
INSERT INTO inbox_bill.inbox SELECT event FROM batch LIMIT 1;
SELECT count(*) FROM inbox_bill.event;

SET client_min_messages = warning;
SELECT meter.drop_stream('inbox_bill', true);
SELECT meter.create_stream('inbox_bill');
INSERT INTO inbox_bill.inbox SELECT event FROM batch LIMIT 1;
SELECT count(*) FROM inbox_bill.event;

SELECT meter.drop_stream(name, true) FROM meter.stream WHERE name LIKE 'inbox%' ORDER BY name;
DROP OWNED BY regress_inbox_producer, regress_inbox_stranger;
DROP ROLE regress_inbox_producer, regress_inbox_stranger;
