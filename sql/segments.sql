-- Promise: a log is rolled into segments without stopping its writers, what was rolled is sealed, and usage stays as it is.
SET timezone = 'UTC';
SET datestyle = 'ISO';
\set SHOW_CONTEXT never
SET meter.segment_rows = 0;
SELECT meter.create_stream('segments_cloud');
SELECT meter.create_meter('segments_cloud', 'vm', starts => '{start}', stops => '{stop}', lateness => '0');
SELECT meter.roll('segments_cloud');   -- nothing there: nothing rolled
INSERT INTO segments_cloud.event ("time", resource, account, action, source, id)
SELECT '2024-03-05 00:00'::timestamptz + i * interval '1 minute', 'vm-' || i % 10, 'geneva-jug',
	CASE WHEN i / 10 % 2 = 0 THEN 'start' ELSE 'stop' END, 'api', i::text FROM generate_series(0, 199) i;
SELECT meter.roll('segments_cloud');
SELECT log, segment, state, arrivals, rows, least_time, greatest_time FROM meter.log_segments('segments_cloud');

-- What comes now goes to the next segment; the worker, or meter.run, seals what nobody can write to any more.
INSERT INTO segments_cloud.event ("time", resource, account, action) VALUES ('2024-03-05 04:00', 'vm-11', 'geneva-jug', 'start');
SELECT arrival, tableoid::regclass FROM segments_cloud.event WHERE resource = 'vm-11';
SET meter.now = '2024-03-05 06:00';
CALL meter.run('segments_cloud');
SELECT log, segment, state, arrivals, rows, least_time, greatest_time, bytes > 0 AS has_bytes FROM meter.log_segments('segments_cloud') WHERE log = 'event';
SELECT pg_get_indexdef(indexrelid) FROM pg_index WHERE indrelid = 'segments_cloud.event_0'::regclass ORDER BY 1;
SELECT pg_get_constraintdef(oid), convalidated FROM pg_constraint WHERE conrelid = 'segments_cloud.event_0'::regclass AND conname = 'times_of_segment';
SELECT meter_internal.maintain_step('segments_cloud') AS anything_left_to_do;
SELECT sum(quantity) FROM segments_cloud.usage;
SELECT * FROM meter.verify('segments_cloud');

