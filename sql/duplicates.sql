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

-- The action is a part of the name: a ping with the id of a start is no duplicate of it. At one time the least content counts.
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

-- ---------------------------------------------------------------- what names a row
-- The id of a session for all that is said of it: rows that say different things are no copies. 60 minutes.
SELECT meter.create_stream('duplicates_names');
SELECT meter.create_meter('duplicates_names', 'online', starts => '{start}', stops => '{stop}', changes => '{interim}', dimensions => '{}', clock => 'event', lateness => '0');
SELECT meter.create_meter('duplicates_names', 'disk', entity => 'disk', starts => '{start}', stops => '{stop}', dimensions => '{}', clock => 'event', lateness => '0');
INSERT INTO duplicates_names.event (source, id, "time", resource, account, entity, action) VALUES
	('nas1', '81bf-7', '2024-03-05 10:00Z', '81bf-7', 'alice', 'session', 'start'),
	('nas1', '81bf-7', '2024-03-05 10:30Z', '81bf-7', 'alice', 'session', 'interim'),
	('nas1', '81bf-7', '2024-03-05 11:00Z', '81bf-7', 'alice', 'session', 'stop'),
-- Duplicates are sorted out before the meter looks: one that is no event to it counts as one all the same, so 'disk' knows nothing of d1.
	('api', '1', '2024-03-05 10:10Z', 'd1', 'a', 'vm', 'start'),
	('api', '1', '2024-03-05 10:20Z', 'd1', 'a', 'disk', 'start'),
	('api', '1', '2024-03-05 10:50Z', 'd1', NULL, NULL, 'stop'),
	(NULL, NULL, '2024-03-06 10:00Z', 'clock', NULL, NULL, 'tick');
CALL meter.run('duplicates_names');
SELECT meter, resource, sum(quantity) FROM duplicates_names.usage GROUP BY 1, 2 ORDER BY 1, 2;
-- A void names all of them, whatever their action.
INSERT INTO duplicates_names.event (source, id, "time", resource, action) VALUES ('nas1', '81bf-7', '2024-03-05 10:00Z', '81bf-7', 'void');
CALL meter.run('duplicates_names');
SELECT resource, sum(quantity) FROM duplicates_names.usage WHERE meter = 'online' GROUP BY 1 ORDER BY 1;
SELECT * FROM meter.verify('duplicates_names');

-- ---------------------------------------------------------------- the least of duplicates, column by column
-- Each resource has the greater row first. By value, as a number; then account, entity, offering, attributes and source as bytes; NULL is less.
SELECT meter.create_stream('duplicates_order');
SELECT meter.create_meter('duplicates_order', 'm', 'weighted', starts => '{start}', stops => '{stop}', dimensions => '{entity,offering,a,source}', unit => '1 hour', clock => 'event', lateness => '0', since => '2024-03-05 10:00Z');
INSERT INTO duplicates_order.event (id, "time", resource, action, value, account, entity, offering, attributes, source)
	SELECT '1', '2024-03-05 10:00Z', r, 'start', v, a, e, o, x::jsonb, s FROM (VALUES
	('1 value', 10::numeric, 'a', 'e', 'o', '{"a": "1"}', ''), ('1 value', 9, 'b', 'f', 'p', '{"a": "2"}', NULL),
	('1 value, null', -1, 'a', 'e', 'o', '{"a": "1"}', ''), ('1 value, null', NULL, 'b', 'f', 'p', '{"a": "2"}', NULL),
	('2 account', 1, 'a', 'e', 'o', '{"a": "1"}', ''), ('2 account', 1, 'B', 'f', 'p', '{"a": "2"}', NULL),
	('2 account, null', 1, '', 'e', 'o', '{"a": "1"}', ''), ('2 account, null', 1, NULL, 'f', 'p', '{"a": "2"}', NULL),
	('3 entity', 1, 'a', 'e', 'o', '{"a": "1"}', ''), ('3 entity', 1, 'a', 'E', 'p', '{"a": "2"}', NULL),
	('3 entity, null', 1, 'a', 'e', 'o', '{"a": "1"}', ''), ('3 entity, null', 1, 'a', NULL, 'p', '{"a": "2"}', NULL),
	('4 offering', 1, 'a', 'e', 'o', '{"a": "1"}', ''), ('4 offering', 1, 'a', 'e', 'O', '{"a": "2"}', NULL),
	('4 offering, null', 1, 'a', 'e', '', '{"a": "1"}', ''), ('4 offering, null', 1, 'a', 'e', NULL, '{"a": "2"}', NULL),
	('5 attributes', 1, 'a', 'e', 'o', '{"a": "b"}', NULL), ('5 attributes', 1, 'a', 'e', 'o', '{"a": "C"}', ''),
	('5 attributes, null', 1, 'a', 'e', 'o', '{"a": "1"}', NULL), ('5 attributes, null', 1, 'a', 'e', 'o', NULL, ''),
	('6 source', 1, 'a', 'e', 'o', '{"a": "1"}', ''), ('6 source', 1, 'a', 'e', 'o', '{"a": "1"}', NULL),
	('7 value as text', 1.0, 'a', 'e', 'o', NULL, ''), ('7 value as text', 1, 'a', 'e', 'o', NULL, '')) x (r, v, a, e, o, x, s);
