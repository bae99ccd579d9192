-- Promise: periods are settled once, state is carried over their boundaries, and what arrives late becomes the difference.
SET timezone = 'UTC';
SET datestyle = 'ISO';
SET intervalstyle = 'postgres';
SELECT meter.create_stream('settle_cloud');
SELECT meter.create_meter('settle_cloud', 'vm', starts => '{start}', stops => '{stop}', changes => '{resize,transfer}', lateness => '5 minutes');

-- Nothing has happened yet: nothing to settle.
SET meter.now = '2024-03-05 10:00';
SELECT * FROM meter.advance('settle_cloud');

-- A morning, hour by hour. A period is settled when it has ended and the stragglers' five minutes are over.
INSERT INTO settle_cloud.event ("time", resource, account, action, offering) VALUES
	('2024-03-05 10:15', 'vm1', 'geneva-jug', 'start', 'm'),
	('2024-03-05 10:40', 'vm2', 'geneva-jug', 'start', 'l'),
	('2024-03-05 10:50', 'vm2', NULL,         'stop',  NULL);
SET meter.now = '2024-03-05 11:04:59.999999';
SELECT * FROM meter.advance('settle_cloud');
SET meter.now = '2024-03-05 11:05';
SELECT * FROM meter.advance('settle_cloud');
SELECT * FROM meter.advance('settle_cloud');		-- again: nothing
-- vm1 runs on without an event, and gets its row.
SET meter.now = '2024-03-05 12:05';
SELECT * FROM meter.advance('settle_cloud');
SELECT period_start, account, resource, dimensions, quantity, revision, settlement FROM settle_cloud.usage ORDER BY settlement, period_start, resource;
-- A pause is caught up in one settle; an event that lies ahead of the clock waits.
INSERT INTO settle_cloud.event ("time", resource, account, action, offering) VALUES ('2024-03-05 20:00', 'vm3', 'basel-cup', 'start', 's');
SET meter.now = '2024-03-05 15:30';
SELECT * FROM meter.advance('settle_cloud');
-- No clock goes back.
SET meter.now = '2024-03-05 09:00';
SELECT * FROM meter.advance('settle_cloud');
SELECT * FROM meter.verify('settle_cloud');

-- Late: vm1 had been transferred at 13:20 and stopped at 14:45. What was billed stays as it stands; the difference is added.
INSERT INTO settle_cloud.event ("time", resource, account, action) VALUES
	('2024-03-05 14:45', 'vm1', NULL, 'stop'), ('2024-03-05 13:20', 'vm1', 'basel-cup', 'transfer');
SET meter.now = '2024-03-05 15:31';
SELECT * FROM meter.advance('settle_cloud');
SELECT period_start, account, quantity, revision, settlement FROM settle_cloud.usage WHERE resource = 'vm1' AND period_start >= '2024-03-05 13:00'
ORDER BY period_start, settlement, account;
SELECT period_start, account, quantity FROM settle_cloud.usage_total WHERE resource = 'vm1' ORDER BY period_start, account;
-- A late row that changes nothing writes nothing.
INSERT INTO settle_cloud.event ("time", resource, account, action) VALUES ('2024-03-05 14:50', 'vm1', NULL, 'stop');
SELECT * FROM meter.advance('settle_cloud');
-- Later than any before: a run in an hour before the first that was settled.
INSERT INTO settle_cloud.event ("time", resource, account, action, offering) VALUES
	('2024-03-05 08:30', 'vm4', 'geneva-jug', 'start', 's'), ('2024-03-05 08:45', 'vm4', NULL, 'stop', NULL);
SELECT * FROM meter.advance('settle_cloud');
SELECT period_start, account, quantity, revision, settlement FROM settle_cloud.usage WHERE resource = 'vm4';
SELECT * FROM meter.verify('settle_cloud');

-- The hour itself. vm5 and vm6 run since 09:10; at 11:00:00, where the watermark stands, vm5 is restarted (a stop and a start) and vm6 is
-- resized to an offering that sorts lower. The carried state is not an event of 11:00, so it takes no part in their order.
SELECT meter.create_stream('hour');
SELECT meter.create_meter('hour', meter, starts => '{start}', stops => '{stop}', changes => '{resize}', lateness => '0', since => '2024-03-05 09:00')
FROM unnest('{early,late}'::text[]) meter;
INSERT INTO hour.event ("time", resource, account, action, offering) VALUES
	('2024-03-05 09:10', 'vm5', 'a', 'start', 'm'), ('2024-03-05 09:10', 'vm6', 'a', 'start', 'm');
