-- Promise: what a log had long ago can be dropped; what was billed stays as it is, and what goes on is billed as if all were there.
SET timezone = 'UTC';
SET datestyle = 'ISO';
\set SHOW_CONTEXT never
SET meter.segment_rows = 0;
SELECT meter.create_stream('expire_cloud');
SET meter.now = '2024-03-01 00:00';
SELECT meter.create_meter('expire_cloud', 'vm', starts => '{start}', stops => '{stop}', changes => '{resize}', lateness => '0', max_lateness => '2 days');
SELECT meter.create_meter('expire_cloud', 'gb', 'weighted', starts => '{start}', stops => '{stop}', changes => '{resize}', dimensions => '{}', lateness => '0',
	max_lateness => '2 days', period => '1 day', unit => '1 day');
SELECT meter.expire('expire_cloud', '2024-03-08');   -- nothing was settled yet

-- One machine runs throughout, one stopped and starts again without saying what it is, one is gone for good, one nobody has named.
INSERT INTO expire_cloud.event ("time", resource, account, action, offering, value, source, id) VALUES
	('2024-03-01 10:00', 'on', 'geneva-jug', 'start', 'm', 10, 'api', '1'), ('2024-03-01 10:00', 'again', 'geneva-jug', 'start', 'l', 20, 'api', '2'),
	('2024-03-01 12:00', 'again', NULL, 'stop', NULL, NULL, 'api', '3'), ('2024-03-01 10:00', 'gone', 'bern-cup', 'start', 's', 30, 'api', '4'),
	('2024-03-01 10:30', 'gone', NULL, 'stop', NULL, NULL, 'api', '5'), ('2024-03-01 10:00', 'nobody', NULL, 'start', 's', 1, NULL, NULL);
SELECT meter.roll('expire_cloud');
SET meter.now = '2024-03-10 00:00';
CALL meter.run('expire_cloud');
INSERT INTO expire_cloud.event ("time", resource, account, action, offering, value) VALUES ('2024-03-09 10:00', 'again', NULL, 'start', NULL, NULL);
CALL meter.run('expire_cloud');
CREATE TABLE before AS SELECT meter, account, resource, dimensions, period_start, quantity FROM expire_cloud.usage_total;
SELECT meter, count(*), sum(quantity) FROM before GROUP BY 1 ORDER BY 1;

-- Not what may still change: the retention boundary is no later than any watermark less max_lateness and the deduplication window, at a period of each.
SELECT meter.expire('expire_cloud', '2024-03-09 12:34');
SELECT meter, log, "time" FROM expire_cloud._retention ORDER BY 1;
SELECT meter, resource, active, account, dimensions, value, since FROM expire_cloud._retention_state ORDER BY 1, 2;
SELECT log, segment, rows, first_arrival, last_arrival, least_time, greatest_time FROM expire_cloud._expired;
SELECT segment, state FROM meter.log_segments('expire_cloud') WHERE log = 'event';
SELECT resource, action FROM expire_cloud.event;
SELECT * FROM meter.verify('expire_cloud');
SELECT meter.resettle('expire_cloud', 'vm', NULL), meter.resettle('expire_cloud', 'gb', NULL);
SELECT count(*) FROM (TABLE before EXCEPT SELECT meter, account, resource, dimensions, period_start, quantity FROM expire_cloud.usage_total) d;
SELECT class, meter, resource FROM expire_cloud.anomaly ORDER BY 1, 2, 3;

-- What goes on is billed as if all were there: 'on' stops, 'again' is known, 'nobody' is named from the retention boundary on.
INSERT INTO expire_cloud.event ("time", resource, account, action) VALUES ('2024-03-09 15:00', 'on', NULL, 'stop'), ('2024-03-09 16:00', 'nobody', 'late-namer', 'resize');
SELECT meter, adjustments FROM meter.advance('expire_cloud');
SET meter.now = '2024-03-10 02:00';
SELECT meter, usage_rows FROM meter.advance('expire_cloud', 'vm');
SELECT account, resource, dimensions ->> 'offering' AS offering, sum(quantity) FROM expire_cloud.usage WHERE meter = 'vm' AND period_start >= '2024-03-09 10:00' GROUP BY 1, 2, 3 ORDER BY 1, 2;
SELECT account, min(period_start), max(period_start) FROM expire_cloud.usage_total WHERE meter = 'vm' AND resource = 'nobody' AND quantity <> 0 GROUP BY 1 ORDER BY 1;
SELECT * FROM meter.verify('expire_cloud');

-- What comes for before the retention boundary is held, and cannot be released.
INSERT INTO expire_cloud.event ("time", resource, account, action) VALUES ('2024-03-06 23:00', 'on', NULL, 'stop');
SELECT meter, adjustments, late_rows FROM meter.advance('expire_cloud');
SELECT meter, "time", reason FROM expire_cloud.held ORDER BY 1;
SELECT meter.release('expire_cloud', 'vm', ARRAY[(SELECT max(arrival) FROM expire_cloud.held)]);
SELECT meter.release('expire_cloud', 'vm');
SELECT * FROM meter.verify('expire_cloud');

