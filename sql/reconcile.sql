-- Promise: a snapshot of what exists corrects what the log has lost, never bills more than is certain, and yields to what arrives after all.
SET timezone = 'UTC';
SET datestyle = 'ISO';
SET client_min_messages = warning;
SELECT meter.create_stream('reconcile_cloud');
SELECT meter.create_meter('reconcile_cloud', 'vm', entity => 'vm', starts => '{start}', stops => '{stop}', changes => '{resize}', lateness => '0');
CREATE TEMP VIEW bill AS SELECT resource, to_char(period_start, 'HH24:MI') AS hour, dimensions ->> 'offering' AS offering, quantity AS minutes
	FROM reconcile_cloud.usage_total WHERE meter = 'vm' AND quantity <> 0;

-- Four machines. Lost are the stop of vm2 (at 10:20), the start of vm3 (at 10:40), a resize of vm4 and a restart of vm5.
INSERT INTO reconcile_cloud.event (source, "time", resource, account, entity, action, offering) VALUES
	('geneva', '2024-03-05 10:00', 'vm1', 'a', 'vm', 'start', 's'), ('geneva', '2024-03-05 10:00', 'vm2', 'a', 'vm', 'start', 's'),
	('geneva', '2024-03-05 10:00', 'vm4', 'a', 'vm', 'start', 's'), ('geneva', '2024-03-05 10:00', 'vm5', 'a', 'vm', 'start', 's'),
	('zurich', '2024-03-05 10:00', 'vm9', 'b', 'vm', 'start', 's');
SET meter.now = '2024-03-05 11:00';
CALL meter.run('reconcile_cloud');
INSERT INTO reconcile_cloud.inventory (source, at, resource, account, entity, offering, since) VALUES
	('geneva', '2024-03-05 11:00', 'vm1', 'a', 'vm', 's', '2024-03-05 10:00'), ('geneva', '2024-03-05 11:00', 'vm3', 'b', 'vm', 's', '2024-03-05 10:40'),
	('geneva', '2024-03-05 11:00', 'vm4', 'a', 'vm', 'm', '2024-03-05 10:00:30'), ('geneva', '2024-03-05 11:00', 'vm5', 'a', 'vm', 's', '2024-03-05 10:50');
-- What would it correct? vm9 is another source's.
SELECT * FROM meter.reconcile('reconcile_cloud', 'geneva', '2024-03-05 11:00', dry_run => true) ORDER BY resource;
SELECT count(*) FROM reconcile_cloud.event WHERE action LIKE 'reconciled:%';
SELECT count(*) FROM meter.reconcile('reconcile_cloud', 'geneva', '2024-03-05 11:00');
-- Again: nothing.
SELECT count(*) FROM meter.reconcile('reconcile_cloud', 'geneva', '2024-03-05 11:00');
CALL meter.run('reconcile_cloud');
SELECT resource, action, "time", source, account, offering, attributes FROM reconcile_cloud.event WHERE action LIKE 'reconciled:%' ORDER BY resource;
TABLE bill ORDER BY 1, 2;
SELECT * FROM meter.verify('reconcile_cloud');
SELECT class, meter, resource, "time", detail FROM reconcile_cloud.anomaly WHERE class = 'reconciled' ORDER BY resource;
SELECT * FROM reconcile_cloud.source_quality;

-- Which observation is behind a row, and which snapshot behind that?
SELECT e.part, e."time", e.action, e.quantity, e.explanation FROM reconcile_cloud.usage u, meter.explain('reconcile_cloud', u.transaction_id) e
WHERE u.resource = 'vm2' AND u.revision = 1 AND e.part IN ('event', 'late event', 'total');

-- The lost events arrive: they win, and the observations agree. (The restart is a stop and a start.)
SET meter.now = '2024-03-05 12:00';
INSERT INTO reconcile_cloud.event (source, "time", resource, account, entity, action, offering) VALUES
	('geneva', '2024-03-05 10:20', 'vm2', NULL, 'vm', 'stop', NULL), ('geneva', '2024-03-05 10:40', 'vm3', 'b', 'vm', 'start', 's'),
	('geneva', '2024-03-05 10:30', 'vm4', NULL, 'vm', 'resize', 'm'), ('geneva', '2024-03-05 10:45', 'vm5', NULL, 'vm', 'stop', NULL),
	('geneva', '2024-03-05 10:50', 'vm5', NULL, 'vm', 'start', NULL);
