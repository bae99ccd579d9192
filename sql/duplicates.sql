-- Promise: a row that is sent again changes no bill. Of duplicates only the least counts, whenever it arrives, and a row that was taken back never did.
SET timezone = 'UTC';
SET datestyle = 'ISO';
SET intervalstyle = 'postgres';
SELECT meter.create_stream('duplicates_cloud');					-- a deduplication window of a day
SELECT meter.create_meter('duplicates_cloud', 'vm', starts => '{start}', stops => '{stop}', changes => '{resize}', lateness => '0', since => '2024-03-05 10:00');
CREATE TEMP VIEW bill AS SELECT resource, period_start, account, dimensions ->> 'offering' AS offering, quantity FROM duplicates_cloud.usage_total WHERE quantity <> 0;
CREATE FUNCTION settle(now timestamptz) RETURNS TABLE (adjustments bigint, late_rows bigint, problems bigint) LANGUAGE plpgsql AS $$
BEGIN
	PERFORM set_config('meter.now', now::text, false);
	SELECT sum(a.adjustments), sum(a.late_rows) INTO adjustments, late_rows FROM meter.advance('duplicates_cloud') a;
	SELECT count(*) INTO problems FROM meter.verify('duplicates_cloud');
	RETURN NEXT;
END $$;

-- The same id within a day: duplicates. The least time counts, so vm1 starts at 10:20, however often it says so later.
INSERT INTO duplicates_cloud.event (source, id, "time", resource, account, action, offering) VALUES
	('api', 'e1', '2024-03-05 10:40', 'vm1', 'a', 'start', 'm'),
	('api', 'e1', '2024-03-05 10:20', 'vm1', 'a', 'start', 'm'),
	('api', 'e1', '2024-03-05 10:30', 'vm1', 'a', 'start', 'm'),
-- Sent again after the run's stop, it starts no second run; without an id it would.
	('api', 'e2', '2024-03-05 10:50', 'vm1', NULL, 'stop', NULL),
	('api', 'e1', '2024-03-05 10:55', 'vm1', 'a', 'start', 'm'),
	(NULL,  NULL, '2024-03-05 10:10', 'vm2', 'a', 'start', 'm'),
	(NULL,  NULL, '2024-03-05 10:20', 'vm2', NULL, 'stop', NULL),
	(NULL,  NULL, '2024-03-05 10:30', 'vm2', 'a', 'start', 'm'),
	(NULL,  NULL, '2024-03-05 10:40', 'vm2', NULL, 'stop', NULL),
-- Another source or another resource is another row; no source is the source ''.
	('api', 'e1', '2024-03-05 10:00', 'vm3', 'a', 'start', 'm'),
	('gui', 'e1', '2024-03-05 10:30', 'vm3', 'b', 'start', 'm'),
	(NULL,  'e1', '2024-03-05 10:15', 'vm4', 'a', 'start', 'm'),
	('',    'e1', '2024-03-05 10:10', 'vm4', 'a', 'start', 'm'),
-- The source 'a-b' with the id 'c' is not the source 'a' with the id 'b-c'.
	('a-b', 'c',  '2024-03-05 10:00', 'vm5', 'a', 'start', 'm'),
	('a',   'b-c', '2024-03-05 10:30', 'vm5', NULL, 'stop', NULL);
SELECT * FROM settle('2024-03-05 11:00');
TABLE bill ORDER BY 1, 2, 3;
INSERT INTO duplicates_cloud.event ("time", resource, action) SELECT '2024-03-05 11:00', r, 'stop' FROM unnest('{vm3,vm4}'::text[]) r;

