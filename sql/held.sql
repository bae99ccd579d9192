-- Promise: what comes too late is held for a person and counts once released; what came in time is never held, however late it is read.
SET timezone = 'UTC';
SET datestyle = 'ISO';
SET intervalstyle = 'postgres';
SET client_min_messages = warning;
SELECT meter.create_stream('held_cloud');
SELECT meter.create_meter('held_cloud', 'vm', starts => '{start}', stops => '{stop}', lateness => '0', max_lateness => '10 days');
SELECT meter.create_meter('held_cloud', 'patient', entity => 'vm', starts => '{start}', stops => '{stop}', lateness => '0', max_lateness => NULL);
CREATE TEMP VIEW bill AS SELECT meter, resource, count(*) AS hours, sum(quantity) AS minutes FROM (
	SELECT meter, resource, period_start, sum(quantity) AS quantity FROM held_cloud.usage GROUP BY 1, 2, 3 HAVING sum(quantity) <> 0) u GROUP BY 1, 2;
INSERT INTO held_cloud.event ("time", resource, account, entity, action) VALUES ('2024-03-01 00:00', 'vm1', 'a', 'vm', 'start');
SET meter.now = '2024-03-01 12:00';
CALL meter.run('held_cloud');

-- Rows of the very next batch can be too late, by eleven days here: they are held, but for the meter that has no limit.
-- What is late by less counts for both.
INSERT INTO held_cloud.event (source, id, "time", resource, account, entity, action) VALUES
	('dev', '1', '2024-02-19 00:00', 'vm2', 'a', 'vm', 'start'), ('dev', '2', '2024-02-19 01:00', 'vm2', NULL, 'vm', 'stop'),
	('dev', '3', '2024-02-21 10:00', 'vm3', 'a', 'vm', 'start'), ('dev', '4', '2024-02-21 11:00', 'vm3', NULL, 'vm', 'stop');
CALL meter.run('held_cloud');
TABLE bill ORDER BY 1, 2;
SELECT meter, log, arrival, "time", reason FROM held_cloud.held ORDER BY 1, arrival;
-- A device whose clock fell back to 1970 bills no decades.
INSERT INTO held_cloud.event ("time", resource, account, action) SELECT t, 'vm4', 'a', 'start' FROM unnest('{1970-01-01 00:00:01, 1969-12-31 12:00}'::timestamptz[]) t;
SELECT usage_rows, adjustments, late_rows FROM meter.advance('held_cloud', 'vm');
SELECT count(*) FROM held_cloud.usage WHERE resource = 'vm4';
-- They are told of, stops first: what is missing there is billed on.
SELECT class, meter, resource, "time", replace(detail, regexp_replace(detail, '.*held since (.*): meter.*', '\1'), '…') AS detail FROM held_cloud.anomaly WHERE class = 'too late';
-- Held once, and left out by verify; asked again there is nothing to do.
SELECT * FROM meter.verify('held_cloud', 'vm');
SELECT usage_rows, adjustments, late_rows FROM meter.advance('held_cloud', 'vm');
SELECT late_backlog, last_error FROM meter.status WHERE stream = 'held_cloud' AND meter = 'vm';
-- A resource that is held in part is right for the rest.
INSERT INTO held_cloud.event ("time", resource, account, action) VALUES ('2024-03-01 11:30', 'vm2', 'a', 'start');
SET meter.now = '2024-03-01 13:00';
SELECT usage_rows, adjustments, late_rows FROM meter.advance('held_cloud', 'vm');
SELECT * FROM bill WHERE meter = 'vm' ORDER BY 2;
SELECT * FROM meter.verify('held_cloud', 'vm');

-- Released, they count as if nothing had been: one by one, or all that is left. The device of 1970 is not; its rows stay where they are.
SELECT meter.release('held_cloud', 'vm', ARRAY[2]);
SELECT * FROM bill WHERE resource = 'vm2' AND meter = 'vm';
SELECT * FROM meter.verify('held_cloud', 'vm');
SELECT meter.release('held_cloud', 'vm', ARRAY[2, 3, 4711]);
SELECT * FROM bill WHERE resource = 'vm2' AND meter = 'vm';
SELECT period_start, quantity, revision, settlement FROM held_cloud.usage WHERE meter = 'vm' AND resource = 'vm2' AND period_start < '2024-02-19 03:00' ORDER BY period_start, revision;
SELECT * FROM meter.verify('held_cloud', 'vm');
SELECT arrival FROM held_cloud.held ORDER BY 1;
-- A void of what is held is held by its own time, too: released together, neither does any harm.
INSERT INTO held_cloud.event (source, id, "time", resource, account, action) VALUES ('dev', '9', '1970-01-01', 'vm5', 'a', 'start');
CALL meter.run('held_cloud');
INSERT INTO held_cloud.event (source, id, "time", resource, action) VALUES ('dev', '9', '1970-01-01', 'vm5', 'void');
SELECT usage_rows, adjustments, late_rows FROM meter.advance('held_cloud', 'vm');
SELECT meter.release('held_cloud', 'vm', array_agg(arrival)) FROM held_cloud.event WHERE resource = 'vm5';
SELECT count(*) FROM held_cloud.usage WHERE meter = 'vm' AND resource = 'vm5';
-- The rules of who may, and of what.
SELECT meter.release('held_cloud', 'nonesuch');
SELECT meter.release('nonesuch', 'vm');