INSERT INTO duplicates_order.event ("time", resource, action) SELECT DISTINCT '2024-03-05 11:00Z'::timestamptz, resource, 'stop' FROM duplicates_order.event;
INSERT INTO duplicates_order.event ("time", resource, action) VALUES ('2024-03-05 12:00Z', 'clock', 'tick');
CALL meter.run('duplicates_order');
SELECT resource, account, dimensions, quantity FROM duplicates_order.usage ORDER BY 1;
-- Which of them counts does not depend on how they are found: late, and settled anew.
CREATE TEMP TABLE before AS SELECT resource, account, dimensions, sum(quantity) FROM duplicates_order.usage GROUP BY 1, 2, 3;
INSERT INTO duplicates_order.event (id, "time", resource, action, value, account, entity, offering, attributes, source)
	SELECT id, "time", resource, action, value, account, entity, offering, attributes, source FROM duplicates_order.event WHERE id IS NOT NULL ORDER BY arrival DESC;
CALL meter.run('duplicates_order');
SELECT meter.resettle('duplicates_order', 'm', NULL);
SELECT resource, account, dimensions, sum(quantity) FROM duplicates_order.usage GROUP BY 1, 2, 3 EXCEPT TABLE before;
SELECT class, resource, count(*) FROM duplicates_order.anomaly WHERE class = 'conflicting duplicate' GROUP BY 1, 2 ORDER BY 2;
SELECT * FROM meter.verify('duplicates_order');
-- Measures, likewise: end before value.
SELECT meter.create_meter('duplicates_order', 'latest', aggregate => 'max', dimensions => '{entity,source,a}', lateness => '0', since => '2024-03-05 10:00Z');
INSERT INTO duplicates_order.measure (id, start_time, end_time, resource, value, account, entity, attributes, source)
	SELECT '1', '2024-03-05 10:00Z', '2024-03-05 10:00Z'::timestamptz + l * interval '1 min', r, v, a, e, x::jsonb, s FROM (VALUES
	('1 end', 2, 1::numeric, 'a', 'e', '{"a": "1"}', ''), ('1 end', 1, 9, 'b', 'f', '{"a": "2"}', NULL),
	('2 value', 1, 10, 'a', 'e', '{"a": "1"}', ''), ('2 value', 1, 9, 'b', 'f', '{"a": "2"}', NULL),
	('3 account', 1, 1, 'a', 'e', '{"a": "1"}', ''), ('3 account', 1, 1, 'B', 'f', '{"a": "2"}', NULL),
	('4 entity', 1, 1, 'a', 'e', '{"a": "1"}', ''), ('4 entity', 1, 1, 'a', NULL, '{"a": "2"}', NULL),
	('5 attributes', 1, 1, 'a', 'e', '{"a": "b"}', NULL), ('5 attributes', 1, 1, 'a', 'e', '{"a": "C"}', ''),
	('6 source', 1, 1, 'a', 'e', NULL, ''), ('6 source', 1, 1, 'a', 'e', NULL, NULL)) x (r, l, v, a, e, x, s);
SET meter.now = '2024-03-05 12:00Z';
CALL meter.run('duplicates_order');
SELECT resource, account, dimensions, quantity FROM duplicates_order.usage WHERE meter = 'latest' ORDER BY 1;
SELECT * FROM meter.verify('duplicates_order');