-- A duplicate from before, once the hour is settled: the run moves, and so does the bill. One from after changes nothing.
INSERT INTO duplicates_cloud.event (source, id, "time", resource, account, action, offering) VALUES ('api', 'e1', '2024-03-05 10:05', 'vm1', 'a', 'start', 'm');
SELECT * FROM settle('2024-03-05 11:00');
INSERT INTO duplicates_cloud.event (source, id, "time", resource, account, action, offering) VALUES ('api', 'e1', '2024-03-05 10:06', 'vm1', 'a', 'start', 'm');
SELECT * FROM settle('2024-03-05 11:00');
SELECT quantity, revision, settlement FROM duplicates_cloud.usage WHERE resource = 'vm1' ORDER BY revision;

-- A thousand duplicates count once, at the least time.
INSERT INTO duplicates_cloud.event (source, id, "time", resource, account, action, offering)
	SELECT 'api', 'again', '2024-03-05 11:30'::timestamptz + (n * 7919 % 1000) * interval '1 second', 'vm6', 'a', 'start', 'm' FROM generate_series(1, 1000) n;
INSERT INTO duplicates_cloud.event ("time", resource, action) VALUES ('2024-03-05 11:45', 'vm6', 'stop');
SELECT * FROM settle('2024-03-05 12:00');
SELECT * FROM bill WHERE resource = 'vm6';

-- The window: a day from each other, by time, to the microsecond. What is further apart is not the same: here each starts a run of ten minutes.
INSERT INTO duplicates_cloud.event (source, id, "time", resource, account, action, offering) VALUES
	('api', 'day', '2024-03-05 12:00', 'vm7', 'a', 'start', 'm'), (NULL, NULL, '2024-03-05 12:10', 'vm7', NULL, 'stop', NULL),
	('api', 'day', '2024-03-06 12:00', 'vm7', 'a', 'start', 'm'), (NULL, NULL, '2024-03-06 12:10', 'vm7', NULL, 'stop', NULL),
	('api', 'day', '2024-03-05 12:00', 'vm8', 'a', 'start', 'm'), (NULL, NULL, '2024-03-05 12:10', 'vm8', NULL, 'stop', NULL),
	('api', 'day', '2024-03-06 12:00:00.000001', 'vm8', 'a', 'start', 'm'), (NULL, NULL, '2024-03-06 12:10', 'vm8', NULL, 'stop', NULL);
SELECT * FROM settle('2024-03-06 13:00');
SELECT * FROM bill WHERE resource IN ('vm7', 'vm8') ORDER BY 1, 2;

-- Duplicates are sorted out before the meter looks: a duplicate that is no event to it counts as one all the same, and the least content goes first.
INSERT INTO duplicates_cloud.event (source, id, "time", resource, account, entity, action, offering) VALUES
	('api', 'e9', '2024-03-06 13:10', 'vm9', 'a', 'vm', 'ping', 'm'),
	('api', 'e9', '2024-03-06 13:20', 'vm9', 'a', 'vm', 'start', 'm'),
	('api', 'e10', '2024-03-06 13:20', 'vm10', 'b', 'vm', 'start', 'm'),
	('api', 'e10', '2024-03-06 13:20', 'vm10', 'a', 'vm', 'start', 'm');
SELECT * FROM settle('2024-03-06 14:00');
SELECT * FROM bill WHERE resource IN ('vm9', 'vm10') ORDER BY 1, 2;
-- Duplicates that say different things are odd, and listed.
SELECT class, meter, resource, "time" FROM duplicates_cloud.anomaly WHERE class = 'conflicting duplicate' AND resource IN ('vm9', 'vm10') ORDER BY resource, "time";
-- (The same row sent twice is not.)
INSERT INTO duplicates_cloud.event (source, id, "time", resource, action) SELECT 'api', 'e11', '2024-03-06 13:30', 'vm11', 'stop' FROM generate_series(1, 2);
SELECT count(*) FROM duplicates_cloud.anomaly WHERE class = 'conflicting duplicate' AND resource = 'vm11';