-- What is too late goes by how far the meter was when the row came, also after a long silence.
SELECT meter.create_stream('silence');
SELECT meter.create_meter('silence', 'vm', starts => '{start}', stops => '{stop}', lateness => '0', max_lateness => '10 days');
INSERT INTO silence.event ("time", resource, account, action) VALUES ('2024-03-01', 'vm1', 'a', 'start');
SET meter.now = '2024-03-02';
CALL meter.run('silence');
SET meter.now = '2024-06-01';
CALL meter.run('silence');
CALL meter.run('silence');				-- a turn with nothing to do
INSERT INTO silence.event ("time", resource, account, action) VALUES ('2024-05-25', 'vm1', 'a', 'stop'), ('2024-05-20', 'vm2', 'a', 'stop');
CALL meter.run('silence');
SELECT "time", reason FROM silence.held;
SELECT max(period_start) FROM silence.usage_total WHERE quantity <> 0;
SELECT * FROM meter.verify('silence');

-- A lost position: all is read again, and nothing is held that counted, and nothing doubles.
SELECT sum(quantity), count(*) FROM held_cloud.usage;
UPDATE meter.log_progress SET "position" = 0, position_watermark = NULL WHERE stream IN ('held_cloud', 'silence');
SET meter.now = '2024-03-01 13:00';
CALL meter.run('held_cloud');
SET meter.now = '2024-06-01';
CALL meter.run('silence');
SELECT sum(quantity), count(*) FROM held_cloud.usage;
SELECT meter, arrival FROM held_cloud.held ORDER BY 1, 2;
SELECT "time", reason FROM silence.held;
SELECT * FROM meter.verify('held_cloud');
SELECT * FROM meter.verify('silence');

-- A meter that is made anew over the ledger goes on with it; what is held, is.
SELECT meter.drop_meter('held_cloud', 'vm');
SELECT meter.create_meter('held_cloud', 'vm', starts => '{start}', stops => '{stop}', lateness => '0', max_lateness => '10 days');
SET meter.now = '2024-03-01 13:00';
CALL meter.run('held_cloud');
SELECT sum(quantity), count(*) FROM held_cloud.usage;
SELECT * FROM meter.verify('held_cloud');

-- gitpod's case: a workspace is started on 15 July at 10:00, billed up to the end of the month, and then its stop of 14:00 arrives.
SELECT meter.create_stream('gitpod');
SELECT meter.create_meter('gitpod', 'workspace', starts => '{start}', stops => '{stop}', lateness => '0', period => '1 month', unit => '1 second');
INSERT INTO gitpod.event ("time", resource, account, action) VALUES ('2022-07-15 10:00', 'ws', 'a', 'start');
SET meter.now = '2022-08-01';
CALL meter.run('gitpod');
INSERT INTO gitpod.event ("time", resource, account, action) VALUES ('2022-07-15 14:00', 'ws', 'a', 'stop');
CALL meter.run('gitpod');
SELECT period_start, quantity, revision FROM gitpod.usage ORDER BY revision;
SELECT quantity FROM gitpod.usage_total;
SELECT * FROM meter.verify('gitpod');

-- An account that is named hours after its usage was settled: what was billed to nobody is its own, from the first hour on.
SELECT meter.create_stream('held_names');
SELECT meter.create_meter('held_names', 'vm', starts => '{start}', stops => '{stop}', changes => '{transfer}', lateness => '0');
INSERT INTO held_names.event ("time", resource, action) VALUES ('2024-03-05 10:30', 'vm1', 'start');
SET meter.now = '2024-03-05 15:00';
CALL meter.run('held_names');
SELECT class, resource, "time" FROM held_names.anomaly;
INSERT INTO held_names.event ("time", resource, account, action) VALUES ('2024-03-05 15:10', 'vm1', 'a', 'transfer');
SET meter.now = '2024-03-05 16:00';
CALL meter.run('held_names');
SELECT account, sum(quantity), count(*) FROM held_names.usage_total WHERE quantity <> 0 GROUP BY 1;
SELECT class, resource, "time" FROM held_names.anomaly;
SELECT * FROM meter.verify('held_names');

DROP VIEW bill;
SELECT meter.drop_stream(name, delete_data => true) FROM unnest('{held_cloud,silence,gitpod,held_names}'::text[]) name;
