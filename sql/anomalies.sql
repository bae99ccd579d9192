-- Promise: whatever the rules could bill, but a person may want to know, is listed, class by class; what is held can be discarded; status says what is final; and what explains a row adds up to it.
SET timezone = 'UTC';
SET datestyle = 'ISO';
SET intervalstyle = 'postgres';
SET client_min_messages = warning;
SELECT meter.create_stream('anomalies_voids');
SELECT meter.create_meter('anomalies_voids', 'vm', entity => 'vm', starts => '{start}', stops => '{stop}', dimensions => '{}', clock => 'event', lateness => '0');
SELECT meter.create_meter('anomalies_voids', 'disk', entity => 'disk', starts => '{start}', stops => '{stop}', dimensions => '{}', clock => 'event', lateness => '0');
SELECT meter.create_meter('anomalies_voids', 'bytes', aggregate => 'sum', dimensions => '{}', clock => 'event', lateness => '0');

-- A typing error in the id of a void takes nothing back, and is told: vm1. The one with the right id is not, whichever meter's row it
-- takes back: vm2, disk1 and a measure. A void of another source, of no id, or of a row that no meter counts takes nothing back, either.
INSERT INTO anomalies_voids.event (source, id, "time", resource, account, entity, action) VALUES
	('a', 'e1', '2024-03-05 10:00', 'vm1', 'acme', 'vm', 'start'), ('a', 'e2', '2024-03-05 11:00', 'vm1', NULL, 'vm', 'stop'), ('a', 'e11', '2024-03-05 10:00', 'vm1', NULL, NULL, 'void'),
	('a', 'e3', '2024-03-05 10:00', 'vm2', 'acme', 'vm', 'start'), ('a', 'e3', '2024-03-05 10:00', 'vm2', NULL, NULL, 'void'),
	('a', 'e4', '2024-03-05 10:00', 'disk1', 'acme', 'disk', 'start'), ('a', 'e4', '2024-03-05 10:00', 'disk1', NULL, NULL, 'void'),
	('a', 'm1', '2024-03-05 10:00', 'ip1', NULL, NULL, 'void'),
	('b', 'e1', '2024-03-05 10:00', 'vm1', NULL, NULL, 'void'),
	('a', NULL, '2024-03-05 10:00', 'vm1', NULL, NULL, 'void'),
	('a', 'e5', '2024-03-05 10:00', 'vm5', NULL, 'vm', 'reboot'), ('a', 'e5', '2024-03-05 10:00', 'vm5', NULL, NULL, 'void');
INSERT INTO anomalies_voids.measure (source, id, start_time, end_time, resource, account, value) VALUES
	('a', 'm1', '2024-03-05 10:00', '2024-03-05 10:05', 'ip1', 'acme', 10), (NULL, NULL, '2024-03-08 13:00', '2024-03-08 13:00', 'clock', 'x', 0);
CALL meter.run('anomalies_voids');
SELECT class, meter, resource, "time", arrival, detail FROM meter.anomalies('anomalies_voids', class => 'void of nothing');
-- The window goes by the void's own time, both ends included; of three duplicates at 0, 20 and 40 hours only the first counts, so a void of
-- the third takes nothing back that counted.
INSERT INTO anomalies_voids.event (source, id, "time", resource, account, entity, action) VALUES
	('a', 'w', '2024-03-06 00:00', 'vm3', 'acme', 'vm', 'start'), ('a', 'w', '2024-03-06 20:00', 'vm3', 'acme', 'vm', 'start'), ('a', 'w', '2024-03-07 16:00', 'vm3', 'acme', 'vm', 'start'),
	('a', 'w', '2024-03-07 16:00', 'vm3', NULL, NULL, 'void'),
	('a', 'x', '2024-03-06 00:00', 'vm4', 'acme', 'vm', 'start'), ('a', 'x', '2024-03-07 00:00', 'vm4', NULL, NULL, 'void'),
	('a', 'y', '2024-03-06 00:00', 'vm4', 'acme', 'vm', 'start'), ('a', 'y', '2024-03-07 00:00:01', 'vm4', NULL, NULL, 'void');
