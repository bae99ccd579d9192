-- Promise: a consumer gets each row of the ledger once, if it finishes a batch in the transaction of its effects; until then it gets the
-- same rows again. What is too much for one batch comes in parts.
SET timezone = 'UTC';
SET datestyle = 'ISO';
SET meter.now = '2024-03-05 12:00';
SELECT meter.create_stream('consumers_cloud');
SELECT meter.create_meter('consumers_cloud', 'vm', starts => '{start}', stops => '{stop}', lateness => '0', since => '2024-03-05 10:00');
SELECT meter.create_consumer('consumers_cloud', 'invoices', from_start => true);
-- Nothing is settled yet.
SELECT * FROM meter.next_batch('consumers_cloud', 'invoices');

INSERT INTO consumers_cloud.event ("time", resource, account, action) VALUES
	('2024-03-05 10:15', 'a', 'x', 'start'), ('2024-03-05 10:20', 'b', 'x', 'start'), ('2024-03-05 10:50', 'b', NULL, 'stop');
SELECT usage_rows FROM meter.advance('consumers_cloud');
-- One that begins with what comes next, and one of a single meter.
SELECT meter.create_consumer('consumers_cloud', 'next');
SELECT meter.create_consumer('consumers_cloud', 'vms', meters => '{vm}', from_start => true);
-- Numbers of batches are from a sequence that all streams share, so the tests count from the first that they see.
CREATE TEMP TABLE first AS SELECT min(batch) AS batch FROM meter.next_batch('consumers_cloud', 'invoices');
CREATE FUNCTION pg_temp.batch(consumer text, max_rows integer DEFAULT 10000) RETURNS TABLE (batch bigint, meter text, resource text, period_start timestamptz, quantity numeric, revision integer, settlement bigint) LANGUAGE sql
AS $$SELECT b.batch - f.batch, b.meter, b.resource, b.period_start, b.quantity, b.revision, b.settlement FROM meter.next_batch('consumers_cloud', consumer, max_rows) b, first f$$;
CREATE FUNCTION pg_temp.finish(consumer text, batch bigint) RETURNS void LANGUAGE sql
AS $$SELECT meter.finish_batch('consumers_cloud', consumer, f.batch + $2) FROM first f$$;
SELECT * FROM pg_temp.batch('invoices');
-- The same again, whatever is settled meanwhile, and however many rows are asked for.
INSERT INTO consumers_cloud.event ("time", resource, action) VALUES ('2024-03-05 11:40', 'a', 'stop');
SELECT adjustments FROM meter.advance('consumers_cloud');
SELECT * FROM pg_temp.batch('invoices', 1);
SELECT pg_temp.finish('invoices', 0);
-- What came meanwhile is the next batch.
SELECT * FROM pg_temp.batch('invoices');
SELECT * FROM pg_temp.batch('next');
-- A batch is finished once, and only the open one.
\set VERBOSITY terse
SELECT meter.finish_batch('consumers_cloud', 'invoices', 0);
SELECT pg_temp.finish('invoices', 1);
DO $$BEGIN PERFORM pg_temp.finish('invoices', 1); EXCEPTION WHEN object_not_in_prerequisite_state THEN RAISE NOTICE 'is not open'; END$$;
SELECT * FROM pg_temp.batch('invoices');
-- Finished in a transaction that fails, it is still open.
BEGIN;
SELECT pg_temp.finish('next', 2);
SELECT * FROM pg_temp.batch('next');
ROLLBACK;
SELECT * FROM pg_temp.batch('next');
SELECT pg_temp.finish('next', 2);
SELECT * FROM pg_temp.batch('next');

-- Parts: of a settlement that has more rows than are asked for, in the order of the key.
SELECT * FROM pg_temp.batch('vms', 2);
SELECT stream, consumer, meters, settlements, rows, age IS NOT NULL AS has_age, batch IS NOT NULL AS open, opened_at IS NOT NULL AS since
FROM meter.consumer_status WHERE stream = 'consumers_cloud' ORDER BY 2;
SELECT pg_temp.finish('vms', 3);
SELECT * FROM pg_temp.batch('vms', 2);
SELECT pg_temp.finish('vms', 4);
SELECT settlements, rows FROM meter.consumer_status WHERE stream = 'consumers_cloud' AND consumer = 'vms';

