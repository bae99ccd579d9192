-- Promise: a person can see why a usage row is what it is: the events, the spans they make, how these are rounded and cut, and what made it change.
SET timezone = 'UTC';
SET datestyle = 'ISO';
SET intervalstyle = 'postgres';
SET client_min_messages = warning;
SELECT meter.create_stream('explain_cloud');
SELECT meter.create_meter('explain_cloud', 'vm', starts => '{start}', stops => '{stop}', changes => '{resize}', lateness => '0');
INSERT INTO explain_cloud.event (source, id, "time", resource, account, action, offering) VALUES
	('api', '1', '2024-03-05 09:50:20', 'vm1', 'a', 'start', 'm'),
	('api', '1', '2024-03-05 09:50:30', 'vm1', 'a', 'start', 'm'),			-- a duplicate, which does not count
	('api', '2', '2024-03-05 10:20:30', 'vm1', NULL, 'resize', 'l'),
	('api', '3', '2024-03-05 10:40:10', 'vm1', NULL, 'stop', NULL),
	('api', '4', '2024-03-05 10:45:00', 'vm1', NULL, 'start', NULL),
	('api', '5', '2024-03-05 10:45:00', 'vm2', 'b', 'start', 'm');			-- another one's
SET meter.now = '2024-03-05 11:00';
CALL meter.run('explain_cloud');
CREATE FUNCTION why(a_resource text, a_period timestamptz, an_offering text, a_revision int)
RETURNS TABLE (part text, "time" text, until text, arrival bigint, id text, action text, account text, offering text, quantity numeric, explanation text)
LANGUAGE sql AS $$
	SELECT x.part, to_char(x."time", 'HH24:MI:SS'), to_char(x.until, 'HH24:MI:SS'), x.arrival, x.id, x.action, x.account, x.dimensions ->> 'offering', x.quantity,
		regexp_replace(x.explanation, 'recorded at [^:]*:[^:]*:[0-9.+]*', 'recorded at …')
	FROM explain_cloud.usage u, meter.explain('explain_cloud', u.transaction_id) x
	WHERE u.resource = a_resource AND u.period_start = a_period AND u.dimensions ->> 'offering' = an_offering AND u.revision = a_revision
$$;

-- Each minute that the VM ran in is billed once. The minute of 10:20 goes to "m", which touched it first.
SELECT * FROM why('vm1', '2024-03-05 10:00', 'l', 0);
SELECT part, "time", until, quantity, explanation FROM why('vm1', '2024-03-05 09:00', 'm', 0);

-- A late stop: the adjustment names it.
INSERT INTO explain_cloud.event (source, id, "time", resource, action) VALUES ('api', '6', '2024-03-05 10:50:00', 'vm1', 'stop');
CALL meter.run('explain_cloud');
SELECT * FROM why('vm1', '2024-03-05 10:00', 'l', 1);
-- Parts always add up: the rows of the ledger to the total, and the spans of the key that are billed, too.
SELECT sum(quantity) FILTER (WHERE part = 'ledger') AS ledger, sum(quantity) FILTER (WHERE part = 'billed' AND explanation !~ 'another key') AS billed,
	sum(quantity) FILTER (WHERE part = 'total') AS total
FROM why('vm1', '2024-03-05 10:00', 'l', 1);
-- A void: the row that it took back is gone from the events, and the void is what caused the adjustment.
INSERT INTO explain_cloud.event (source, id, "time", resource, action) VALUES ('api', '5', '2024-03-05 10:59:00', 'vm2', 'void');
CALL meter.run('explain_cloud');
SELECT part, "time", id, action, quantity, explanation FROM why('vm2', '2024-03-05 10:00', 'm', 1);

-- Weighted: time times value.
SELECT meter.create_meter('explain_cloud', 'gb', aggregate => 'weighted', entity => 'disk', starts => '{start}', stops => '{stop}', changes => '{resize}', lateness => '0', unit => '1 hour');
INSERT INTO explain_cloud.event ("time", resource, account, entity, action, value, offering) VALUES
	('2024-03-05 11:15', 'disk1', 'a', 'disk', 'start', 100, 'ssd'), ('2024-03-05 11:45', 'disk1', NULL, 'disk', 'resize', 200, NULL);
SET meter.now = '2024-03-05 12:00';
CALL meter.run('explain_cloud');
SELECT x.part, x."time", x.until, x.value, x.quantity, x.explanation FROM explain_cloud.usage u, meter.explain('explain_cloud', u.transaction_id) x
WHERE u.meter = 'gb' AND u.resource = 'disk1' AND x.part IN ('event', 'span', 'billed', 'total');

-- A period in which nothing ran: the stop that decided that, and those that did nothing.
INSERT INTO explain_cloud.event (source, id, "time", resource, account, action, offering) VALUES
	('api', '10', '2024-03-05 08:00:00', 'vm3', 'c', 'start', 'm'), ('api', '12', '2024-03-05 08:30:00', 'vm3', NULL, 'start', NULL);
CALL meter.run('explain_cloud');
INSERT INTO explain_cloud.event (source, id, "time", resource, action) VALUES
	('api', '11', '2024-03-05 09:10:00', 'vm3', 'stop'), ('api', '13', '2024-03-05 09:40:00', 'vm3', 'resize'), ('api', '14', '2024-03-05 10:20:00', 'vm3', 'stop');