-- ---------------------------------------------------------------- how far a void reaches
-- An id that is used again, years later: nobody has ever taken that job back. A void counts whatever was read first, and so do its copies.
RESET meter.now;
SELECT meter.create_stream('duplicates_jobs');
SELECT meter.create_meter('duplicates_jobs', 'job', starts => '{start}', stops => '{end}', dimensions => '{}', clock => 'event', lateness => '0', period => '1 day', max_lateness => NULL);
INSERT INTO duplicates_jobs.event (source, id, "time", resource, account, action) VALUES
	('ctl', '12/start', '2017-10-03 13:39Z', '12', 'alice', 'start'), ('ctl', '12/end', '2017-10-03 13:49Z', '12', 'alice', 'end'),
	('ctl', '12/start', '2017-10-03 13:39Z', '12', NULL, 'void'), ('ctl', '12/end', '2017-10-03 13:49Z', '12', NULL, 'void'),
	('ctl', '12/end', '2017-10-03 13:49Z', '12', NULL, 'void'),
	('ctl', '12/start', '2024-03-05 10:00Z', '12', 'bob', 'start'), ('ctl', '12/end', '2024-03-05 10:20Z', '12', 'bob', 'end'),
	(NULL, NULL, '2024-03-06 10:00Z', 'clock', NULL, 'tick');
CALL meter.run('duplicates_jobs');
SELECT account, sum(quantity) FROM duplicates_jobs.usage GROUP BY 1 HAVING sum(quantity) <> 0 ORDER BY 1;
SELECT * FROM meter.verify('duplicates_jobs');

-- Of rows of one name at 0, 20 and 40 hours only the first counts. A void takes back what is at most a day from its own time, before or after; what
-- it takes back still shadows its duplicates. By r's void: none; at 40 h, out of the first one's reach; at 24 h and a microsecond more; a day
-- before, and a microsecond more; at 0 h. The first is worth 1, the second 10, the third 100; void and rows come in every order.
SELECT meter.create_stream('duplicates_reach');
SELECT meter.create_meter('duplicates_reach', 'events', aggregate => 'weighted', starts => '{start}', stops => '{stop}', dimensions => '{}', unit => '1 hour', lateness => '0', since => '2024-03-01 00:00Z');
SELECT meter.create_meter('duplicates_reach', 'measures', aggregate => 'sum', dimensions => '{}', lateness => '0', since => '2024-03-01 00:00Z');
CREATE TEMP TABLE reach AS SELECT r || o AS resource, o, at, '2024-03-04 00:00Z'::timestamptz + at AS void_time FROM (VALUES ('none ', NULL::interval), ('at 40 h ', '40 h'),
	('at 24 h ', '24 h'), ('at 24 h and more ', '24 h 0.000001 s'), ('at 0 h ', '0 h'), ('at -24 h ', '-24 h'), ('at -24 h and more ', '-24 h -0.000001 s')) v (r, at),
	unnest('{before,with,after}'::text[]) o;
CREATE FUNCTION pg_temp.void(o text) RETURNS void LANGUAGE sql AS $$
	INSERT INTO duplicates_reach.event (source, id, "time", resource, action)
		SELECT 's', '1', void_time, kind || resource, 'void' FROM reach, unnest(ARRAY['event ', 'measure ']) kind WHERE reach.o = $1 AND at IS NOT NULL;
$$;
SET meter.now = '2024-03-03 00:00Z';
SELECT pg_temp.void('before');
CALL meter.run('duplicates_reach');
INSERT INTO duplicates_reach.event (source, id, "time", resource, account, action, value)
	SELECT 's', '1', '2024-03-04 00:00Z'::timestamptz + n * interval '20 h', 'event ' || resource, 'a', 'start', 10 ^ n FROM reach, generate_series(0, 2) n;
INSERT INTO duplicates_reach.event ("time", resource, action)
	SELECT '2024-03-04 01:00Z'::timestamptz + n * interval '20 h', 'event ' || resource, 'stop' FROM reach, generate_series(0, 2) n;
INSERT INTO duplicates_reach.measure (source, id, start_time, end_time, resource, account, value)
	SELECT 's', '1', t, t, 'measure ' || resource, 'a', 10 ^ n FROM reach, generate_series(0, 2) n, LATERAL (SELECT '2024-03-04 00:00Z'::timestamptz + n * interval '20 h') x (t);
SELECT pg_temp.void('with');
-- Some hours at a time, so that a void lies before the watermark, in what is settled next, or ahead.
DO $$
DECLARE
	t timestamptz;
BEGIN
	FOR t IN SELECT generate_series('2024-03-04 01:00Z'::timestamptz, '2024-03-08 00:00Z', '7 h') LOOP
		PERFORM set_config('meter.now', t::text, false);
		CALL meter.run('duplicates_reach');
	END LOOP;