CALL meter.run('reconcile_cloud');
TABLE bill ORDER BY 1, 2;
SELECT * FROM meter.verify('reconcile_cloud');

-- An absence reaches back behind the watermark; what arrives for times before it then counts again, though no row is late by the watermark.
SET meter.now = '2024-03-05 14:30';
SELECT count(*) FROM meter.advance('reconcile_cloud');
INSERT INTO reconcile_cloud.inventory (source, at, resource, account, entity, offering) SELECT 'geneva', '2024-03-05 14:20', r, a, 'vm', o
FROM (VALUES ('vm3', 'b', 's'), ('vm4', 'a', 'm'), ('vm5', 'a', 's')) v (r, a, o);
SELECT * FROM meter.reconcile('reconcile_cloud', 'geneva', '2024-03-05 14:20');
CALL meter.run('reconcile_cloud');
SELECT string_agg(hour || ' ' || minutes, ', ' ORDER BY hour) FROM bill WHERE resource = 'vm1';
SELECT watermark FROM meter.status WHERE stream = 'reconcile_cloud';
INSERT INTO reconcile_cloud.event (source, "time", resource, entity, action) VALUES ('geneva', '2024-03-05 14:10', 'vm1', 'vm', 'stop');
CALL meter.run('reconcile_cloud');
SELECT string_agg(hour || ' ' || minutes, ', ' ORDER BY hour) FROM bill WHERE resource = 'vm1';
SELECT * FROM meter.verify('reconcile_cloud');
SELECT period_start, quantity, settled FROM reconcile_cloud.current_usage WHERE resource = 'vm1' AND period_start >= '2024-03-05 13:00' ORDER BY 1;
-- Taken back, that stop never was.
INSERT INTO reconcile_cloud.event (source, id, "time", resource, entity, action) VALUES ('geneva', '7', '2024-03-05 14:15', 'vm4', 'vm', 'stop');
CALL meter.run('reconcile_cloud');
INSERT INTO reconcile_cloud.event (source, id, "time", resource, entity, action) VALUES ('geneva', '7', '2024-03-05 14:15', 'vm4', 'vm', 'void');
SET meter.now = '2024-03-05 15:00';
CALL meter.run('reconcile_cloud');
SELECT string_agg(hour || ' ' || minutes, ', ' ORDER BY hour) FROM bill WHERE resource = 'vm4';
SELECT * FROM meter.verify('reconcile_cloud');

-- Who holds what is another source's is told so.
SET client_min_messages = notice;
INSERT INTO reconcile_cloud.inventory (source, at, resource, entity) VALUES ('lausanne', '2024-03-05 14:00', 'vm9', 'vm');
SELECT * FROM meter.reconcile('reconcile_cloud', 'lausanne', '2024-03-05 14:00');
SET client_min_messages = warning;

-- A snapshot that comes out of order, between two that were reconciled.
INSERT INTO reconcile_cloud.event (source, "time", resource, account, entity, action, offering) VALUES ('basel', '2024-03-05 10:00', 'vm6', 'a', 'vm', 'start', 's');
SELECT resource, correction FROM meter.reconcile('reconcile_cloud', 'basel', '2024-03-05 13:00', allow_empty => true);
INSERT INTO reconcile_cloud.inventory (source, at, resource, entity) VALUES ('basel', '2024-03-05 12:30', 'vm6', 'vm');
SELECT resource, problem, correction FROM meter.reconcile('reconcile_cloud', 'basel', '2024-03-05 12:30');
CALL meter.run('reconcile_cloud');
SELECT string_agg(hour || ' ' || minutes, ', ' ORDER BY hour) FROM bill WHERE resource = 'vm6';

