-- Promise: what a log had long ago can be dropped; what was billed stays as it is, and what goes on is billed as if all were there.
SET timezone = 'UTC';
SET datestyle = 'ISO';
\set SHOW_CONTEXT never
SET meter.segment_rows = 0;
SELECT meter.create_stream('cloud');
SELECT meter.create_meter('cloud', 'vm', starts => '{start}', stops => '{stop}', changes => '{resize}', lateness => '0', max_lateness => '2 days');
SELECT meter.create_meter('cloud', 'gb', 'weighted', starts => '{start}', stops => '{stop}', changes => '{resize}', dimensions => '{}', lateness => '0',
	max_lateness => '2 days', period => '1 day', unit => '1 day');
SELECT meter.expire('cloud', '2024-03-08');   -- nothing was settled yet

-- One machine runs throughout, one stopped and starts again without saying what it is, one is gone for good, one nobody has named.
INSERT INTO cloud.event ("time", resource, account, action, offering, value, source, id) VALUES
	('2024-03-01 10:00', 'on', 'geneva-jug', 'start', 'm', 10, 'api', '1'), ('2024-03-01 10:00', 'again', 'geneva-jug', 'start', 'l', 20, 'api', '2'),
	('2024-03-01 12:00', 'again', NULL, 'stop', NULL, NULL, 'api', '3'), ('2024-03-01 10:00', 'gone', 'bern-cup', 'start', 's', 30, 'api', '4'),
	('2024-03-01 10:30', 'gone', NULL, 'stop', NULL, NULL, 'api', '5'), ('2024-03-01 10:00', 'nobody', NULL, 'start', 's', 1, NULL, NULL);
SELECT meter.roll('cloud');
SET meter.now = '2024-03-10 00:00';
CALL meter.run('cloud');
INSERT INTO cloud.event ("time", resource, account, action, offering, value) VALUES ('2024-03-09 10:00', 'again', NULL, 'start', NULL, NULL);
CALL meter.run('cloud');
CREATE TABLE before AS SELECT meter, account, resource, dimensions, period_start, quantity FROM cloud.usage_total;
SELECT meter, count(*), sum(quantity) FROM before GROUP BY 1 ORDER BY 1;

-- Not what may still change: the floor is no later than any watermark less max_lateness, at a period of each.
SELECT meter.expire('cloud', '2024-03-09 12:34');
SELECT meter, log, "time" FROM cloud.floor ORDER BY 1;
SELECT meter, resource, active, account, dimensions, value, since FROM cloud.floor_state ORDER BY 1, 2;
SELECT log, segment, rows, first_arrival, last_arrival, least_time, greatest_time FROM cloud.expired;
SELECT segment, state FROM meter.log_segments('cloud') WHERE log = 'event';
SELECT resource, action FROM cloud.event;
SELECT * FROM meter.verify('cloud');
SELECT meter.resettle('cloud', 'vm', NULL), meter.resettle('cloud', 'gb', NULL);
SELECT count(*) FROM (TABLE before EXCEPT SELECT meter, account, resource, dimensions, period_start, quantity FROM cloud.usage_total) d;
SELECT class, meter, resource FROM cloud.anomaly ORDER BY 1, 2, 3;

-- What goes on is billed as if all were there: 'on' stops, 'again' is known, 'nobody' is named from the floor on.
INSERT INTO cloud.event ("time", resource, account, action) VALUES ('2024-03-09 15:00', 'on', NULL, 'stop'), ('2024-03-09 16:00', 'nobody', 'late-namer', 'resize');
SELECT meter, adjustments FROM meter.advance('cloud');
SET meter.now = '2024-03-10 02:00';
SELECT meter, usage_rows FROM meter.advance('cloud', 'vm');
SELECT account, resource, dimensions ->> 'offering' AS offering, sum(quantity) FROM cloud.usage WHERE meter = 'vm' AND period_start >= '2024-03-09 10:00' GROUP BY 1, 2, 3 ORDER BY 1, 2;
SELECT account, min(period_start), max(period_start) FROM cloud.usage_total WHERE meter = 'vm' AND resource = 'nobody' AND quantity <> 0 GROUP BY 1 ORDER BY 1;
SELECT * FROM meter.verify('cloud');

-- What comes for before the floor is held, and cannot be released.
INSERT INTO cloud.event ("time", resource, account, action) VALUES ('2024-03-07 23:00', 'on', NULL, 'stop');
SELECT meter, adjustments, late_rows FROM meter.advance('cloud');
SELECT meter, "time", reason FROM cloud.held ORDER BY 1;
SELECT meter.release('cloud', 'vm', ARRAY[(SELECT max(arrival) FROM cloud.held)]);
SELECT meter.release('cloud', 'vm');
SELECT * FROM meter.verify('cloud');

-- A meter made anew goes on from the floor; another one cannot begin before it.
SELECT meter.drop_meter('cloud', 'vm');
SELECT meter.create_meter('cloud', 'vm', starts => '{start}', stops => '{stop}', changes => '{resize}', lateness => '0', max_lateness => '2 days');
CALL meter.run('cloud');
SELECT * FROM meter.verify('cloud');
SELECT meter.create_meter('cloud', 'other', starts => '{start}', stops => '{stop}', lateness => '0');
SELECT meter.create_meter('cloud', 'other', starts => '{start}', stops => '{stop}', lateness => '0', period => '1 month');
SELECT meter.create_meter('cloud', 'other', starts => '{start}', stops => '{stop}', lateness => '0', since => '2024-03-08');
CALL meter.run('cloud');
SELECT * FROM meter.verify('cloud');