CALL meter.run('anomalies_voids');
SELECT resource, "time", detail FROM meter.anomalies('anomalies_voids', class => 'void of nothing', during => '[2024-03-06,)');
SELECT resource, "time" FROM meter.anomalies('anomalies_voids', class => 'void of nothing', resource => 'vm4');
-- A void that comes first is listed until its row is there. One that is held is told of as too late only.
INSERT INTO anomalies_voids.event (source, id, "time", resource, action) VALUES ('a', 'z', '2024-03-08 12:00', 'vm6', 'void'), ('a', 'old', '1970-01-02', 'vm7', 'void');
CALL meter.run('anomalies_voids');
SELECT class, meter, resource, "time" FROM meter.anomalies('anomalies_voids') WHERE resource IN ('vm6', 'vm7') ORDER BY 1, 2, 3;
INSERT INTO anomalies_voids.event (source, id, "time", resource, account, entity, action) VALUES ('a', 'z', '2024-03-08 12:00', 'vm6', 'acme', 'vm', 'start');
SELECT class, meter FROM meter.anomalies('anomalies_voids', resource => 'vm6') WHERE class = 'void of nothing';
SELECT * FROM meter.verify('anomalies_voids');

-- What no meter counts is listed once for each action and entity, with a number: CloudEvents' type becomes an action, and nobody meters
-- it. Who names an account says who owns what, for the meters of measures; voids and observations are no actions.
SELECT meter.create_stream('anomalies_counts');
SELECT class FROM anomalies_counts.anomaly;
SELECT meter.create_meter('anomalies_counts', 'vm', entity => 'vm', starts => '{start}', stops => '{stop}', clock => 'event', lateness => '0');
INSERT INTO anomalies_counts.inbox SELECT format('{"specversion": "1.0", "id": "%s", "source": "/cloud", "type": "com.example.vm.started", "subject": "vm1", "time": "2024-03-05T10:%s:00Z"}', n, n)::meter.event FROM generate_series(10, 30) n;
INSERT INTO anomalies_counts.event ("time", resource, account, entity, action) VALUES
	('2024-03-05 10:00', 'vm2', 'acme', 'vm', 'start'), ('2024-03-05 10:10', 'disk1', 'acme', 'disk', 'start'), ('2024-03-05 10:20', 'disk2', 'acme', 'disk', 'start'),
	('2024-03-05 10:30', 'vm3', 'acme', NULL, 'stop'), ('2024-03-05 10:40', 'vm3', 'acme', 'vm', 'transfer'), ('2024-03-05 10:40', 'vm3', NULL, 'disk', 'transfer');
INSERT INTO anomalies_counts.measure (start_time, end_time, resource, entity, value) VALUES ('2024-03-05 10:00', '2024-03-05 10:01', 'ip1', 'ip', 1), ('2024-03-05 10:00', '2024-03-05 10:01', 'ip1', NULL, 1);
CALL meter.run('anomalies_counts');
SELECT class, meter, resource, "time", arrival, detail FROM meter.anomalies('anomalies_counts', class => 'not counted');
SELECT resource, "time", detail FROM meter.anomalies('anomalies_counts', class => 'not counted', resource => 'vm3');
SELECT detail FROM meter.anomalies('anomalies_counts', class => 'not counted', during => '[2024-03-05 10:15, 2024-03-05 10:25)');
-- With a meter of measures names are counted, and its measures.
SELECT meter.create_meter('anomalies_counts', 'ip', aggregate => 'sum', entity => 'ip', dimensions => '{}', clock => 'event', lateness => '0');
SELECT detail FROM meter.anomalies('anomalies_counts', class => 'not counted');
SELECT meter.create_meter('anomalies_counts', 'all', aggregate => 'sum', dimensions => '{}', clock => 'event', lateness => '0');
SELECT detail FROM meter.anomalies('anomalies_counts', class => 'not counted');

