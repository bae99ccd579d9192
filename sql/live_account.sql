-- Promise: the live usage of an account or a resource is current_usage of it, whoever owned what, and when; what is settled of an account is its totals.
SET timezone = 'UTC';
SET datestyle = 'ISO';
SET client_min_messages = warning;
SELECT meter.create_stream('la');
SELECT meter.create_meter('la', 'vm', starts => '{start}', stops => '{stop}', changes => '{change}', lateness => '0', since => '2024-03-05');
SELECT meter.create_meter('la', 'traffic', aggregate => 'sum', dimensions => '{}', lateness => '0', since => '2024-03-05');
SELECT meter.create_meter('la', 'reading', aggregate => 'counter', dimensions => '{}', lateness => '0', since => '2024-03-05');
SELECT meter.create_meter('la', 'began', aggregate => 'runs', starts => '{start}', stops => '{stop}', lateness => '0', since => '2024-03-05');
-- differs(): what live_usage of any account or resource has otherwise than current_usage: nothing.
CREATE FUNCTION differs() RETURNS TABLE (asked text, what text) LANGUAGE sql AS $$
	WITH c AS MATERIALIZED (SELECT * FROM la.current_usage WHERE account <> 'many'),
	live AS (SELECT 'account ' || a AS asked, l.* FROM (SELECT DISTINCT account AS a FROM c UNION SELECT 'stranger') x, meter.live_usage('la', a) l
		UNION ALL SELECT 'resource ' || r, l.* FROM (SELECT DISTINCT resource AS r FROM c UNION SELECT 'stranger') x, meter.live_usage('la', NULL, r) l
		UNION ALL SELECT 'both ' || a || ' ' || r, l.* FROM (SELECT DISTINCT account AS a, resource AS r FROM c) x, meter.live_usage('la', a, r) l
		UNION ALL SELECT 'all', l.* FROM meter.live_usage('la') l WHERE account <> 'many'),
	want AS (SELECT 'account ' || account, * FROM c WHERE NOT settled UNION ALL
		SELECT 'account ' || account, meter, account, NULL, dimensions, period_start, sum(quantity), true FROM c WHERE settled GROUP BY 1, 2, 3, 5, 6 UNION ALL SELECT 'resource ' || resource, * FROM c
		UNION ALL SELECT 'both ' || account || ' ' || resource, * FROM c UNION ALL SELECT 'all', * FROM c)
	(SELECT asked, 'too much: ' || (l.*)::text FROM (TABLE live EXCEPT ALL TABLE want) l)
	UNION ALL (SELECT w.column1, 'missing: ' || (w.*)::text FROM (TABLE want EXCEPT ALL TABLE live) w (column1))
$$;

-- A ledger that is worth no scan.
INSERT INTO la.event ("time", resource, account, action, offering) SELECT '2024-03-05 09:30', 'filler' || i, 'many', 'start', 'small' FROM generate_series(1, 300) i;
-- Two that run, one that has no name yet, and measures that are their own account's, or the owner's.
INSERT INTO la.event ("time", resource, account, action, offering) VALUES
	('2024-03-05 09:30', 'vm1', 'ann', 'start', 'small'), ('2024-03-05 09:40', 'vm2', 'bob', 'start', 'small'), ('2024-03-05 09:50', 'vm3', NULL, 'start', 'small');
INSERT INTO la.measure (start_time, end_time, resource, account, value) VALUES
	('2024-03-05 09:30', '2024-03-05 10:30', 'vm1', NULL, 100), ('2024-03-05 09:30', '2024-03-05 10:30', 'ip1', 'cid', 10), ('2024-03-05 09:30', '2024-03-05 09:30', 'vm2', NULL, 7);
SET meter.now = '2024-03-05 12:30';
CALL meter.run('la');
SELECT * FROM differs();
SELECT a.meter, a.account, s.resource FROM la._account_resource a, unnest(hashes) h JOIN la._resource_state s ON s.hash = h WHERE a.account <> 'many' AND s.meter = a.meter ORDER BY 1, 2, 3;
SELECT meter, resource, period_start, quantity, settled FROM meter.live_usage('la', 'ann') ORDER BY 1, 2, 3;