-- A consumer of all meters gets those to come, and what the ledger has of meters that are dropped.
SELECT meter.create_meter('consumers_cloud', 'bytes', aggregate => 'sum', dimensions => '{}', lateness => '0', since => '2024-03-05 10:00');
INSERT INTO consumers_cloud.measure (start_time, end_time, resource, account, value) VALUES ('2024-03-05 10:00', '2024-03-05 10:01', 'a', 'x', 10), ('2024-03-05 11:00', '2024-03-05 11:01', 'a', 'x', 20);
SELECT meter, usage_rows FROM meter.advance('consumers_cloud');
SELECT meter.drop_meter('consumers_cloud', 'bytes');
SELECT * FROM pg_temp.batch('invoices');
SELECT pg_temp.finish('invoices', 5);
SELECT * FROM pg_temp.batch('vms');
-- Made again, a meter goes on with its settlements.
SELECT meter.create_meter('consumers_cloud', 'bytes', aggregate => 'sum', dimensions => '{}', lateness => '0', since => '2024-03-05 10:00');
INSERT INTO consumers_cloud.measure (start_time, end_time, resource, account, value) VALUES ('2024-03-05 10:10', '2024-03-05 10:11', 'a', 'x', 5);
SELECT meter, usage_rows, adjustments FROM meter.advance('consumers_cloud', 'bytes');
SELECT * FROM pg_temp.batch('invoices');
SELECT pg_temp.finish('invoices', 6);

-- Whatever is settled, adjusted, resettled and released, in batches of any size: what was read once is the ledger.
CREATE TEMP TABLE got (consumer text, transaction_id uuid, quantity numeric, PRIMARY KEY (consumer, transaction_id));
CREATE PROCEDURE pg_temp.read(consumer text, size integer) LANGUAGE plpgsql AS $$
DECLARE n bigint;
BEGIN
	WITH b AS MATERIALIZED (SELECT * FROM meter.next_batch('consumers_cloud', consumer, size)),
	i AS (INSERT INTO got SELECT consumer, transaction_id, quantity FROM b)
	SELECT max(batch) INTO n FROM b;
	IF n IS NOT NULL THEN
		IF (SELECT count(*) FROM meter.next_batch('consumers_cloud', consumer, size)) > size THEN RAISE 'too many rows'; END IF;
		PERFORM meter.finish_batch('consumers_cloud', consumer, n);
	END IF;
END$$;
SELECT setseed(0.42);
DO $$
DECLARE at timestamptz := '2024-03-05 12:00';
BEGIN
	PERFORM meter.create_consumer('consumers_cloud', c, from_start => true, meters => m) FROM (VALUES ('all', NULL::text[]), ('one', '{vm}'), ('bytes', '{bytes}')) v (c, m);
	FOR i IN 1 .. 40 LOOP
		INSERT INTO consumers_cloud.event ("time", resource, account, action)
			SELECT at - random() * interval '30 hours', 'r' || (random() * 60)::int, 'x' || (random() * 3)::int, CASE WHEN random() < 0.5 THEN 'start' ELSE 'stop' END
			FROM generate_series(1, (random() ^ 8 * 2500)::int);
		INSERT INTO consumers_cloud.measure (start_time, end_time, resource, account, value)
			SELECT t, t, 'r' || n, 'x', n FROM generate_series(1, (random() * 5)::int) n, LATERAL (SELECT at - random() * interval '3 hours' + n * interval '1 ms') m (t);
		PERFORM set_config('meter.now', at::text, false);
		PERFORM meter.advance('consumers_cloud');
		IF random() < 0.1 THEN PERFORM meter.resettle('consumers_cloud', 'vm'); END IF;
		CALL pg_temp.read('all', 1 + (random() ^ 4 * 2000)::int);
		CALL pg_temp.read('one', 1 + (random() ^ 4 * 500)::int);
		IF random() < 0.3 THEN CALL pg_temp.read('bytes', 1 + (random() * 20)::int); END IF;
		at := at + CASE WHEN random() < 0.5 THEN interval '1 hour' ELSE interval '5 minutes' END;
	END LOOP;
	FOR i IN 1 .. 1000 LOOP
		EXIT WHEN (SELECT sum(rows) FROM meter.consumer_status WHERE stream = 'consumers_cloud' AND consumer IN ('all', 'one', 'bytes')) = 0;
		CALL pg_temp.read('all', 700);
		CALL pg_temp.read('one', 700);
		CALL pg_temp.read('bytes', 700);
	END LOOP;