-- The reset of a counter that made most of the usage is listed, with what was added. Of several readings of an instant the greatest
-- counts; series go apart; what was taken back or is a duplicate does not count.
SELECT meter.create_stream('anomalies_counter');
SELECT meter.create_meter('anomalies_counter', 'octets', aggregate => 'counter', dimensions => '{direction}', clock => 'event', lateness => '0');
INSERT INTO anomalies_counter.measure (source, id, start_time, end_time, resource, account, value, attributes) VALUES
	('snmp', '1', '2024-03-05 10:00', '2024-03-05 10:00', 'port-1', 'acme', 1000000, NULL), ('snmp', '2', '2024-03-05 10:05', '2024-03-05 10:05', 'port-1', 'acme', 0, NULL),
	('snmp', '3', '2024-03-05 10:10', '2024-03-05 10:10', 'port-1', 'acme', 1000500, NULL), ('snmp', '4', '2024-03-05 10:15', '2024-03-05 10:15', 'port-1', 'acme', 1000500, NULL),
	('snmp', '5', '2024-03-05 10:00', '2024-03-05 10:00', 'port-2', 'acme', 700, '{"direction": "in"}'), ('snmp', '6', '2024-03-05 10:05', '2024-03-05 10:05', 'port-2', 'acme', 30, '{"direction": "out"}'),
	('snmp', '7', '2024-03-05 10:10', '2024-03-05 10:10', 'port-2', 'acme', 500.50, '{"direction": "in"}'), ('snmp', '8', '2024-03-05 10:10', '2024-03-05 10:10', 'port-2', 'acme', 600, '{"direction": "in"}'),
	('snmp', '9', '2024-03-05 10:15', '2024-03-05 10:15', 'port-2', 'acme', 5, '{"direction": "out"}'), ('snmp', '6', '2024-03-05 10:20', '2024-03-05 10:20', 'port-2', 'acme', 1, '{"direction": "out"}'),
	(NULL, NULL, '2024-03-05 12:00', '2024-03-05 12:00', 'clock', 'x', 0, NULL);
INSERT INTO anomalies_counter.event (source, id, "time", resource, action) VALUES ('snmp', '9', '2024-03-05 10:15', 'port-2', 'void');
CALL meter.run('anomalies_counter');
SELECT class, meter, resource, "time", arrival, detail FROM anomalies_counter.anomaly ORDER BY class, resource;
SELECT "time", detail FROM meter.anomalies('anomalies_counter', 'counter drop', 'octets', 'port-2');
SELECT "time", detail FROM meter.anomalies('anomalies_counter', 'counter drop', during => '[2024-03-05 10:00, 2024-03-05 10:10)');
SELECT resource, dimensions, quantity FROM anomalies_counter.usage ORDER BY 1, 2;
SELECT * FROM meter.verify('anomalies_counter');

-- Two actions that a meter counts alike do not take each other's place under one id, as rows of one action would: a producer that means one
-- thing by them is told. A start and its stop may have one id, and what lies further apart than the window is another thing.
SELECT meter.create_stream('anomalies_names');
SELECT meter.create_meter('anomalies_names', 'vm', starts => '{create,start}', stops => '{stop,delete}', changes => '{resize}', dimensions => '{}', clock => 'event', lateness => '0');
SELECT meter.create_meter('anomalies_names', 'simple', starts => '{start}', stops => '{stop}', dimensions => '{}', clock => 'event', lateness => '0');
INSERT INTO anomalies_names.event (source, id, "time", resource, account, action) VALUES
	('a', '1', '2024-03-05 10:00', 'vm1', 'acme', 'create'), ('a', '1', '2024-03-05 10:01', 'vm1', NULL, 'start'), ('a', '1', '2024-03-05 10:30', 'vm1', NULL, 'stop'),
	('b', '1', '2024-03-05 10:02', 'vm1', NULL, 'start'), ('a', '1', '2024-03-05 10:40', 'vm2', 'acme', 'start'),
	('a', '1', '2024-03-06 10:40:01', 'vm2', NULL, 'create'), ('a', '2', '2024-03-06 10:50', 'vm2', NULL, 'delete'), ('a', '2', '2024-03-06 10:50', 'vm2', NULL, 'stop');
CALL meter.run('anomalies_names');
SELECT class, meter, resource, "time", arrival, detail FROM meter.anomalies('anomalies_names', class => 'same name, other action');
SELECT arrival FROM meter.anomalies('anomalies_names', class => 'same name, other action', meter => 'simple');
SELECT arrival FROM meter.anomalies('anomalies_names', class => 'same name, other action', meter => 'vm', resource => 'vm2', during => '[2024-03-06, 2024-03-07)');
SELECT arrival FROM meter.anomalies('anomalies_names', class => 'same name, other action', during => '[2024-03-05 10:01, 2024-03-05 10:02)');
SELECT meter.anomalies('anomalies_names', class => 'nonesuch');
SELECT * FROM meter.verify('anomalies_names');