END $$;
SELECT meter, sum(quantity) FROM duplicates_reach.usage WHERE resource LIKE '%after' GROUP BY 1 ORDER BY 1;
SELECT pg_temp.void('after');
SET meter.now = '2024-03-08 00:00Z';
CALL meter.run('duplicates_reach');
SELECT resource, quantity FROM (SELECT meter, replace(replace(resource, 'event ', ''), 'measure ', '') AS resource, sum(quantity) AS quantity FROM duplicates_reach.usage GROUP BY 1, 2) u
	GROUP BY 1, 2 HAVING quantity <> 0 AND count(*) = 2 ORDER BY 1;
SELECT count(*) AS differ FROM (SELECT substr(resource, 7) AS r, sum(quantity) AS q FROM duplicates_reach.usage WHERE meter = 'events' GROUP BY 1 HAVING sum(quantity) <> 0) e
	FULL JOIN (SELECT substr(resource, 9) AS r, sum(quantity) AS q FROM duplicates_reach.usage WHERE meter = 'measures' GROUP BY 1 HAVING sum(quantity) <> 0) m USING (r) WHERE e.q IS DISTINCT FROM m.q;
SELECT * FROM meter.verify('duplicates_reach');
-- What a void says of rows to come is late by the least time it reaches; one that reaches nothing that is settled is not late.
INSERT INTO duplicates_reach.event (source, id, "time", resource, action) VALUES ('s', 'ahead', '2024-03-09 00:00Z', 'ahead', 'void'), ('s', 'edge', '2024-03-08 23:59Z', 'edge', 'void');
SELECT meter, late_rows FROM meter.advance('duplicates_reach');

-- A void is held by its own time, and acts once it is released. (It reaches a row that is not held: what it would take back still counts.)
SELECT meter.create_stream('duplicates_held');
SELECT meter.create_meter('duplicates_held', 'vm', starts => '{start}', stops => '{stop}', dimensions => '{}', lateness => '0', max_lateness => '2 days', since => '2024-03-01 00:00Z');
INSERT INTO duplicates_held.event (source, id, "time", resource, account, action) VALUES ('s', '1', '2024-03-05 10:00Z', 'vm', 'a', 'start'), ('s', '1', '2024-03-05 11:00Z', 'vm', 'a', 'stop');
SET meter.now = '2024-03-07 00:00Z';
CALL meter.run('duplicates_held');
CALL meter.run('duplicates_held');				-- what comes now came after the watermark had got there
INSERT INTO duplicates_held.event (source, id, "time", resource, action) VALUES ('s', '1', '2024-03-04 12:00Z', 'vm', 'void');
SELECT meter.resettle('duplicates_held', 'vm', NULL);		-- no step has read it: it may have to be held
CALL meter.run('duplicates_held');
SELECT sum(quantity) FROM duplicates_held.usage;
SELECT h.reason, e.action FROM duplicates_held.held h JOIN duplicates_held.event e USING (arrival);
SELECT class, resource, "time" FROM duplicates_held.anomaly;
SELECT * FROM meter.verify('duplicates_held');
SELECT meter.resettle('duplicates_held', 'vm', NULL), meter.release('duplicates_held', 'vm');
SELECT sum(quantity) FROM duplicates_held.usage;
SELECT * FROM meter.verify('duplicates_held');
SELECT meter.resettle('duplicates_held', 'vm', NULL);

-- ---------------------------------------------------------------- much, and far apart
-- One id, centuries apart: settled, late, with a snapshot that reaches back, live and in what was odd.
SELECT meter.create_stream('duplicates_ages');
SELECT meter.create_meter('duplicates_ages', 'vm', starts => '{start}', stops => '{stop}', changes => '{resize}', lateness => '0', max_lateness => NULL, since => '2024-03-05 10:00Z');
SELECT meter.create_meter('duplicates_ages', 'gb', aggregate => 'sum', dimensions => '{}', lateness => '0', max_lateness => NULL, since => '2024-03-05 10:00Z');
CREATE FUNCTION pg_temp.ages() RETURNS void LANGUAGE sql AS $$
	INSERT INTO duplicates_ages.event (source, id, "time", resource, account, action) SELECT 's', '1', t::timestamptz, r, 'a', a
		FROM unnest('{0001-01-01 00:00Z,2024-03-05 10:10Z,9999-12-31 00:00Z}'::text[]) t, unnest('{vm1,vm2}'::text[]) r, unnest('{start,resize,stop}'::text[]) a;
	INSERT INTO duplicates_ages.event (source, id, "time", resource, action) SELECT 's', '1', t::timestamptz, 'vm2', 'void'
		FROM unnest('{0001-01-01 00:00Z,9999-12-31 00:00Z}'::text[]) t;
	INSERT INTO duplicates_ages.measure (source, id, start_time, end_time, resource, account, value) SELECT 's', '1', t::timestamptz, t::timestamptz, 'ip', 'a', 1
		FROM unnest('{0001-01-01 00:00Z,2024-03-05 10:10Z,9999-12-31 00:00Z}'::text[]) t;
	INSERT INTO duplicates_ages.measure (source, id, start_time, end_time, resource, account, value) VALUES ('s', '2', '0001-01-01 00:00Z', '9999-12-31 00:00Z', 'ip', 'a', 1);