END$$;
SELECT count(*) > 3000 AS many, count(DISTINCT settlement) > 20 AS settlements, max(revision) > 2 AS adjusted FROM consumers_cloud.usage;
SELECT consumer, count(*) FROM (
	(SELECT c AS consumer, transaction_id, quantity FROM consumers_cloud.usage, (VALUES ('all', NULL), ('one', 'vm'), ('bytes', 'bytes')) v (c, m) WHERE meter = coalesce(m, meter) EXCEPT TABLE got)
	UNION ALL (TABLE got EXCEPT SELECT c, transaction_id, quantity FROM consumers_cloud.usage, (VALUES ('all', NULL), ('one', 'vm'), ('bytes', 'bytes')) v (c, m) WHERE meter = coalesce(m, meter))) d GROUP BY 1;
SELECT consumer, settlements, rows FROM meter.consumer_status WHERE stream = 'consumers_cloud' AND consumer IN ('all', 'one', 'bytes') ORDER BY 1;

-- Taken back by a rewind, settled again, let in late, and taken back with a meter that is made anew: all of that is rows to read.
-- behind(): what a consumer of all has not got of the ledger, and what it got that is not there.
CREATE FUNCTION pg_temp.behind() RETURNS TABLE (rows bigint, missing bigint, too_much bigint) LANGUAGE sql AS $$
SELECT (SELECT s.rows FROM meter.consumer_status s WHERE stream = 'consumers_cloud' AND consumer = 'all'),
	(SELECT count(*) FROM (SELECT transaction_id FROM consumers_cloud.usage EXCEPT SELECT transaction_id FROM got WHERE consumer = 'all') m),
	(SELECT count(*) FROM (SELECT transaction_id, quantity FROM got WHERE consumer = 'all' EXCEPT SELECT transaction_id, quantity FROM consumers_cloud.usage) t)
$$;
CREATE PROCEDURE pg_temp.read_all(size integer) LANGUAGE plpgsql AS $$
BEGIN
	WHILE EXISTS (SELECT FROM meter.next_batch('consumers_cloud', 'all', size)) LOOP CALL pg_temp.read('all', size); END LOOP;