-- void takes a row back, with all its duplicates: before it is settled, after it, before it arrives, and in the same batch.
INSERT INTO duplicates_cloud.event (source, id, "time", resource, account, action, offering) VALUES
	('api', 'v1', '2024-03-06 14:10', 'void1', 'a', 'start', 'm'),
	('api', 'v2', '2024-03-06 14:10', 'void2', 'a', 'start', 'm'),
	('api', 'v4', '2024-03-06 14:10', 'void4', 'a', 'start', 'm'),
	('api', 'v4', '2024-03-06 14:20', 'void4', 'a', 'start', 'm'),
	('api', 'v4', '2024-03-06 14:15', 'void4', NULL, 'void', NULL);
INSERT INTO duplicates_cloud.event (source, id, "time", resource, action) VALUES
	('api', 'v1', '2024-03-06 14:15', 'void1', 'void'),
	('api', 'v3', '2024-03-06 14:15', 'void3', 'void');
SELECT * FROM settle('2024-03-06 15:00');
INSERT INTO duplicates_cloud.event (source, id, "time", resource, account, action, offering) VALUES
	('api', 'v2', '2024-03-06 14:50', 'void2', NULL, 'void', NULL),
	('api', 'v3', '2024-03-06 14:10', 'void3', 'a', 'start', 'm');
SELECT * FROM settle('2024-03-06 15:00');
SELECT resource, quantity, revision FROM duplicates_cloud.usage WHERE resource LIKE 'void%' ORDER BY 1, 3;
TABLE bill ORDER BY 1, 2, 3;
-- Whose id it is matters: another source's void, or one without an id, takes nothing back.
INSERT INTO duplicates_cloud.event (source, id, "time", resource, account, action, offering) VALUES
	('api', 'v5', '2024-03-06 15:10', 'void5', 'a', 'start', 'm'),
	('gui', 'v5', '2024-03-06 15:10', 'void5', NULL, 'void', NULL),
	('api', NULL, '2024-03-06 15:10', 'void5', NULL, 'void', NULL);
SELECT * FROM settle('2024-03-06 16:00');
SELECT * FROM bill WHERE resource = 'void5';
-- A void that names the account takes the name back with it: the time belongs to nobody again, and then to who is named next.
INSERT INTO duplicates_cloud.event (source, id, "time", resource, account, action, offering) VALUES
	(NULL, NULL, '2024-03-06 16:10', 'void6', NULL, 'start', 'm'),
	('api', 'v6', '2024-03-06 16:20', 'void6', 'a', 'resize', 'l');
SELECT * FROM settle('2024-03-06 17:00');
INSERT INTO duplicates_cloud.event (source, id, "time", resource, action) VALUES ('api', 'v6', '2024-03-06 16:20', 'void6', 'void');
SELECT * FROM settle('2024-03-06 17:00');
SELECT * FROM bill WHERE resource = 'void6' ORDER BY period_start, account, offering;

-- A stream whose very first batch holds a row and its void.
SELECT meter.create_stream('duplicates_first');
SELECT meter.create_meter('duplicates_first', 'vm', starts => '{start}', stops => '{stop}', lateness => '0');
INSERT INTO duplicates_first.event (source, id, "time", resource, account, action) VALUES
	('api', '1', '2024-03-05 10:00', 'vm1', 'a', 'start'), ('api', '1', '2024-03-05 10:00', 'vm1', NULL, 'void'), ('api', '2', '2024-03-05 10:00', 'vm2', 'a', 'start');
SET meter.now = '2024-03-05 11:00';
SELECT usage_rows FROM meter.advance('duplicates_first');
SELECT resource, quantity FROM duplicates_first.usage;
SELECT * FROM meter.verify('duplicates_first');

-- The ledger is right whatever was read in which order: settling all of it anew finds nothing to change.
SELECT meter.resettle('duplicates_cloud', 'vm', NULL), meter.resettle('duplicates_first', 'vm', NULL);
SELECT * FROM meter.verify('duplicates_cloud');
SET client_min_messages = warning;
DROP VIEW bill;
DROP FUNCTION settle;
SELECT meter.drop_stream(name, delete_data => true) FROM unnest('{duplicates_cloud,duplicates_first}'::text[]) name;