$$;
SET meter.now = '2024-03-05 11:00Z';
SELECT pg_temp.ages();
CALL meter.run('duplicates_ages');
INSERT INTO duplicates_ages.inventory (source, at, resource, account, since) VALUES ('s', '2024-03-05 10:30Z', 'vm3', 'a', '0001-01-01 00:00Z');
SELECT resource, problem, "time" FROM meter.reconcile('duplicates_ages', 's', '2024-03-05 10:30Z');
CALL meter.run('duplicates_ages');
SELECT pg_temp.ages();
CALL meter.run('duplicates_ages');
SELECT resource, sum(quantity) FROM duplicates_ages.current_usage GROUP BY 1 ORDER BY 1;
SELECT class, resource, count(*) FROM duplicates_ages.anomaly WHERE class <> 'reconciled' GROUP BY 1, 2 ORDER BY 1, 2;
SELECT last_error FROM meter.status WHERE stream = 'duplicates_ages';
SELECT * FROM meter.verify('duplicates_ages');

-- Ten thousand duplicates of one id, at one time and a millisecond apart, and as many voids that miss them: found by sorting, not each with each.
SELECT meter.create_stream('duplicates_many');
SELECT meter.create_meter('duplicates_many', 'vm', starts => '{start}', stops => '{stop}', dimensions => '{}', lateness => '0', max_lateness => NULL, since => '2024-03-05 10:00Z');
SELECT meter.create_meter('duplicates_many', 'gb', aggregate => 'sum', dimensions => '{}', lateness => '0', max_lateness => NULL, since => '2024-03-05 10:00Z');
CREATE FUNCTION pg_temp.many(at timestamptz) RETURNS void LANGUAGE sql AS $$
	INSERT INTO duplicates_many.event (source, id, "time", resource, account, action)
		SELECT 's', '1', at + s * n * interval '1 ms', 'vm' || s, 'a', 'start' FROM generate_series(0, 1) s, generate_series(1, 10000) n;
	INSERT INTO duplicates_many.event (source, id, "time", resource, action)
		SELECT 's', '1', at + interval '2 days' + n * interval '1 ms', r, 'void' FROM unnest('{vm0,vm1,ip0,ip1}'::text[]) r, generate_series(1, 10000) n;
	INSERT INTO duplicates_many.measure (source, id, start_time, end_time, resource, account, value)
		SELECT 's', '1', at + s * n * interval '1 ms', at + s * n * interval '1 ms', 'ip' || s, 'a', n FROM generate_series(0, 1) s, generate_series(1, 10000) n;
$$;
SET meter.now = '2024-03-05 12:00Z';
SELECT clock_timestamp() AS began \gset
SELECT pg_temp.many('2024-03-05 10:20Z');
CALL meter.run('duplicates_many');
SELECT pg_temp.many('2024-03-05 10:10Z');		-- all of it late
CALL meter.run('duplicates_many');
SELECT resource, sum(quantity) FROM duplicates_many.usage GROUP BY 1 ORDER BY 1;
SELECT * FROM meter.verify('duplicates_many');
SELECT clock_timestamp() - :'began' < interval '100 s' AS in_time;

-- The ledger is right whatever was read in which order: settling all of it anew finds nothing to change.
SELECT meter.resettle('duplicates_cloud', 'vm', NULL), meter.resettle('duplicates_first', 'vm', NULL);
SELECT * FROM meter.verify('duplicates_cloud');
SET client_min_messages = warning;
DROP VIEW bill;
DROP FUNCTION settle;
SELECT meter.drop_stream(name, delete_data => true) FROM unnest('{duplicates_cloud,duplicates_first,duplicates_names,duplicates_order,duplicates_jobs,duplicates_reach,duplicates_held,duplicates_ages,duplicates_many}'::text[]) name;