-- The meter "late" settles up to 11:00 before those events arrive, the meter "early" after.
SET meter.now = '2024-03-05 11:00';
SELECT * FROM meter.advance('hour', 'late');
INSERT INTO hour.event ("time", resource, action, offering) VALUES
	('2024-03-05 11:00', 'vm5', 'start', NULL), ('2024-03-05 11:00', 'vm5', 'stop', NULL), ('2024-03-05 11:00', 'vm6', 'resize', 'l');
SELECT * FROM meter.advance('hour', 'early');
SELECT * FROM meter.advance('hour', 'late');
SET meter.now = '2024-03-05 12:00';
SELECT * FROM meter.advance('hour');
-- Both say the same: vm5 never stopped; vm6 is "l" from 11:00 on.
SELECT resource, period_start, dimensions ->> 'offering' AS offering, string_agg(meter || ' ' || quantity, ', ' ORDER BY meter) AS minutes
FROM hour.usage_total GROUP BY 1, 2, 3 ORDER BY 1, 2;
-- A stop exactly on the hour ends with the hour; a run that ends where it began, on the hour, is none.
INSERT INTO hour.event ("time", resource, account, action, offering) VALUES
	('2024-03-05 12:00', 'vm5', NULL, 'stop', NULL),
	('2024-03-05 12:00', 'vm7', 'a', 'start', 'm'), ('2024-03-05 12:00', 'vm7', NULL, 'stop', NULL);
SET meter.now = '2024-03-05 13:00';
SELECT * FROM meter.advance('hour');
SELECT resource, meter, count(*) AS hours, max(period_start) AS last FROM hour.usage_total GROUP BY 1, 2 ORDER BY 1, 2;
SELECT * FROM meter.verify('hour');

-- Names. Until somebody says whose vm8 is, its time is billed as ''; the settle that first meets a name moves all of it.
SELECT meter.create_stream('settle_names');
SELECT meter.create_meter('settle_names', 'vm', starts => '{start}', stops => '{stop}', changes => '{transfer}', lateness => '0');
INSERT INTO settle_names.event ("time", resource, action, offering) VALUES ('2024-03-05 10:30', 'vm8', 'start', 'm');
SET meter.now = '2024-03-05 12:00';
SELECT * FROM meter.advance('settle_names');
INSERT INTO settle_names.event ("time", resource, account, action, offering) VALUES ('2024-03-05 12:15', 'vm8', 'geneva-jug', 'transfer', 'l');
SET meter.now = '2024-03-05 13:00';
SELECT * FROM meter.advance('settle_names');
SELECT period_start, account, dimensions, quantity, revision, settlement FROM settle_names.usage ORDER BY period_start, settlement, account, dimensions;
-- Only the account looks back: the offering of the first hours is what it was.
SELECT period_start, account, dimensions, quantity FROM settle_names.usage_total WHERE quantity <> 0 ORDER BY period_start, dimensions;
-- A name that arrives late does the same, and so does one that turns out to be earlier than the first one known.
INSERT INTO settle_names.event ("time", resource, action, offering) VALUES ('2024-03-05 10:30', 'vm9', 'start', 'm');
SELECT usage_rows, adjustments FROM meter.advance('settle_names');
INSERT INTO settle_names.event ("time", resource, account, action) VALUES ('2024-03-05 12:15', 'vm9', 'geneva-jug', 'transfer');
SELECT usage_rows, adjustments FROM meter.advance('settle_names');
SELECT period_start, account, quantity FROM settle_names.usage_total WHERE resource = 'vm9' AND quantity <> 0 ORDER BY period_start, account;
INSERT INTO settle_names.event ("time", resource, account, action) VALUES ('2024-03-05 11:15', 'vm9', 'basel-cup', 'transfer');
SELECT usage_rows, adjustments FROM meter.advance('settle_names');
SELECT period_start, account, quantity FROM settle_names.usage_total WHERE resource = 'vm9' AND quantity <> 0 ORDER BY period_start, account;
SELECT * FROM meter.verify('settle_names');