-- A meter made anew goes on from the retention boundary; another one cannot begin before it.
SELECT meter.drop_meter('expire_cloud', 'vm');
SELECT meter.create_meter('expire_cloud', 'vm', starts => '{start}', stops => '{stop}', changes => '{resize}', lateness => '0', max_lateness => '2 days');
CALL meter.run('expire_cloud');
SELECT * FROM meter.verify('expire_cloud');
SELECT meter.create_meter('expire_cloud', 'other', starts => '{start}', stops => '{stop}', lateness => '0');
SELECT meter.create_meter('expire_cloud', 'other', starts => '{start}', stops => '{stop}', lateness => '0', period => '1 month');
SELECT meter.create_meter('expire_cloud', 'other', starts => '{start}', stops => '{stop}', lateness => '0', since => '2024-03-08');
CALL meter.run('expire_cloud');
SELECT * FROM meter.verify('expire_cloud');

-- The same after the extension was dropped.
SET client_min_messages = warning;
DROP EXTENSION meter CASCADE;
CREATE EXTENSION meter;
SELECT meter.create_stream('expire_cloud');
SELECT meter.create_meter('expire_cloud', 'vm', starts => '{start}', stops => '{stop}', changes => '{resize}', lateness => '0', max_lateness => '2 days');
CALL meter.run('expire_cloud');
RESET client_min_messages;
SELECT * FROM meter.verify('expire_cloud');
SELECT segment, state FROM meter.log_segments('expire_cloud') WHERE log = 'event';

-- A retention boundary moves on only, with what was known at the one before.
SELECT meter.roll('expire_cloud');
SET meter.now = '2024-04-10 00:00';
CALL meter.run('expire_cloud');
SELECT meter.expire('expire_cloud', '2024-03-01');
SELECT meter.expire('expire_cloud', '2024-04-01');
SELECT meter, log, "time" FROM expire_cloud._retention ORDER BY 1;
SELECT resource, active, account, dimensions FROM expire_cloud._retention_state WHERE meter = 'vm' ORDER BY 1;
INSERT INTO expire_cloud.event ("time", resource, action) VALUES ('2024-04-09 00:00', 'again', 'stop'), ('2024-04-09 00:00', 'gone', 'start');
CALL meter.run('expire_cloud');
SELECT account, resource, trim_scale(sum(quantity) / 60) AS hours FROM expire_cloud.usage_total WHERE meter = 'vm' AND period_start >= '2024-04-08' GROUP BY 1, 2 HAVING sum(quantity) <> 0 ORDER BY 1, 2;
SELECT * FROM meter.verify('expire_cloud');

-- Measures go as well, and events: who owned what at the retention boundary is known.
SELECT meter.create_stream('expire_net');
SET meter.now = '2024-03-01 00:00';
SELECT meter.create_meter('expire_net', 'bytes', 'sum', lateness => '0', max_lateness => '1 day');
INSERT INTO expire_net.event ("time", resource, account, action) VALUES ('2024-03-01 00:00', 'ip', 'geneva-jug', 'assign'), ('2024-03-08 12:00', 'ip', 'bern-cup', 'assign');
INSERT INTO expire_net.measure (start_time, end_time, resource, value) SELECT t, t + '1 hour', 'ip', 100 FROM generate_series('2024-03-01 00:30'::timestamptz, '2024-03-06', '1 hour') t;
SELECT meter.roll('expire_net');
INSERT INTO expire_net.measure (start_time, end_time, resource, value) SELECT t, t + '1 hour', 'ip', 100 FROM generate_series('2024-03-06 00:30'::timestamptz, '2024-03-10', '1 hour') t;
SET meter.now = '2024-03-10 00:00';
CALL meter.run('expire_net');
SELECT account, sum(quantity) FROM expire_net.usage GROUP BY 1 ORDER BY 1;
SELECT meter.expire('expire_net', '2024-03-08 00:00');
SELECT meter, log, "time" FROM expire_net._retention;
SELECT log, segment, rows FROM expire_net._expired;
SELECT account, sum(quantity) FROM expire_net.usage GROUP BY 1 ORDER BY 1;
SELECT * FROM meter.verify('expire_net');
SELECT meter.resettle('expire_net', 'bytes', NULL);
-- one that came late counts, one of before the retention boundary is held; an event from before it still says who owns what after it
INSERT INTO expire_net.measure (start_time, end_time, resource, value) VALUES ('2024-03-09 06:00', '2024-03-09 07:00', 'ip', 7), ('2024-03-07 23:00', '2024-03-08 01:00', 'ip', 1000);
INSERT INTO expire_net.event ("time", resource, account, action) VALUES ('2024-03-09 00:30', 'ip', 'basel-mug', 'assign');
SELECT meter, adjustments, late_rows FROM meter.advance('expire_net');
SELECT log, "time", reason FROM expire_net.held;
SELECT meter.release('expire_net', 'bytes', ARRAY[(SELECT arrival FROM expire_net.held)]);
SELECT account, sum(quantity) FROM expire_net.usage GROUP BY 1 ORDER BY 1;
SELECT * FROM meter.verify('expire_net');
SELECT meter.drop_meter('expire_net', 'bytes');
SELECT meter.create_meter('expire_net', 'bytes', 'sum', lateness => '0', max_lateness => '1 day');
CALL meter.run('expire_net');
SELECT account, sum(quantity) FROM expire_net.usage GROUP BY 1 ORDER BY 1;
SELECT * FROM meter.verify('expire_net');
SELECT meter.create_meter('expire_net', 'vm', starts => '{assign}', stops => '{return}', lateness => '0');
SELECT meter.create_meter('expire_net', 'vm', starts => '{assign}', stops => '{return}', lateness => '0', max_lateness => '1 day', since => '2024-03-08');