-- A meter that is made later is compared with all of them as well. A row of one meter counts for that alone: vm5's disk runs on.
SELECT meter.create_meter('reconcile_cloud', 'disk', entity => 'disk', starts => '{start}', stops => '{delete}', lateness => '0', dimensions => '{}');
SELECT meter.create_meter('reconcile_cloud', 'all', starts => '{start}', stops => '{stop}', changes => '{resize}', lateness => '0');
CALL meter.run('reconcile_cloud');
SELECT count(*) FROM (SELECT resource, period_start, account, dimensions, quantity FROM reconcile_cloud.usage_total WHERE meter = 'vm' AND quantity <> 0
	EXCEPT SELECT resource, period_start, account, dimensions, quantity FROM reconcile_cloud.usage_total WHERE meter = 'all') differ;
INSERT INTO reconcile_cloud.inventory (source, at, resource, account, entity, meter, since) VALUES
	('geneva', '2024-03-05 15:00', 'vm5', 'a', 'disk', 'disk', '2024-03-05 14:00'), ('geneva', '2024-03-05 15:00', 'vm3', 'b', 'vm', NULL, NULL),
	('geneva', '2024-03-05 15:00', 'vm4', NULL, 'vm', 'vm', NULL), ('geneva', '2024-03-05 15:00', 'vm4', NULL, 'vm', 'all', NULL);
SELECT * FROM meter.reconcile('reconcile_cloud', 'geneva', '2024-03-05 15:00') ORDER BY 1, 2;
SET meter.now = '2024-03-05 16:00';
CALL meter.run('reconcile_cloud');
SELECT meter, to_char(period_start, 'HH24:MI'), quantity FROM reconcile_cloud.usage_total WHERE resource = 'vm5' AND period_start >= '2024-03-05 13:00' AND quantity <> 0 ORDER BY 1, 2;
SELECT * FROM meter.verify('reconcile_cloud');