-- What a snapshot opens, or takes over, that belonged to another source; and a since that is too early to count.
SELECT meter.create_stream('anomalies_sources');
SELECT meter.create_meter('anomalies_sources', 'vm', starts => '{start}', stops => '{stop}', dimensions => '{}', lateness => '0', max_lateness => '10 days');
INSERT INTO anomalies_sources.event (source, "time", resource, account, action) VALUES
	('east', '2024-03-05 10:00', 'vm1', 'acme', 'start'), ('east', '2024-03-05 10:00', 'vm2', 'acme', 'start'), ('east', '2024-03-05 10:30', 'vm2', 'acme', 'stop');
SET meter.now = '2024-03-05 15:00';
INSERT INTO anomalies_sources.inventory (source, at, resource, account, since) VALUES
	('west', '2024-03-05 11:00', 'vm1', 'acme', NULL), ('west', '2024-03-05 11:00', 'vm2', 'acme', NULL), ('west', '2024-03-05 11:00', 'vm3', 'acme', '2024-01-01'),
	('east', '2024-03-05 12:00', 'vm9', 'acme', NULL);
SELECT * FROM meter.reconcile('anomalies_sources', 'west', '2024-03-05 11:00');
SELECT * FROM meter.reconcile('anomalies_sources', 'east', '2024-03-05 12:00');
CALL meter.run('anomalies_sources');
SELECT class, meter, resource, "time", arrival, detail FROM anomalies_sources.anomaly WHERE class <> 'reconciled' ORDER BY 1, 4, 3;
SELECT resource FROM meter.anomalies('anomalies_sources', class => 'opened by another source', meter => 'vm', resource => 'vm2');
SELECT resource FROM meter.anomalies('anomalies_sources', class => 'since too early', during => '(,2024-03-05)');
SELECT * FROM meter.verify('anomalies_sources');

-- What is held can be discarded: it never counts, and is told of no more. Only who names its arrival releases it after all.
SELECT meter.create_stream('anomalies_held');
SELECT meter.create_meter('anomalies_held', 'vm', starts => '{start}', stops => '{stop}', dimensions => '{}', lateness => '0', max_lateness => '10 days');
INSERT INTO anomalies_held.event ("time", resource, account, action) VALUES ('2024-03-01 00:00', 'vm1', 'acme', 'start');
SET meter.now = '2024-03-01 12:00';
SELECT final_until FROM meter.status WHERE stream = 'anomalies_held';
CALL meter.run('anomalies_held');
INSERT INTO anomalies_held.event (source, id, "time", resource, account, action) VALUES
	('dev', '1', '1970-01-01 00:00', 'vm1', 'acme', 'start'), ('dev', '2', '2024-02-19 10:00', 'vm2', 'acme', 'start'), ('dev', '3', '2024-02-19 11:00', 'vm2', NULL, 'stop'),
	('dev', '4', '2024-02-19 10:00', 'vm1', NULL, 'void'), ('dev', '4', '2024-02-21 10:00', 'vm1', NULL, 'stop');
CALL meter.run('anomalies_held');
SELECT held FROM meter.status WHERE stream = 'anomalies_held';
SELECT meter.discard('anomalies_held', 'vm', ARRAY[2, 3, 4711]);
SELECT meter.discard('anomalies_held', 'vm', ARRAY[2]);
SELECT arrival FROM meter.anomalies('anomalies_held', class => 'too late') ORDER BY 1;
SELECT held FROM meter.status WHERE stream = 'anomalies_held';
SELECT meter, log, arrival, reason, discarded_at IS NOT NULL AS discarded FROM anomalies_held.held ORDER BY arrival;
SELECT meter.discard('anomalies_held', 'vm');
SELECT meter.release('anomalies_held', 'vm');
SELECT class, arrival FROM meter.anomalies('anomalies_held');
-- Neither steps, nor verify, nor resettle know of them.
SET meter.now = '2024-03-01 13:00';
CALL meter.run('anomalies_held');
SELECT meter.resettle('anomalies_held', 'vm', NULL);
SELECT resource, sum(quantity) FROM anomalies_held.usage GROUP BY 1;
SELECT * FROM meter.verify('anomalies_held');
SELECT meter.release('anomalies_held', 'vm', ARRAY[3, 4]);
SELECT resource, sum(quantity) FROM anomalies_held.usage GROUP BY 1 ORDER BY 1;
SELECT * FROM meter.verify('anomalies_held');
-- A meter that is made anew keeps them.
SELECT meter.drop_meter('anomalies_held', 'vm');
SELECT meter.create_meter('anomalies_held', 'vm', starts => '{start}', stops => '{stop}', dimensions => '{}', lateness => '0', max_lateness => '10 days');
CALL meter.run('anomalies_held');
SELECT arrival, discarded_at IS NOT NULL AS discarded FROM anomalies_held.held ORDER BY arrival;
SELECT held FROM meter.status WHERE stream = 'anomalies_held';
-- The rules of who may, and of what, are those of release.
SELECT meter.discard('anomalies_held', 'nonesuch');
SELECT meter.discard('nonesuch', 'vm');
CREATE ROLE regress_anomalies_stranger;
SET ROLE regress_anomalies_stranger;
SELECT meter.discard('anomalies_held', 'vm');
RESET ROLE;
DROP ROLE regress_anomalies_stranger;