-- The same after the extension was dropped.
SET client_min_messages = warning;
DROP EXTENSION meter CASCADE;
CREATE EXTENSION meter;
SELECT meter.create_stream('cloud');
SELECT meter.create_meter('cloud', 'vm', starts => '{start}', stops => '{stop}', changes => '{resize}', lateness => '0', max_lateness => '2 days');
CALL meter.run('cloud');
RESET client_min_messages;
SELECT * FROM meter.verify('cloud');
SELECT segment, state FROM meter.log_segments('cloud') WHERE log = 'event';

-- A floor moves on only, with what was known at the one before.
SELECT meter.roll('cloud');
SET meter.now = '2024-04-10 00:00';
CALL meter.run('cloud');
SELECT meter.expire('cloud', '2024-03-01');
SELECT meter.expire('cloud', '2024-04-01');
SELECT meter, log, "time" FROM cloud.floor ORDER BY 1;
SELECT resource, active, account, dimensions FROM cloud.floor_state WHERE meter = 'vm' ORDER BY 1;
INSERT INTO cloud.event ("time", resource, action) VALUES ('2024-04-09 00:00', 'again', 'stop'), ('2024-04-09 00:00', 'gone', 'start');
CALL meter.run('cloud');
SELECT account, resource, trim_scale(sum(quantity) / 60) AS hours FROM cloud.usage_total WHERE meter = 'vm' AND period_start >= '2024-04-08' GROUP BY 1, 2 HAVING sum(quantity) <> 0 ORDER BY 1, 2;
SELECT * FROM meter.verify('cloud');

-- Measures go as well; events then stay, since they say who owned what.
SELECT meter.create_stream('net');
SELECT meter.create_meter('net', 'bytes', 'sum', lateness => '0', max_lateness => '1 day');
INSERT INTO net.event ("time", resource, account, action) VALUES ('2024-03-01 00:00', 'ip', 'geneva-jug', 'assign'), ('2024-03-08 12:00', 'ip', 'bern-cup', 'assign');
INSERT INTO net.measure (start_time, end_time, resource, value) SELECT t, t + '1 hour', 'ip', 100 FROM generate_series('2024-03-01 00:30'::timestamptz, '2024-03-06', '1 hour') t;
SELECT meter.roll('net');
INSERT INTO net.measure (start_time, end_time, resource, value) SELECT t, t + '1 hour', 'ip', 100 FROM generate_series('2024-03-06 00:30'::timestamptz, '2024-03-10', '1 hour') t;
SET meter.now = '2024-03-10 00:00';
CALL meter.run('net');
SELECT account, sum(quantity) FROM net.usage GROUP BY 1 ORDER BY 1;
SELECT meter.expire('net', '2024-03-08 00:00');
SELECT meter, log, "time" FROM net.floor;
SELECT log, segment, rows FROM net.expired;
SELECT account, sum(quantity) FROM net.usage GROUP BY 1 ORDER BY 1;
SELECT * FROM meter.verify('net');
SELECT meter.resettle('net', 'bytes', NULL);
-- one that came late counts, one of before the floor is held; an event from before it still says who owns what after it
INSERT INTO net.measure (start_time, end_time, resource, value) VALUES ('2024-03-09 06:00', '2024-03-09 07:00', 'ip', 7), ('2024-03-07 23:00', '2024-03-08 01:00', 'ip', 1000);
INSERT INTO net.event ("time", resource, account, action) VALUES ('2024-03-09 00:30', 'ip', 'basel-mug', 'assign');
SELECT meter, adjustments, late_rows FROM meter.advance('net');
SELECT log, "time", reason FROM net.held;
SELECT meter.release('net', 'bytes', ARRAY[(SELECT arrival FROM net.held)]);
SELECT account, sum(quantity) FROM net.usage GROUP BY 1 ORDER BY 1;
SELECT * FROM meter.verify('net');
SELECT meter.drop_meter('net', 'bytes');
SELECT meter.create_meter('net', 'bytes', 'sum', lateness => '0', max_lateness => '1 day');
CALL meter.run('net');
SELECT account, sum(quantity) FROM net.usage GROUP BY 1 ORDER BY 1;
SELECT * FROM meter.verify('net');
SELECT meter.create_meter('net', 'vm', starts => '{assign}', stops => '{return}', lateness => '0');
SELECT meter.create_meter('net', 'odometer', 'counter', lateness => '0', since => '2024-03-10');
CALL meter.run('net');
SELECT meter.expire('net', '2024-03-09 00:00');
SELECT meter.create_meter('cloud', 'bytes', 'sum');

SELECT meter.expire('cloud', NULL);
SELECT meter.expire('cloud', 'infinity');
SELECT meter.expire('nothing', '2024-03-01');
SET client_min_messages = warning;
SELECT meter.drop_stream('cloud', delete_data => true), meter.drop_stream('net', delete_data => true);
DROP TABLE before;