-- What is refused, and why.
CREATE FUNCTION pg_temp.try(statement text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	hint text;
BEGIN
	EXECUTE statement;
	RETURN 'accepted';
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS hint = PG_EXCEPTION_HINT;
	RETURN sqlstate || ' ' || sqlerrm || CASE hint WHEN '' THEN '' ELSE ' (' || hint || ')' END;
END $$;
INSERT INTO reconcile_cloud.event (source, "time", resource, account, entity, action) SELECT 'bern', '2024-03-05 10:00', 'b' || n, 'a', 'vm', 'start' FROM generate_series(1, 50) n;
INSERT INTO reconcile_cloud.inventory (source, at, resource, entity) SELECT 'bern', '2024-03-05 15:00', 'b' || n, 'vm' FROM generate_series(1, 39) n;
INSERT INTO reconcile_cloud.inventory (source, at, resource, entity, since, meter) VALUES ('bern', '2024-03-05 15:10', 'b1', 'vm', '2024-03-05 15:11', NULL),
	('bern', '2024-03-05 15:20', 'b1', 'vm', NULL, NULL), ('bern', '2024-03-05 15:20', 'b1', 'disk', NULL, NULL), ('bern', '2024-03-05 15:30', 'b1', 'vm', NULL, 'vmm');
\pset format unaligned
SELECT what, pg_temp.try('SELECT count(*) FROM meter.reconcile(' || what || ')') AS outcome
FROM unnest(ARRAY[
	$$'reconcile_cloud', 'bern', '2024-03-05 14:00'$$,
	$$'reconcile_cloud', 'bern', '2024-03-05 14:00', max_stops => 10, allow_empty => true$$,
	$$'reconcile_cloud', 'bern', '2024-03-05 15:00'$$,
	$$'reconcile_cloud', 'bern', '2024-03-05 15:00', max_stops => 10$$,
	$$'reconcile_cloud', 'bern', '2024-03-05 15:00', max_stops => 11$$,
	$$'reconcile_cloud', 'bern', '2024-03-05 15:10'$$,
	$$'reconcile_cloud', 'bern', '2024-03-05 15:20'$$,
	$$'reconcile_cloud', 'bern', '2024-03-05 15:30'$$,
	$$'reconcile_cloud', 'bern', '2024-03-05 16:01'$$,
	$$'reconcile_cloud', 'bern', 'infinity'$$,
	$$'reconcile_cloud', 'bern', NULL$$,
	$$'reconcile_cloud', 'bern', '2024-03-05 15:00', tolerance => '-1 s'$$,
	$$'reconcile_cloud', 'bern', '2024-03-05 15:00', max_stops => -1$$,
	$$'clod', 'bern', '2024-03-05 15:00'$$]) what;
-- Loaded again, and with a row more.
INSERT INTO reconcile_cloud.inventory SELECT * FROM reconcile_cloud.inventory WHERE source = 'bern' AND at = '2024-03-05 15:00';
SELECT pg_temp.try($$SELECT FROM meter.reconcile('reconcile_cloud', 'bern', '2024-03-05 15:00')$$);
INSERT INTO reconcile_cloud.inventory (source, at, resource, entity) VALUES ('bern', '2024-03-05 15:00', 'b40', 'vm');
SELECT pg_temp.try($$SELECT FROM meter.reconcile('reconcile_cloud', 'bern', '2024-03-05 15:00')$$);
DELETE FROM reconcile_cloud.inventory WHERE source = 'bern' AND resource = 'b40';
\pset format aligned
CALL meter.run('reconcile_cloud');
SELECT meter, last_error FROM meter.status WHERE stream = 'reconcile_cloud' AND last_error IS NOT NULL;
SELECT * FROM meter.verify('reconcile_cloud');

-- Rows that nobody's observation would be: they are refused, or say nothing that is not as the engine says it.
INSERT INTO reconcile_cloud.event (source, "time", resource, account, entity, action, attributes) VALUES
	('geneva', '2024-03-05 15:30', 'odd', 'a', 'vm', 'reconciled:start', '{"meter": "vm", "since": "nonsense"}');
INSERT INTO reconcile_cloud.event (source, "time", resource, account, entity, action, attributes) VALUES
	('geneva', '2024-03-05 15:30', 'odd', 'a', 'vm', 'reconciled:start', '[1]');
INSERT INTO reconcile_cloud.event (source, "time", resource, account, entity, action, attributes) VALUES
	('geneva', '2024-03-05 15:30', 'odd', 'a', 'vm', 'reconciled:start', '{"meter": "vm", "since": "2024-02-30T00:00:00Z", "tolerance": 1e11}'),
	('geneva', '2024-03-05 15:30', 'odd', 'a', 'vm', 'reconciled:stop', '{"meter": "vm", "since": "2024-02-30T00:00:00Z", "alive": "2099-01-01T00:00:00Z"}'),
	('geneva', '2024-03-05 15:30', 'odd', 'a', 'vm', 'reconciled:nothing', '{"meter": "vm"}'),
	('geneva', '2024-03-05 15:40', 'odd', 'a', 'vm', 'reconciled:start', NULL);
CALL meter.run('reconcile_cloud');
SELECT * FROM bill WHERE resource = 'odd';
SELECT meter, last_error FROM meter.status WHERE stream = 'reconcile_cloud' AND last_error IS NOT NULL;
SELECT * FROM meter.verify('reconcile_cloud');

-- Snapshots stay, whatever their age, as long as there is no retention boundary: what is computed anew may need them (expire.sql).
SET meter.now = '2024-04-20';
CALL meter.run('reconcile_cloud');
SELECT meter.prune_inventory('reconcile_cloud', '2024-03-05 14:30');
SELECT meter.resettle('reconcile_cloud', 'vm', NULL);
SELECT * FROM meter.verify('reconcile_cloud');
SELECT meter.drop_stream('reconcile_cloud', true);

-- What goes to another source with its messages lost is billed on, whichever snapshot shows it first; a start tells whose it is, a change does not.
SELECT meter.create_stream('reconcile_move');
SELECT meter.create_meter('reconcile_move', 'vm', starts => '{start}', stops => '{stop}', changes => '{resize}', lateness => '0', since => '2024-03-05 00:00',
	dimensions => '{source,offering}');
CREATE TEMP VIEW moved AS SELECT resource, to_char(period_start, 'HH24:MI') AS hour, dimensions, quantity AS minutes
	FROM reconcile_move.usage_total WHERE quantity <> 0;
SET meter.now = '2024-03-05 14:00';
INSERT INTO reconcile_move.event (source, id, "time", resource, account, action, offering) VALUES
	('a', '1', '2024-03-05 10:00', 'm1', 'x', 'start', 's'), ('a', '2', '2024-03-05 10:00', 'm2', 'x', 'start', 's'),
	('a', '3', '2024-03-05 10:00', 'm3', 'x', 'start', 's'), ('b', '4', '2024-03-05 10:30', 'm3', 'x', 'resize', 'm');
CALL meter.run('reconcile_move');
-- m1 is in b's snapshot before a's is without it; m2 the other way round; m3 nowhere: it is still a's.
INSERT INTO reconcile_move.inventory (source, at, resource, since) VALUES ('b', '2024-03-05 11:00', 'm1', NULL),
	('a', '2024-03-05 10:45', 'm2', NULL), ('a', '2024-03-05 10:45', 'm1', NULL), ('b', '2024-03-05 12:30', 'm1', NULL), ('b', '2024-03-05 12:30', 'm2', '2024-03-05 12:20');
SELECT * FROM meter.reconcile('reconcile_move', 'b', '2024-03-05 11:00');
SELECT resource, correction FROM meter.reconcile('reconcile_move', 'b', '2024-03-05 12:30') ORDER BY 1;
SELECT resource, problem, correction FROM meter.reconcile('reconcile_move', 'a', '2024-03-05 12:00', allow_empty => true) ORDER BY "time", 1;
SELECT resource, correction FROM meter.reconcile('reconcile_move', 'a', '2024-03-05 10:45') ORDER BY 1;
CALL meter.run('reconcile_move');
CALL meter.run('reconcile_move');
SELECT source, "time", resource, action, attributes FROM reconcile_move.event WHERE action LIKE 'reconciled:%' ORDER BY resource, "time", source;
TABLE moved ORDER BY 1, 2, 3;
SELECT * FROM meter.verify('reconcile_move');
-- The lost messages come: a start in b while it runs changes nothing but whose it is.
INSERT INTO reconcile_move.event (source, id, "time", resource, account, action, offering) VALUES
	('b', '5', '2024-03-05 10:50', 'm1', NULL, 'start', NULL), ('b', '6', '2024-03-05 11:30', 'm2', NULL, 'start', NULL);
CALL meter.run('reconcile_move');
CALL meter.run('reconcile_move');
SELECT resource, string_agg(hour || ' ' || minutes, ', ' ORDER BY hour) FROM moved GROUP BY 1 ORDER BY 1;
SELECT * FROM meter.verify('reconcile_move');

-- Of several at one instant, one that holds it silences those that do not, and the greatest source has the last word on each attribute.
INSERT INTO reconcile_move.event (source, id, "time", resource, account, action, offering) VALUES ('b', '7', '2024-03-05 13:00', 'm4', 'x', 'start', 's');
INSERT INTO reconcile_move.inventory (source, at, resource, offering) VALUES ('a', '2024-03-05 13:10', 'm4', 'l'), ('c', '2024-03-05 13:10', 'm4', 'm'),
	('a', '2024-03-05 13:10', 'm1', NULL), ('a', '2024-03-05 13:10', 'm2', NULL);
SELECT resource, correction FROM meter.reconcile('reconcile_move', 'a', '2024-03-05 13:10') ORDER BY 1;
SELECT resource, correction FROM meter.reconcile('reconcile_move', 'b', '2024-03-05 13:10', allow_empty => true) ORDER BY 1;
SELECT resource, correction FROM meter.reconcile('reconcile_move', 'c', '2024-03-05 13:10') ORDER BY 1;
CALL meter.run('reconcile_move');
SELECT * FROM moved WHERE hour = '13:00' ORDER BY 1, 2, 3;
SELECT * FROM meter.verify('reconcile_move');

-- At the instant of a stop it ran, or did not: both agree. Opened at since, what changes said from then on counts from their times on.
INSERT INTO reconcile_move.event (source, id, "time", resource, account, action, offering) VALUES ('e', '8', '2024-03-05 13:00', 'm5', 'x', 'start', 's'),
	('e', '9', '2024-03-05 13:20', 'm5', NULL, 'stop', NULL), ('a', '10', '2024-03-05 13:40', 'm6', 'x', 'resize', 'm'), ('a', '11', '2024-03-05 13:50', 'm6', 'x', 'resize', 'l');
INSERT INTO reconcile_move.inventory (source, at, resource, offering, since) VALUES ('e', '2024-03-05 13:20', 'm5', 'l', NULL),
	('c', '2024-03-05 13:50', 'm6', 's', '2024-03-05 13:30');
SELECT resource, correction FROM meter.reconcile('reconcile_move', 'e', '2024-03-05 13:20') ORDER BY 1;
SELECT resource, correction FROM meter.reconcile('reconcile_move', 'c', '2024-03-05 13:50') ORDER BY 1;
CALL meter.run('reconcile_move');
SELECT * FROM moved WHERE resource IN ('m5', 'm6') ORDER BY 1, 2, 3;
SELECT * FROM meter.verify('reconcile_move');

-- A since that lies further back than max_lateness counts as not said, and what is logged says so.
INSERT INTO reconcile_move.inventory (source, at, resource, account, since) VALUES ('d', '2024-03-05 14:00', 'm7', 'x', '2024-01-01'), ('d', '2024-03-05 14:00', 'm8', 'x', '2024-03-05 13:55');
SELECT resource, correction FROM meter.reconcile('reconcile_move', 'd', '2024-03-05 14:00') ORDER BY 1;
SELECT resource, attributes FROM reconcile_move.event WHERE source = 'd' ORDER BY 1;

-- A snapshot whose rows are gone, and an observation without its snapshot, are errors.
SET meter.now = '2024-03-05 16:00';
DELETE FROM reconcile_move.inventory WHERE source = 'd' AND resource = 'm7';
\pset format unaligned
SELECT pg_temp.try($$SELECT FROM meter.reconcile('reconcile_move', 'd', '2024-03-05 15:00', allow_empty => true)$$);
INSERT INTO reconcile_move.inventory (source, at, resource, account, since) VALUES ('d', '2024-03-05 14:00', 'm7', 'x', '2024-01-01');
BEGIN;
DELETE FROM reconcile_move.snapshot WHERE source = 'd';
SELECT watermark FROM meter.advance('reconcile_move');
SELECT last_error FROM meter.status WHERE stream = 'reconcile_move';
ROLLBACK;
\pset format aligned
CALL meter.run('reconcile_move');
SELECT * FROM meter.verify('reconcile_move');
SELECT meter.drop_stream('reconcile_move', true);

-- The first name comes after a run that only a snapshot to come knew of: that is billed to it, too.
SELECT meter.create_stream('reconcile_name');
SELECT meter.create_meter('reconcile_name', 'a', starts => '{start}', stops => '{stop,halt}', dimensions => '{}', period => '30 minutes', clock => 'event',
	lateness => '5 minutes', max_lateness => NULL, since => '2024-03-05 00:00');
SELECT meter.create_meter('reconcile_name', 'b', starts => '{start}', stops => '{stop}', dimensions => '{}', period => '30 minutes', clock => 'event',
	lateness => '0', max_lateness => NULL, since => '2024-03-05 00:00');
INSERT INTO reconcile_name.event (source, id, "time", resource, action) VALUES ('s', '1', '2024-03-05 02:30', 'r', 'halt');
INSERT INTO reconcile_name.inventory (source, at, resource, since) VALUES ('s', '2024-03-05 04:00', 'r', '2024-03-05 02:00');
SELECT correction FROM meter.reconcile('reconcile_name', 's', '2024-03-05 04:00');
CALL meter.run('reconcile_name');
SELECT meter, account, sum(quantity) FROM reconcile_name.usage GROUP BY 1, 2 ORDER BY 1, 2;
INSERT INTO reconcile_name.event (source, id, "time", resource, account, action) VALUES ('s', '2', '2024-03-05 08:10', 'r', 'a', 'start');
SELECT correction FROM meter.reconcile('reconcile_name', 's', '2024-03-05 06:00', allow_empty => true);
INSERT INTO reconcile_name.event (source, id, "time", resource, account, action) VALUES ('s', '3', '2024-03-05 08:40', 'r', 'a', 'start');
CALL meter.run('reconcile_name');
CALL meter.run('reconcile_name');
SELECT meter, account, sum(quantity) FROM reconcile_name.usage GROUP BY 1, 2 ORDER BY 1, 2;
SELECT * FROM meter.verify('reconcile_name');
SELECT meter.drop_stream('reconcile_name', true);

-- The first name is told after a run that only a snapshot knows: by a stop at its begin, or, in a tie, the least of two. The time before is that one's.
SET client_min_messages = warning;
SELECT meter.create_stream('reconcile_tie');
SELECT meter.create_meter('reconcile_tie', 'vm', starts => '{start}', stops => '{stop}', changes => '{resize}', dimensions => '{}', clock => 'event', lateness => '0',
	max_lateness => NULL, since => '2024-03-05 00:00');
INSERT INTO reconcile_tie.event (source, id, "time", resource, account, action) VALUES
	('s', '1', '2024-03-05 08:00', 'tie', NULL, 'start'), ('s', '2', '2024-03-05 09:00', 'tie', NULL, 'stop'),
	('s', '3', '2024-03-05 11:00', 'tie', 'b', 'resize'), ('s', '4', '2024-03-05 11:00', 'tie', 'a', 'resize'),
	('s', '5', '2024-03-05 08:00', 'stop', NULL, 'start'), ('s', '6', '2024-03-05 09:00', 'stop', 'c', 'stop'),
	('s', '7', '2024-03-05 10:00', 'stop', NULL, 'resize');
INSERT INTO reconcile_tie.inventory (source, at, resource, since) VALUES
	('s', '2024-03-05 12:00', 'tie', '2024-03-05 10:00'), ('s', '2024-03-05 12:00', 'stop', '2024-03-05 09:00');
SELECT resource, correction FROM meter.reconcile('reconcile_tie', 's', '2024-03-05 12:00') ORDER BY 1;
INSERT INTO reconcile_tie.event ("time", resource, action) VALUES ('2024-03-05 13:00', 'clock', 'tick');
CALL meter.run('reconcile_tie');
CALL meter.run('reconcile_tie');
SELECT resource, account, period_start, sum(quantity) FROM reconcile_tie.usage GROUP BY 1, 2, 3 HAVING sum(quantity) <> 0 ORDER BY 1, 3, 2;
SELECT * FROM meter.verify('reconcile_tie');

-- Snapshots of one instant stay together when a later one is compared: one that has a resource silences that of another source.
SET client_min_messages = warning;
SELECT meter.create_stream('reconcile_same');
SELECT meter.create_meter('reconcile_same', 'vm', starts => '{start}', stops => '{stop}', changes => '{resize}', dimensions => '{}', lateness => '0', max_lateness => NULL);
SET meter.now = '2024-03-05 06:00';
INSERT INTO reconcile_same.event (source, "time", resource, account, action) VALUES
	('b', '2024-03-05 00:00', 'r', 'A', 'start'), ('b', '2024-03-05 01:30', 'r', 'A', 'resize');
INSERT INTO reconcile_same.inventory (source, at, resource) VALUES ('a', '2024-03-05 02:00', 'r'), ('a', '2024-03-05 02:30', 'r');
SELECT correction FROM meter.reconcile('reconcile_same', 'a', '2024-03-05 02:00');
SELECT correction FROM meter.reconcile('reconcile_same', 'b', '2024-03-05 02:00', allow_empty => true);
SET meter.now = '2024-03-05 01:00';
CALL meter.run('reconcile_same');
SET meter.now = '2024-03-05 06:00';
SELECT correction FROM meter.reconcile('reconcile_same', 'a', '2024-03-05 02:30');
SELECT correction FROM meter.reconcile('reconcile_same', 'a', '2024-03-05 04:00', allow_empty => true);
CALL meter.run('reconcile_same');
SELECT sum(quantity) FROM reconcile_same.usage;
SELECT * FROM meter.verify('reconcile_same');
SELECT meter.drop_stream('reconcile_same', true);
RESET meter.now;

-- The name of a source is one that can be forgotten again.
SELECT meter.reconcile('reconcile_tie', repeat('s', 256), '2024-03-05 12:30', allow_empty => true);
SELECT meter.drop_stream('reconcile_tie', true);