-- Nothing before final_until changes any more without a person: a row from just before it is held, one from then on counts. It goes by how
-- far the meter was when the log was last read to its end, not by now.
SELECT meter.create_stream('anomalies_final');
SELECT meter.create_meter('anomalies_final', 'vm', starts => '{start}', stops => '{stop}', dimensions => '{}', lateness => '0', max_lateness => '10 days', since => '2024-02-01');
SELECT meter.create_meter('anomalies_final', 'patient', starts => '{start}', stops => '{stop}', dimensions => '{}', lateness => '0', max_lateness => NULL, since => '2024-02-01');
SELECT meter.create_meter('anomalies_final', 'bytes', aggregate => 'sum', dimensions => '{}', lateness => '0', max_lateness => '1 day', since => '2024-02-01');
INSERT INTO anomalies_final.event ("time", resource, account, action) VALUES ('2024-02-01 00:00', 'vm1', 'acme', 'start');
SELECT meter, watermark, final_until FROM meter.status WHERE stream = 'anomalies_final' ORDER BY 1;
CALL meter.run('anomalies_final');
SELECT meter, watermark, final_until FROM meter.status WHERE stream = 'anomalies_final' ORDER BY 1;
CALL meter.run('anomalies_final');
SELECT meter, watermark, final_until FROM meter.status WHERE stream = 'anomalies_final' ORDER BY 1;
SET meter.now = '2024-03-09 12:00';
SELECT final_until FROM meter.status WHERE stream = 'anomalies_final' AND meter = 'vm';
INSERT INTO anomalies_final.event ("time", resource, account, action)
SELECT final_until - interval '1 microsecond', 'vm2', 'acme', 'start' FROM meter.status WHERE stream = 'anomalies_final' AND meter = 'vm' UNION ALL
SELECT final_until, 'vm3', 'acme', 'start' FROM meter.status WHERE stream = 'anomalies_final' AND meter = 'vm';
CALL meter.run('anomalies_final');
SELECT resource, min(period_start), count(*) FROM anomalies_final.usage WHERE meter = 'vm' GROUP BY 1 ORDER BY 1;
-- A smaller max_lateness holds nothing until the log was read again.
SELECT meter.alter_meter('anomalies_final', 'vm', max_lateness => '1 day');
SELECT final_until FROM meter.status WHERE stream = 'anomalies_final' AND meter = 'vm';
SELECT * FROM meter.verify('anomalies_final');

-- What explains a row adds up to it: parts that are no finite decimals are rounded each, the total once, and the rest has a line.
SELECT meter.create_stream('anomalies_sums');
SELECT meter.create_meter('anomalies_sums', 'vm', starts => '{start}', stops => '{stop}', dimensions => '{}', unit => '7 minutes', clock => 'event', lateness => '0', max_lateness => NULL);
SELECT meter.create_meter('anomalies_sums', 'gb', aggregate => 'weighted', starts => '{start}', stops => '{stop}', changes => '{resize}', dimensions => '{}', unit => '7 hours', clock => 'event', lateness => '0', max_lateness => NULL);
INSERT INTO anomalies_sums.event ("time", resource, account, action, value) VALUES
	('2024-03-05 10:00:20', 'vm1', 'acme', 'start', 1.000000000000001), ('2024-03-05 10:01', 'vm1', NULL, 'stop', NULL), ('2024-03-05 10:03', 'vm1', NULL, 'start', 100),
	('2024-03-05 10:03:17', 'vm1', NULL, 'resize', 123456789012345678.9), ('2024-03-05 10:04', 'vm1', NULL, 'stop', NULL), ('2024-03-05 10:05', 'vm1', NULL, 'start', 7), ('2024-03-05 10:07', 'vm1', NULL, 'stop', NULL),
	('2024-03-05 11:00', 'clock', 'x', 'tick', NULL);