-- Within what is not settled: vm1 goes to dan, and on to eve; vm3 gets its first name; what begins is fay's; and nobody is anybody.
INSERT INTO la.event ("time", resource, account, action, offering) VALUES
	('2024-03-05 12:05', 'vm1', 'dan', 'change', NULL), ('2024-03-05 12:10', 'vm1', 'eve', 'change', 'large'), ('2024-03-05 12:15', 'vm3', 'ann', 'change', NULL),
	('2024-03-05 12:20', 'vm4', 'fay', 'start', 'small'), ('2024-03-05 12:20', 'vm5', NULL, 'start', 'small'), ('2024-03-05 12:20', 'vm2', '', 'change', NULL);
INSERT INTO la.measure (start_time, end_time, resource, account, value) VALUES
	('2024-03-05 12:00', '2024-03-05 12:20', 'vm1', NULL, 60), ('2024-03-05 12:01', '2024-03-05 12:02', 'ip1', 'gil', 3), ('2024-03-05 12:01', '2024-03-05 12:02', 'ip2', NULL, 4);
SELECT * FROM differs();
SELECT meter, account, resource, period_start, quantity FROM meter.live_usage('la', 'dan') ORDER BY 1, 2, 3, 4;
SELECT meter, account, resource, period_start, quantity FROM meter.live_usage('la', NULL, 'vm1') WHERE NOT settled ORDER BY 1, 2, 3, 4;
-- From a state of each: vm3 was nobody's, and is ann's by a row that nothing else gives her.
SELECT resource, period_start, quantity FROM meter.live_usage('la', 'ann') WHERE meter = 'vm' AND NOT settled ORDER BY 1, 2;

-- What was ann's once stays in her past, also after a transfer that comes late.
SET meter.now = '2024-03-05 14:30';
CALL meter.run('la');
INSERT INTO la.event ("time", resource, account, action) VALUES ('2024-03-05 10:30', 'vm2', 'hal', 'change');
SELECT * FROM differs();
CALL meter.run('la');
SELECT * FROM differs();
SELECT resource, period_start, quantity, settled FROM meter.live_usage('la', 'hal') WHERE meter = 'vm' ORDER BY 1, 2;
SELECT DISTINCT a.account, s.resource FROM la._account_resource a, unnest(hashes) h JOIN la._resource_state s ON s.hash = h WHERE a.meter = 'vm' AND s.meter = 'vm' AND a.account <> 'many' ORDER BY 1, 2;

-- A source that names somebody else, and one that says that it ran before; duplicates, voids, sealed segments.
SELECT meter.roll('la') > 0;
CALL meter.run('la');
INSERT INTO la.inventory (source, at, resource, account, offering, since) VALUES
	('dc', '2024-03-05 14:10', 'vm6', 'ivy', 'small', '2024-03-05 13:20'), ('dc', '2024-03-05 14:10', 'vm1', 'jon', 'large', NULL);
SELECT count(*) > 0 FROM meter.reconcile('la', 'dc', '2024-03-05 14:10');
INSERT INTO la.event (source, id, "time", resource, account, action, offering) VALUES
	('dc', 'x1', '2024-03-05 14:20', 'vm7', 'kim', 'start', 'small'), ('dc', 'x1', '2024-03-05 14:20', 'vm7', 'kim', 'start', 'small'),
	('dc', 'x2', '2024-03-05 14:20', 'vm8', 'kim', 'start', 'small'), ('dc', 'x2', '2024-03-05 14:20', 'vm8', NULL, 'void', NULL);
SELECT * FROM differs();
SET meter.now = '2024-03-05 16:30';
CALL meter.run('la');
SELECT * FROM differs();

-- A meter that is gone leaves its ledger; one whose table was lost gets it anew.
SELECT meter.drop_meter('la', 'began');
SELECT * FROM differs();
DELETE FROM la._account_resource;
SELECT count(*) > 0 FROM differs();
SELECT meter.resettle('la', m) FROM unnest('{vm,traffic,reading}'::text[]) m;
SELECT * FROM differs() d WHERE d.what NOT LIKE '%(%,began,%';
TRUNCATE la._account_resource;
SELECT * FROM meter.verify('la');
DROP FUNCTION differs;

-- Who may not see current_usage sees none of it here.
CREATE ROLE regress_live_nobody;
GRANT USAGE ON SCHEMA la TO regress_live_nobody;
SET ROLE regress_live_nobody;
SELECT * FROM meter.live_usage('la', 'ann');
RESET ROLE;
SELECT meter.drop_stream('la', true);
DROP ROLE regress_live_nobody;