-- Counters, too: the last reading before the retention boundary is known; and an owner who came long before. A meter that is made later knows
-- the owners as the others do.
SELECT meter.create_meter('expire_net', 'odometer', 'counter', entity => 'car', dimensions => '{wheel}', lateness => '0', max_lateness => '1 day', since => '2024-03-10');
INSERT INTO expire_net.event ("time", resource, account, action) VALUES ('2024-03-10 01:00', 'car', 'geneva-jug', 'rent');
INSERT INTO expire_net.measure (start_time, end_time, resource, entity, value, attributes) SELECT t, t, 'car', 'car', 10 * extract(epoch FROM t - '2024-03-10') / 3600,
	jsonb_build_object('wheel', w) FROM generate_series('2024-03-10 02:00'::timestamptz, '2024-03-11', '1 hour') t, unnest('{left,right}'::text[]) w;
SELECT meter.roll('expire_net');
INSERT INTO expire_net.measure (start_time, end_time, resource, entity, value, attributes) SELECT t, t, 'car', 'car', 10 * extract(epoch FROM t - '2024-03-10') / 3600,
	jsonb_build_object('wheel', w) FROM generate_series('2024-03-15 02:00'::timestamptz, '2024-03-16', '1 hour') t, unnest('{left}'::text[]) w;
SET meter.now = '2024-03-16 00:00';
CALL meter.run('expire_net');
SELECT account, dimensions ->> 'wheel' AS wheel, sum(quantity) FROM expire_net.usage WHERE meter = 'odometer' GROUP BY 1, 2 ORDER BY 1, 2;
SELECT meter.expire('expire_net', '2024-03-14 00:00');
SELECT log, segment, rows FROM expire_net._expired ORDER BY 1, 2;
SELECT resource, account FROM expire_net._retention_state WHERE meter = 'odometer' ORDER BY 1;
SELECT resource, dimensions, "time", trim_scale(value) AS value FROM expire_net._retention_reading ORDER BY 1, 2;
SELECT * FROM meter.verify('expire_net');
SELECT meter.resettle('expire_net', 'odometer', NULL);
SELECT resource, dimensions, "time", trim_scale(value) AS value FROM expire_net._counter_state ORDER BY 1, 2;
-- late readings: of a series that has one after the boundary, and of one that has none
INSERT INTO expire_net.measure (start_time, end_time, resource, entity, value, attributes) VALUES ('2024-03-15 01:00', '2024-03-15 01:00', 'car', 'car', 1200, '{"wheel": "left"}'),
	('2024-03-15 05:00', '2024-03-15 05:00', 'car', 'car', 500, '{"wheel": "right"}');
SELECT meter, adjustments, late_rows FROM meter.advance('expire_net', 'odometer');
SELECT account, dimensions ->> 'wheel' AS wheel, sum(quantity) FROM expire_net.usage WHERE meter = 'odometer' GROUP BY 1, 2 ORDER BY 1, 2;
SELECT part, "time", account, trim_scale(value) AS value, quantity, explanation FROM meter.explain('expire_net', (SELECT transaction_id FROM expire_net.usage WHERE meter = 'odometer' AND dimensions ->> 'wheel' = 'right'
	ORDER BY period_start DESC LIMIT 1)) WHERE part IN ('measure', 'total');
SELECT * FROM meter.verify('expire_net');
SELECT meter.create_meter('expire_net', 'readings', 'count', entity => 'car', lateness => '0', since => '2024-03-15');
SELECT meter.drop_meter('expire_net', 'odometer');
SELECT meter.create_meter('expire_net', 'odometer', 'counter', entity => 'car', dimensions => '{wheel}', lateness => '0', max_lateness => '1 day');
CALL meter.run('expire_net');
SELECT account, sum(quantity) FROM expire_net.usage WHERE meter = 'readings' GROUP BY 1 ORDER BY 1;
SELECT account, dimensions ->> 'wheel' AS wheel, sum(quantity) FROM expire_net.usage WHERE meter = 'odometer' GROUP BY 1, 2 ORDER BY 1, 2;
SELECT * FROM meter.verify('expire_net');
SELECT meter.create_meter('expire_cloud', 'bytes', 'sum');

SELECT meter.expire('expire_cloud', NULL);
SELECT meter.expire('expire_cloud', 'infinity');
SELECT meter.expire('nothing', '2024-03-01');
SET client_min_messages = warning;
SELECT meter.drop_stream('expire_cloud', delete_data => true), meter.drop_stream('expire_net', delete_data => true);
DROP TABLE before;