CALL meter.run('anomalies_sums');
SELECT u.meter, x.part, x.value, x.quantity, x.explanation FROM anomalies_sums.usage u, meter.explain('anomalies_sums', u.transaction_id) WITH ORDINALITY x WHERE x.part IN ('billed', 'rounding', 'total') ORDER BY 1, x.ordinality;
-- Rows of before 1970 share a beginning of the key. Each is explained by itself.
INSERT INTO anomalies_sums.event ("time", resource, account, action) VALUES
	('1965-07-01 10:10', 'old', 'acme', 'start'), ('1965-07-01 10:30', 'old', NULL, 'stop'), ('1969-12-31 23:00', 'old', NULL, 'start'), ('1970-01-01 00:10', 'old', NULL, 'stop');
CALL meter.run('anomalies_sums');
INSERT INTO anomalies_sums.event ("time", resource, account, action) VALUES ('1965-07-01 10:20', 'old', NULL, 'stop');
CALL meter.run('anomalies_sums');
SELECT u.period_start, u.revision, x.part, x."time", x.until, x.quantity FROM anomalies_sums.usage u, meter.explain('anomalies_sums', u.transaction_id) WITH ORDINALITY x
WHERE u.resource = 'old' AND x.part IN ('ledger', 'billed', 'rounding', 'total') ORDER BY u.period_start, u.revision, x.ordinality;
-- So do the lines of counters, and of sums that are cut.
SELECT meter.create_meter('anomalies_sums', 'octets', aggregate => 'counter', entity => 'port', dimensions => '{}', clock => 'event', lateness => '0', max_lateness => NULL);
SELECT meter.create_meter('anomalies_sums', 'bytes', aggregate => 'sum', entity => 'ip', dimensions => '{}', clock => 'event', lateness => '0', max_lateness => NULL);
INSERT INTO anomalies_sums.measure (start_time, end_time, resource, account, entity, value) VALUES
	('2024-03-05 08:00', '2024-03-05 08:00', 'port1', 'acme', 'port', 10), ('2024-03-05 10:10', '2024-03-05 10:10', 'port1', 'acme', 'port', 25), ('2024-03-05 10:20', '2024-03-05 10:20', 'port1', 'acme', 'port', 5),
	('2024-03-05 10:20', '2024-03-05 10:20', 'port1', 'acme', 'port', 3), ('2024-03-05 10:30', '2024-03-05 10:30', 'port1', 'acme', 'port', 5.50), ('2024-03-05 09:50', '2024-03-05 10:20', 'ip1', 'acme', 'ip', 1000),
	('2024-03-05 10:20', '2024-03-05 11:30', 'ip1', 'acme', 'ip', 1001), ('2024-03-05 13:00', '2024-03-05 13:00', 'clock', 'x', 'port', 0), ('2024-03-05 13:00', '2024-03-05 13:00', 'clock', 'x', 'ip', 0);
CALL meter.run('anomalies_sums');
SELECT u.meter, x.part, x."time", x.value, x.quantity, x.explanation FROM anomalies_sums.usage u, meter.explain('anomalies_sums', u.transaction_id) WITH ORDINALITY x
WHERE u.meter IN ('octets', 'bytes') AND u.period_start = '2024-03-05 10:00' AND x.part IN ('measure', 'total') ORDER BY 1, x.ordinality;
-- Whatever the row: its lines are its sum.
SELECT count(*), count(*) FILTER (WHERE l.lines <> l.total OR l.ledger <> l.total) AS wrong FROM anomalies_sums.usage u CROSS JOIN LATERAL (
	SELECT sum(x.quantity) FILTER (WHERE x.part IN ('billed', 'rounding', 'measure') AND x.explanation NOT LIKE '%another key%') AS lines,
		sum(x.quantity) FILTER (WHERE x.part = 'ledger') AS ledger, sum(x.quantity) FILTER (WHERE x.part = 'total') AS total
	FROM meter.explain('anomalies_sums', u.transaction_id) x) l;
SELECT * FROM meter.verify('anomalies_sums');

SELECT meter.drop_stream(name, delete_data => true) FROM unnest('{anomalies_voids,anomalies_counts,anomalies_counter,anomalies_names,anomalies_sources,anomalies_held,anomalies_final,anomalies_sums}'::text[]) name;