-- The clock of events: it stands at the latest event that is not in the future, of whatever kind.
SELECT meter.create_stream('replay');
SELECT meter.create_meter('replay', 'vm', starts => '{start}', stops => '{stop}', clock => 'event', lateness => '30 minutes');
INSERT INTO replay.event ("time", resource, account, action) VALUES ('2024-03-05 10:00', 'vm1', 'a', 'start'), ('2024-03-05 11:59', 'x', NULL, 'tick');
SET meter.now = '2024-03-06';
SELECT * FROM meter.advance('replay');
INSERT INTO replay.event ("time", resource, action) VALUES ('2024-03-05 12:30', 'x', 'tick'), ('2024-03-06 03:45', 'x', 'tick');
SELECT * FROM meter.advance('replay');
-- It counts when its time has come.
SET meter.now = '2024-03-06 04:00';
SELECT * FROM meter.advance('replay');
SELECT * FROM meter.verify('replay');

-- Somebody's clock is a month ahead, and that is the first event there is. Nobody is billed ahead of time for it.
SELECT meter.create_stream('ahead');
SELECT meter.create_meter('ahead', 'vm', starts => '{start}', stops => '{stop}', lateness => '0');
INSERT INTO ahead.event ("time", resource, account, action) VALUES ('2024-04-05 10:15', 'vm1', 'a', 'start');
SET meter.now = '2024-03-05 11:00';
SELECT coalesce(watermark <= '2024-03-05 11:00', true) AS not_after_now, usage_rows FROM meter.advance('ahead');
INSERT INTO ahead.event ("time", resource, account, action) VALUES ('2024-03-05 10:30', 'vm2', 'a', 'start');
SELECT watermark FROM meter.advance('ahead');
SELECT period_start, resource, quantity FROM ahead.usage_total ORDER BY period_start;
SELECT * FROM meter.verify('ahead');

-- run settles everything that is due, step by step; advance does one step for each meter asked for. The steps' size changes no bill.
SELECT meter.create_stream('steps');
SELECT meter.create_meter('steps', 'vm', starts => '{start}', stops => '{stop}', lateness => '0');
INSERT INTO steps.event ("time", resource, account, action, offering)
	SELECT '2024-03-05'::timestamptz + (n * 37 % 1440) * interval '1 minute', 'vm' || n % 10, 'a', CASE n % 3 WHEN 0 THEN 'stop' ELSE 'start' END, 'm'
	FROM generate_series(1, 1000) n;
SET meter.now = '2024-03-06';
SET meter.batch_rows = 10;
CALL meter.run('steps');
RESET meter.batch_rows;
SELECT stream, meter, watermark, lag, late_backlog, last_error FROM meter.status WHERE stream = 'steps';
SELECT count(*) AS adjustments FROM steps.usage WHERE revision > 0;
SELECT meter, usage_rows, adjustments, late_rows FROM meter.advance('steps');
SELECT * FROM meter.verify('steps');

-- current_usage: the ledger and, computed live, what is not settled yet.
SET meter.now = '2024-03-05 10:30';
SELECT meter.create_stream('settle_live');
SELECT meter.create_meter('settle_live', 'vm', starts => '{start}', stops => '{stop}', lateness => '0');
INSERT INTO settle_live.event ("time", resource, account, action, offering) VALUES ('2024-03-05 09:15', 'vm1', 'a', 'start', 'm'), ('2024-03-05 10:05', 'vm2', 'b', 'start', 'm');
SELECT * FROM meter.advance('settle_live');
SELECT period_start, resource, account, quantity FROM settle_live.usage_total ORDER BY period_start, resource;
SELECT period_start, resource, account, quantity FROM settle_live.current_usage ORDER BY period_start, resource;

-- A meter that fails is told of, and holds up nobody else. (No number is as large as this one times an hour.)
SELECT meter.create_meter('settle_live', 'large', aggregate => 'weighted', value_from => 'size', starts => '{start}', stops => '{stop}', lateness => '0', since => '2024-03-05 09:00');
INSERT INTO settle_live.event ("time", resource, account, action, attributes) VALUES ('2024-03-05 10:06', 'vm9', 'a', 'start', '{"size":1e131071}');
SET meter.now = '2024-03-05 11:00';
\set VERBOSITY terse
SELECT meter, usage_rows FROM meter.advance('settle_live') ORDER BY meter;
\set VERBOSITY default
SELECT meter, watermark, last_error FROM meter.status WHERE stream = 'settle_live' ORDER BY meter;
SELECT meter.drop_meter('settle_live', 'large');
SELECT * FROM meter.verify('settle_live');

SET client_min_messages = warning;
SELECT meter.drop_stream(name, delete_data => true) FROM unnest('{settle_cloud,hour,settle_names,replay,ahead,steps,settle_live}'::text[]) name;