END$$;
SELECT meter.rewind('consumers_cloud', 'vm', '2024-03-05 12:00') > 1000 AS rewound;
SELECT rows > 1000 AS rows, rows = missing AS missing, too_much FROM pg_temp.behind();
CALL pg_temp.read('all', 700);
SELECT rows = missing AS missing, too_much FROM pg_temp.behind();
SELECT count(*) FROM meter.advance('consumers_cloud', 'vm');
CALL pg_temp.read_all(700);
SELECT * FROM pg_temp.behind();
SELECT meter.alter_meter('consumers_cloud', 'vm', max_lateness => '1 hour');
SELECT count(*) FROM meter.advance('consumers_cloud', 'vm');
INSERT INTO consumers_cloud.event ("time", resource, account, action) VALUES ('2024-03-05 10:00', 'late', 'x', 'start'), ('2024-03-05 10:30', 'late', NULL, 'stop');
SELECT late_rows, adjustments FROM meter.advance('consumers_cloud', 'vm');
SELECT * FROM pg_temp.behind();
SELECT meter.release('consumers_cloud', 'vm') > 0 AS released;
SELECT rows > 0 AS rows, rows = missing AS missing FROM pg_temp.behind();
SELECT meter.drop_meter('consumers_cloud', 'bytes');
SELECT meter.create_meter('consumers_cloud', 'bytes', aggregate => 'sum', entity => 'none', dimensions => '{}', lateness => '0', since => '2024-03-05 10:00');
SELECT count(*) FROM meter.advance('consumers_cloud', 'bytes');
SELECT rows > 20 AS rows, rows = missing AS missing FROM pg_temp.behind();
CALL pg_temp.read_all(10000);
SELECT * FROM pg_temp.behind();
SELECT * FROM meter.verify('consumers_cloud');
-- Rows that were lost are in no batch. Written again they are new ones, with the transaction IDs that they had.
SELECT max(settlement) AS settlement FROM consumers_cloud.settlement WHERE meter = 'vm' \gset
INSERT INTO consumers_cloud.event ("time", resource, account, action) SELECT current_setting('meter.now')::timestamptz - interval '10 minutes', 'lost' || n, 'x', 'start' FROM generate_series(1, 20) n;
SELECT (current_setting('meter.now')::timestamptz + interval '1 hour')::text AS later \gset
SET meter.now = :'later';
SELECT usage_rows > 0 AS settled FROM meter.advance('consumers_cloud', 'vm');
ALTER TABLE consumers_cloud.usage DISABLE TRIGGER ALL;
DELETE FROM consumers_cloud.usage WHERE meter = 'vm' AND settlement > :settlement;
ALTER TABLE consumers_cloud.usage ENABLE TRIGGER ALL;
SELECT count(*) FROM meter.next_batch('consumers_cloud', 'all');
SELECT settlements, rows FROM meter.consumer_status WHERE stream = 'consumers_cloud' AND consumer = 'all';
SELECT meter.resettle('consumers_cloud', 'vm') > 0 AS written;
CALL pg_temp.read_all(700);
SELECT * FROM pg_temp.behind();
SELECT * FROM meter.verify('consumers_cloud');
-- A batch that is rolled back leaves its number to no other one.
BEGIN;
SELECT max(batch) AS given_up FROM meter.next_batch('consumers_cloud', 'one') \gset
ROLLBACK;
SELECT max(batch) > :given_up AS greater FROM meter.next_batch('consumers_cloud', 'one');

-- A month that a consumer has not read stays in the ledger.
SELECT meter.alter_meter('consumers_cloud', name, max_lateness => '1 hour') FROM meter.meter WHERE stream = 'consumers_cloud' ORDER BY name;
SET meter.now = '2024-04-20 12:00';
CALL meter.run('consumers_cloud');
CALL meter.run('consumers_cloud');
SELECT * FROM meter.detach_usage('consumers_cloud', '2024-04-01');
SELECT meter.drop_consumer('consumers_cloud', name) FROM meter.consumer WHERE stream = 'consumers_cloud' AND name IN ('all', 'one', 'bytes', 'next', 'vms') ORDER BY name;
SELECT * FROM meter.detach_usage('consumers_cloud', '2024-04-01');
DO $$BEGIN FOR i IN 1 .. 100 LOOP PERFORM meter.finish_batch('consumers_cloud', 'invoices', batch) FROM (SELECT max(batch) AS batch FROM meter.next_batch('consumers_cloud', 'invoices', 2000)) b WHERE batch IS NOT NULL; EXIT WHEN NOT FOUND; END LOOP; END$$;
SELECT * FROM meter.detach_usage('consumers_cloud', '2024-04-01');
SELECT settlements, rows FROM meter.consumer_status WHERE stream = 'consumers_cloud';
-- One that begins with the start of the ledger begins with what is there.
SELECT meter.create_consumer('consumers_cloud', 'too late', from_start => true);
SELECT count(*) FROM meter.next_batch('consumers_cloud', 'too late');