-- The planner passes by what cannot hold an instant.
CREATE FUNCTION pg_temp.reads(query text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	line text;
	segments text[] := '{}';
BEGIN
	FOR line IN EXECUTE 'EXPLAIN ' || query LOOP
		segments := segments || (SELECT array_agg(m[1]) FROM regexp_matches(line, ' on (event_\d+)[ _]', 'g') m);
	END LOOP;
	RETURN (SELECT string_agg(DISTINCT s, ' ' ORDER BY s) FROM unnest(segments) s);
END $$;
SELECT pg_temp.reads($$SELECT FROM segments_cloud.event WHERE "time" >= '2024-03-05 05:00'$$);
SELECT pg_temp.reads('SELECT FROM segments_cloud.event WHERE arrival > 4294967296');

-- Late events, duplicates of what is sealed, and rows taken back count as in one table.
INSERT INTO segments_cloud.event ("time", resource, account, action, source, id) VALUES
	('2024-03-05 00:05', 'vm-1', 'geneva-jug', 'stop', 'api', 'late'),
	('2024-03-05 00:01', 'vm-2', 'geneva-jug', 'start', 'api', '2'),
	('2024-03-05 00:00', 'vm-3', NULL, 'void', 'api', '3');
SELECT late_rows, adjustments > 0 AS adjusted FROM meter.advance('segments_cloud');
SELECT resource, period_start, quantity FROM segments_cloud.usage WHERE revision > 0 ORDER BY resource, period_start;
SELECT * FROM meter.verify('segments_cloud');

-- By rows: the next run rolls by itself; a segment ahead is always there.
SET meter.segment_rows = 3;
CALL meter.run('segments_cloud');
SELECT segment, state, rows FROM meter.log_segments('segments_cloud') WHERE log = 'event';
-- By age.
SET meter.segment_rows = 0;
SET meter.segment_age = '1d';
INSERT INTO segments_cloud.measure (start_time, end_time, resource, value) VALUES ('2024-03-05 00:00', '2024-03-05 01:00', 'ip', 1);
CALL meter.run('segments_cloud');
SELECT log, segment, state FROM meter.log_segments('segments_cloud') WHERE state IN ('open', 'sealed') ORDER BY 1, 2;
SET meter.now = '2024-03-06 06:00';
CALL meter.run('segments_cloud');
SELECT log, segment, state FROM meter.log_segments('segments_cloud') WHERE state IN ('open', 'sealed') ORDER BY 1, 2;
SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE conrelid = 'segments_cloud.measure_0'::regclass AND conname = 'times_of_segment';

-- A statement finds place in the segments that were there for everybody when it began: no log is rolled beyond those.
BEGIN;
INSERT INTO segments_cloud.event ("time", resource, action) VALUES ('2024-03-06 04:00', 'vm-12', 'start');
SELECT meter.roll('segments_cloud');
INSERT INTO segments_cloud.event ("time", resource, action) VALUES ('2024-03-06 04:00', 'vm-13', 'start');
SELECT meter.roll('segments_cloud');
ROLLBACK;
-- Arrivals are not taken back, and need not be.
INSERT INTO segments_cloud.event ("time", resource, action) VALUES ('2024-03-06 04:00', 'vm-12', 'start');
CALL meter.run('segments_cloud');
SELECT segment, state, rows FROM meter.log_segments('segments_cloud') WHERE log = 'event' AND state <> 'ahead';
SELECT * FROM meter.verify('segments_cloud');

-- One snapshot for all may not see what a writer that has ended wrote: nothing is sealed by it.
SELECT meter.roll('segments_cloud');
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT meter_internal.maintain_step('segments_cloud');
SELECT segment, state FROM meter.log_segments('segments_cloud') WHERE log = 'event' AND state IN ('rolled', 'open');
COMMIT;

-- An index of such a name that is another one, a column that is computed, and a table of the owner's are no obstacle.
CREATE INDEX event_4_resource ON segments_cloud.event_4 (account);
ALTER TABLE segments_cloud.event ADD seconds numeric GENERATED ALWAYS AS (extract(epoch FROM "time" AT TIME ZONE 'UTC')) STORED;
CREATE TABLE segments_cloud.event_before (LIKE segments_cloud.event INCLUDING CONSTRAINTS INCLUDING GENERATED);
ALTER TABLE segments_cloud.event ATTACH PARTITION segments_cloud.event_before FOR VALUES FROM (-1000) TO (0);
INSERT INTO segments_cloud.event ("time", resource, action) VALUES ('2024-03-06 04:00', 'vm-13', 'start');
CALL meter.run('segments_cloud');
SELECT meter.roll('segments_cloud');
CALL meter.run('segments_cloud');
SELECT segment, state, rows FROM meter.log_segments('segments_cloud') WHERE log = 'event';
ALTER TABLE segments_cloud.event DETACH PARTITION segments_cloud.event_before;
DROP TABLE segments_cloud.event_before;
ALTER TABLE segments_cloud.event DROP seconds;

-- A session that kept arrivals for later could write to a segment that was sealed.
ALTER SEQUENCE segments_cloud.event_arrival_seq CACHE 10;
INSERT INTO segments_cloud.event ("time", resource, action) VALUES ('2024-03-06 04:00', 'vm-13', 'start');
SELECT meter.roll('segments_cloud');
ALTER SEQUENCE segments_cloud.event_arrival_seq CACHE 1;

-- A stream that cannot be maintained does not keep others waiting.
SELECT meter.create_stream('alps');
SELECT meter.create_meter('alps', 'vm', starts => '{start}', stops => '{stop}');
DROP TABLE alps.event_2;
CREATE TABLE alps.event_2 ();
SELECT meter_internal.maintain_step('alps');
DO $$ BEGIN WHILE meter_internal.maintain_step() LOOP END LOOP; END $$;
-- It shows, and workers wait for longer each time, until it can be.
SELECT maintenance_error, maintenance_retry_at > clock_timestamp() + '5 s' AS later FROM meter.status WHERE stream = 'alps';
DO $$ BEGIN PERFORM meter_internal.maintain_step(); END $$;
SELECT maintenance_failures, maintenance_retry_at > clock_timestamp() + '15 s' AS later FROM meter.stream WHERE name = 'alps';
DROP TABLE alps.event_2;
DO $$ BEGIN WHILE meter_internal.maintain_step() LOOP END LOOP; END $$;
SELECT maintenance_failures, maintenance_error, maintenance_retry_at FROM meter.stream WHERE name = 'alps';
SET client_min_messages = warning;
SELECT meter.drop_stream('alps', delete_data => true);
RESET client_min_messages;

-- A dump may have a sequence that went on after the tables were read.
SELECT setval('segments_cloud.event_arrival_seq', 8::bigint << 32, false);
INSERT INTO segments_cloud.event ("time", resource, action) VALUES ('2024-03-06 04:00', 'vm-13', 'stop');
SELECT meter.resume('segments_cloud');
INSERT INTO segments_cloud.event ("time", resource, action) VALUES ('2024-03-06 04:00', 'vm-13', 'stop');
SELECT max(segment) FROM meter.log_segments('segments_cloud') WHERE log = 'event';

-- Whose it is not.
CREATE ROLE regress_segments_other;
SET ROLE regress_segments_other;
SELECT meter.roll('segments_cloud');
SELECT meter_internal.maintain_step('segments_cloud');
SELECT meter.log_segments('segments_cloud');
SELECT meter_internal.maintain_step();
RESET ROLE;
DROP ROLE regress_segments_other;
SELECT meter.roll('nothing');
SELECT meter.roll(NULL);

-- An extension made anew finds what was sealed.
SET client_min_messages = warning;
DROP EXTENSION meter CASCADE;
CREATE EXTENSION meter;
RESET client_min_messages;
SELECT meter.create_stream('segments_cloud');
SELECT meter.create_meter('segments_cloud', 'vm', starts => '{start}', stops => '{stop}', lateness => '0');
CALL meter.run('segments_cloud');
SELECT segment, state, rows FROM meter.log_segments('segments_cloud') WHERE log = 'event' AND state <> 'ahead';
SELECT * FROM meter.verify('segments_cloud');
SET client_min_messages = warning;
SELECT meter.drop_stream('segments_cloud', delete_data => true);
RESET client_min_messages;
SELECT count(*) FROM meter.segment;
