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