-- The owner makes and drops consumers; whoever may read the ledger, and has UPDATE on the table _consumer, reads and finishes.
CREATE ROLE consumers_client;
GRANT USAGE ON SCHEMA consumers_cloud TO consumers_client;
SET ROLE consumers_client;
SELECT meter.create_consumer('consumers_cloud', 'mine');
SELECT meter.drop_consumer('consumers_cloud', 'invoices');
\set VERBOSITY default
SELECT count(*) FROM meter.next_batch('consumers_cloud', 'invoices');
\set VERBOSITY terse
SELECT meter.finish_batch('consumers_cloud', 'invoices', 1);
SELECT consumer, settlements FROM meter.consumer_status WHERE stream = 'consumers_cloud' ORDER BY 1;
RESET ROLE;
GRANT SELECT ON consumers_cloud.usage TO consumers_client;
SET ROLE consumers_client;
SELECT count(*) FROM meter.next_batch('consumers_cloud', 'invoices');
RESET ROLE;
GRANT UPDATE ON consumers_cloud._consumer TO consumers_client;
SET ROLE consumers_client;
SELECT count(*) FROM meter.next_batch('consumers_cloud', 'invoices');
SELECT consumer, settlements FROM meter.consumer_status WHERE stream = 'consumers_cloud' ORDER BY 1;
SELECT meter.finish_batch('consumers_cloud', 'invoices', 0);
SELECT * FROM meter.consumer;
RESET ROLE;
-- Members of pg_monitor see how far consumers are behind.
GRANT pg_monitor TO consumers_client;
REVOKE UPDATE ON consumers_cloud._consumer FROM consumers_client;
SET ROLE consumers_client;
SELECT consumer, settlements, rows, batch IS NOT NULL AS open FROM meter.consumer_status WHERE stream = 'consumers_cloud' ORDER BY 1;
RESET ROLE;
REVOKE pg_monitor FROM consumers_client;
GRANT UPDATE ON consumers_cloud._consumer TO consumers_client;
-- Row security of the ledger is not got around.
ALTER TABLE consumers_cloud.usage ENABLE ROW LEVEL SECURITY;
SET ROLE consumers_client;
SELECT count(*) FROM meter.next_batch('consumers_cloud', 'invoices');
RESET ROLE;
ALTER TABLE consumers_cloud.usage DISABLE ROW LEVEL SECURITY;
DROP OWNED BY consumers_client;
DROP ROLE consumers_client;

-- What is wrong is said.
SELECT meter.create_consumer('consumers_cloud', 'invoices');
SELECT meter.create_consumer('consumers_cloud', '');
SELECT meter.create_consumer('consumers_cloud', 'a', meters => '{}');
SELECT meter.create_consumer('consumers_cloud', 'a', meters => '{vm,disk}');
SELECT meter.create_consumer('nowhere', 'a');
SELECT meter.next_batch('consumers_cloud', 'a');
SELECT meter.next_batch('consumers_cloud', 'invoices', 0);
SELECT meter.finish_batch('consumers_cloud', 'a', 1);
SELECT meter.finish_batch('consumers_cloud', 'invoices', NULL);
SELECT meter.drop_consumer('consumers_cloud', 'a');
SET default_transaction_read_only = on;
SELECT meter.next_batch('consumers_cloud', 'invoices');
RESET default_transaction_read_only;

-- A stream that is not active has no batches: it is a copy, perhaps.
DELETE FROM meter.active_stream WHERE name = 'consumers_cloud';
SELECT meter.next_batch('consumers_cloud', 'invoices');
SELECT meter.finish_batch('consumers_cloud', 'invoices', 1);
SELECT meter.resume('consumers_cloud');

-- A stream takes its consumers along.
SET client_min_messages = warning;
SELECT meter.drop_stream('consumers_cloud', delete_data => true);
SELECT count(*) FROM meter.consumer WHERE stream = 'consumers_cloud';
SELECT count(*) FROM meter.consumer_position WHERE stream = 'consumers_cloud';