CALL meter.run('explain_cloud');
SELECT part, "time", until, id, action, quantity, explanation FROM why('vm3', '2024-03-05 10:00', 'm', 1);
-- A second start did nothing.
SELECT part, "time", until, id, action, quantity, explanation FROM why('vm3', '2024-03-05 08:00', 'm', 0);
-- Something ran in a part of the period: what came before that in it is there, too.
INSERT INTO explain_cloud.event (source, id, "time", resource, action) VALUES
	('api', '15', '2024-03-05 10:40:00', 'vm3', 'start'), ('api', '16', '2024-03-05 10:50:00', 'vm3', 'stop'), ('api', '17', '2024-03-05 10:50:00', 'vm3', 'start');
CALL meter.run('explain_cloud');
SELECT part, "time", until, id, action, quantity, explanation FROM why('vm3', '2024-03-05 10:00', 'm', 2);

-- What is explained is the same wherever the rows are: in the newest segment, in sealed ones, in some whose columns lie otherwise, and beside a
-- partition that is no table.
SELECT meter.create_stream('explain_log');
SELECT meter.create_meter('explain_log', 'vm', starts => '{start}', stops => '{stop}', changes => '{resize}', lateness => '0', since => '2024-03-05 08:00');
SELECT meter.create_meter('explain_log', a, a, dimensions => '{}', lateness => '0', since => '2024-03-05 08:00') FROM unnest('{sum,counter}'::text[]) a;
CREATE FUNCTION pg_temp.hour(n integer) RETURNS void LANGUAGE sql AS $$
	INSERT INTO explain_log.event (source, id, "time", resource, account, action, offering)
		SELECT 's', n || r || a || i, '2024-03-05 08:00'::timestamptz + n * interval '1 hour' + m * interval '1 minute', r, CASE a WHEN 'start' THEN 'a' || n % 2 END, a, 'm' || n
		FROM unnest('{vm1,vm2}'::text[]) r, (VALUES ('stop', 10), ('start', 20), ('resize', 50)) e (a, m), generate_series(1, 2) i;
	INSERT INTO explain_log.event (source, id, "time", resource, action) VALUES ('s', n || 'vm2resize1', '2024-03-05 08:30'::timestamptz + n * interval '1 hour', 'vm2', 'void');
	INSERT INTO explain_log.measure (source, id, start_time, end_time, resource, value)
		SELECT 's', n || r, t, t + interval '90 minutes', r, n * 10 FROM unnest('{vm1,vm2}'::text[]) r, LATERAL (SELECT '2024-03-05 08:15'::timestamptz + n * interval '1 hour' AS t) x;
	SELECT set_config('meter.now', ('2024-03-05 09:00'::timestamptz + n * interval '1 hour')::text, false);
$$;
CREATE FUNCTION pg_temp.explained() RETURNS TABLE (transaction_id uuid, explanation text) LANGUAGE sql AS $$
	SELECT u.transaction_id, x::text FROM explain_log.usage u, meter.explain('explain_log', u.transaction_id) x
$$;
SELECT pg_temp.hour(n) FROM generate_series(0, 2) n;
CALL meter.run('explain_log');
CREATE TEMP TABLE once AS SELECT * FROM pg_temp.explained();
SELECT meter, count(*) > 10 AS many FROM once JOIN explain_log.usage USING (transaction_id) GROUP BY 1 ORDER BY 1;
SELECT meter.roll('explain_log');
ALTER TABLE explain_log.event ADD COLUMN note text DEFAULT 'note', ADD COLUMN more integer;
ALTER TABLE explain_log.event DROP COLUMN note;
SELECT pg_temp.hour(3);
CALL meter.run('explain_log');
SELECT meter.roll('explain_log');
CALL meter.run('explain_log');
SELECT pg_temp.hour(4);
CALL meter.run('explain_log');
SELECT meter.roll('explain_log');
CALL meter.run('explain_log');
CALL meter.run('explain_log');
SELECT log, count(*) > 1 AS sealed FROM meter.log_segments('explain_log') WHERE state = 'sealed' GROUP BY 1 ORDER BY 1;
SELECT count(DISTINCT (SELECT string_agg(attname, ',' ORDER BY attnum) || max(attnum) FROM pg_attribute WHERE attrelid = inhrelid AND attnum > 0 AND NOT attisdropped)) > 1 AS otherwise
FROM pg_inherits WHERE inhparent = 'explain_log.event'::regclass;
-- (what ran on has stopped since)
SELECT * FROM once WHERE explanation NOT LIKE '(span,%runs on")' EXCEPT ALL SELECT * FROM pg_temp.explained();
SELECT count(*) FROM pg_temp.explained() e JOIN explain_log.usage u USING (transaction_id) WHERE u.period_start = '2024-03-05 11:00' AND explanation LIKE '%(event,%';
CREATE TEMP TABLE sealed AS SELECT * FROM pg_temp.explained();
CREATE TABLE explain_log.other PARTITION OF explain_log.event FOR VALUES FROM (9000000000000000000) TO (9000000000000000001) PARTITION BY RANGE (arrival);
SELECT * FROM sealed EXCEPT ALL SELECT * FROM pg_temp.explained();
SELECT count(*) FROM meter.verify('explain_log');
SELECT meter.drop_stream('explain_log', delete_data => true);

-- What is not there, or not one's own.
SELECT * FROM meter.explain('explain_cloud', '00000000-0000-0000-0000-000000000000');
SELECT * FROM meter.explain('nonesuch', '00000000-0000-0000-0000-000000000000');
CREATE ROLE regress_explain_stranger;
SET ROLE regress_explain_stranger;
SELECT * FROM meter.explain('explain_cloud', '00000000-0000-0000-0000-000000000000');
RESET ROLE;
DROP ROLE regress_explain_stranger;
SELECT * FROM meter.verify('explain_cloud');
DROP FUNCTION why;
SELECT meter.drop_stream('explain_cloud', delete_data => true);
