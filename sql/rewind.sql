-- Promise: a clock that jumped, and a state that was lost, end no bill in silence: they are named, and meter.rewind and meter.resettle repair them.
SET timezone = 'UTC';
SET datestyle = 'ISO';
SET intervalstyle = 'postgres';
CREATE FUNCTION pg_temp.bill(stream text) RETURNS TABLE (meter text, resource text, quantity numeric) LANGUAGE plpgsql AS $$
BEGIN
	RETURN QUERY EXECUTE format('SELECT meter, resource, trim_scale(sum(quantity)) FROM %I.usage GROUP BY 1, 2 HAVING sum(quantity) <> 0 ORDER BY 1, 2', stream);
END
$$;

-- The clock of the server is 60 days ahead for two turns, then right again.
SELECT meter.create_stream('rewind_ahead');
SET meter.now = '2024-03-05 10:30Z';
SELECT meter.create_meter('rewind_ahead', 'vm', starts => '{start}', stops => '{stop}', dimensions => '{}');
INSERT INTO rewind_ahead.event (source, id, "time", resource, account, action) VALUES ('a', '1', '2024-03-05 10:00Z', 'vm-1', 'acme', 'start');
CALL meter.run('rewind_ahead');
SET meter.now = '2024-05-04 11:00Z';
CALL meter.run('rewind_ahead');
SET meter.now = '2024-05-04 11:01Z';
INSERT INTO rewind_ahead.event (source, id, "time", resource, account, action) VALUES
	('a', 'x', '2024-03-05 10:40Z', 'vm-3', 'acme', 'start'), ('a', 'y', '2024-03-05 10:50Z', 'vm-3', NULL, 'stop');
CALL meter.run('rewind_ahead');
SET meter.now = '2024-03-05 15:00Z';
INSERT INTO rewind_ahead.event (source, id, "time", resource, account, action) VALUES
	('a', '2', '2024-03-05 12:00Z', 'vm-1', NULL, 'stop'), ('a', '3', '2024-03-05 12:00Z', 'vm-2', 'acme', 'start'), ('a', '4', '2024-03-05 13:00Z', 'vm-2', NULL, 'stop');
-- A step says so, once in a statement, and so does status.
CALL meter.run('rewind_ahead');
SELECT watermark, problems FROM meter.status WHERE stream = 'rewind_ahead';
SELECT count(*) FROM rewind_ahead.held;
-- Not to any instant.
SELECT meter.rewind('rewind_ahead', 'vm', NULL);
SELECT meter.rewind('rewind_ahead', 'vm', '2024-03-05 11:07Z');
SELECT meter.rewind('rewind_ahead', 'vm', '2024-06-05 11:00Z');
SELECT meter.rewind('rewind_ahead', 'vm', 'infinity');
SELECT meter.rewind('rewind_ahead', 'nonesuch', '2024-03-05 11:00Z');
SELECT meter.rewind('rewind_ahead', 'vm', '2024-03-05 11:00Z') > 1000 AS rows_written;
SELECT * FROM meter.verify('rewind_ahead');
SELECT * FROM pg_temp.bill('rewind_ahead');
SELECT count(*) FROM rewind_ahead.held;
SELECT watermark, problems FROM meter.status WHERE stream = 'rewind_ahead';
SELECT running, states FROM meter.meter WHERE stream = 'rewind_ahead';
SELECT watermark_before, watermark FROM rewind_ahead.settlement ORDER BY settlement DESC LIMIT 1;
CALL meter.run('rewind_ahead');
SELECT * FROM pg_temp.bill('rewind_ahead');
SELECT * FROM meter.verify('rewind_ahead');
-- Once more, to where it is: nothing is left to do.
SELECT meter.rewind('rewind_ahead', 'vm', watermark) FROM meter.status WHERE stream = 'rewind_ahead';
SELECT * FROM meter.verify('rewind_ahead');

-- Measures, the readings of a counter, owners, duplicates and voids across the watermark that is taken back: as if the clock had never been ahead.
SET client_min_messages = warning;
SELECT count(meter.create_stream(s, '3 hours')) FROM unnest('{rewind_jumped,rewind_plain}'::text[]) s;
SET meter.now = '2024-03-05 08:00Z';
SELECT count(meter.create_meter(s, a, a, dimensions => '{}', lateness => '0', max_lateness => '2 days')) FROM unnest('{rewind_jumped,rewind_plain}'::text[]) s, unnest('{sum,counter,latest,unique}'::text[]) a;
SELECT count(meter.create_meter(s, m, starts => '{start}', stops => '{stop}', dimensions => '{}', lateness => '0', max_lateness => '2 days', clock => c))
FROM unnest('{rewind_jumped,rewind_plain}'::text[]) s, (VALUES ('vm', 'wall'), ('vm by events', 'event')) m (m, c);
CREATE PROCEDURE pg_temp.log(rows text) LANGUAGE plpgsql AS $$
DECLARE
	stream text;
BEGIN
	FOREACH stream IN ARRAY '{rewind_jumped,rewind_plain}'::text[] LOOP
		EXECUTE replace(rows, 'LOG.', stream || '.');
	END LOOP;
END
$$;
CALL pg_temp.log($$INSERT INTO LOG.event (source, id, "time", resource, account, action) VALUES
	('s', 'a', '2024-03-05 08:10Z', 'r1', 'acme', 'start'), ('s', 'b', '2024-03-05 08:20Z', 'r2', NULL, 'start'), ('s', 'c', '2024-03-05 08:30Z', 'r3', 'acme', 'start')$$);
CALL pg_temp.log($$INSERT INTO LOG.measure (source, id, start_time, end_time, resource, value) VALUES
	('s', '1', '2024-03-05 08:15Z', '2024-03-05 08:45Z', 'r1', 10), ('s', '2', '2024-03-05 08:15Z', '2024-03-05 08:45Z', 'r2', 100), ('s', '3', '2024-03-05 09:15Z', '2024-03-05 12:45Z', 'r1', 30)$$);
SET meter.now = '2024-03-05 10:00Z';
CALL meter.run('rewind_jumped');
CALL meter.run('rewind_plain');
-- Duplicates across the watermark; a name for r2; a void of r3; a stop; all of them before the clock jumps, and rows of the future as well.
CALL pg_temp.log($$INSERT INTO LOG.event (source, id, "time", resource, account, action) VALUES
	('s', 'a', '2024-03-05 10:20Z', 'r1', 'other', 'start'), ('s', 'd', '2024-03-05 10:40Z', 'r2', 'basel', 'change'),
	('s', 'c', '2024-03-05 10:50Z', 'r3', NULL, 'void'), ('s', 'e', '2024-03-05 11:30Z', 'r1', NULL, 'stop'), ('s', 'f', '2024-03-08 00:00Z', 'r4', 'acme', 'start')$$);
CALL pg_temp.log($$INSERT INTO LOG.measure (source, id, start_time, end_time, resource, value) VALUES
	('s', '1', '2024-03-05 10:15Z', '2024-03-05 10:45Z', 'r1', 11), ('s', '4', '2024-03-05 11:15Z', '2024-03-05 11:45Z', 'r2', 120), ('s', '5', '2024-03-08 09:15Z', '2024-03-08 09:45Z', 'r1', 50)$$);
SET meter.now = '2024-04-05 10:00Z';
CALL meter.run('rewind_jumped');
CALL meter.run('rewind_jumped');			-- another turn, which notes how far it is
-- What comes while it is ahead is held.
CALL pg_temp.log($$INSERT INTO LOG.event (source, id, "time", resource, account, action) VALUES
	('s', 'g', '2024-03-05 09:50Z', 'r5', 'acme', 'start'), ('s', 'h', '2024-03-05 10:55Z', 'r5', NULL, 'stop'), ('s', 'i', '1970-01-01 00:00Z', 'r6', 'acme', 'start')$$);
CALL pg_temp.log($$INSERT INTO LOG.measure (source, id, start_time, end_time, resource, value) VALUES
	('s', '2', '2024-03-05 11:00Z', '2024-03-05 11:30Z', 'r2', 130), ('s', '6', '2024-03-05 09:55Z', '2024-03-05 10:45Z', 'r5', 7)$$);
CALL meter.run('rewind_jumped');
SET meter.now = '2024-03-05 11:00Z';
CALL meter.run('rewind_plain');
SELECT meter, count(*) FROM rewind_jumped.held GROUP BY 1 ORDER BY 1;
CREATE FUNCTION pg_temp.differs() RETURNS bigint LANGUAGE sql AS $$
	WITH j AS (SELECT meter, account, resource, dimensions, period_start, quantity FROM rewind_jumped.usage_total WHERE quantity <> 0),
		p AS (SELECT meter, account, resource, dimensions, period_start, quantity FROM rewind_plain.usage_total WHERE quantity <> 0)
	SELECT count(*) FROM ((TABLE j EXCEPT TABLE p) UNION ALL (TABLE p EXCEPT TABLE j)) d
$$;
SELECT pg_temp.differs() > 0 AS differs;
SELECT meter, meter.rewind('rewind_jumped', meter, '2024-03-05 10:00Z') > 0 AS wrote FROM meter.status WHERE stream = 'rewind_jumped' ORDER BY meter;
SELECT meter, count(*) FROM rewind_jumped.held GROUP BY 1 ORDER BY 1;
SELECT * FROM meter.verify('rewind_jumped');
CALL meter.run('rewind_jumped');
SELECT pg_temp.differs();
SELECT * FROM meter.verify('rewind_jumped');
SELECT (SELECT array_agg(watermark ORDER BY meter) FROM meter.status WHERE stream = 'rewind_jumped') = (SELECT array_agg(watermark ORDER BY meter) FROM meter.status WHERE stream = 'rewind_plain') AS same;
SELECT j.meter, j.running = p.running AS as_many FROM (SELECT name AS meter, running, states FROM meter.meter WHERE stream = 'rewind_jumped') j
JOIN (SELECT name AS meter, running, states FROM meter.meter WHERE stream = 'rewind_plain') p USING (meter) ORDER BY 1;
-- And on, with duplicates of what was settled twice.
CALL pg_temp.log($$INSERT INTO LOG.event (source, id, "time", resource, account, action) VALUES ('s', 'e', '2024-03-05 12:20Z', 'r1', NULL, 'stop'), ('s', 'b', '2024-03-05 11:10Z', 'r2', NULL, 'start')$$);
CALL pg_temp.log($$INSERT INTO LOG.measure (source, id, start_time, end_time, resource, value) VALUES ('s', '4', '2024-03-05 12:15Z', '2024-03-05 12:45Z', 'r2', 999), ('s', '7', '2024-03-05 12:15Z', '2024-03-05 12:45Z', 'r1', 70)$$);
SET meter.now = '2024-03-09 00:00Z';
CALL meter.run('rewind_jumped');
CALL meter.run('rewind_plain');
SELECT pg_temp.differs();
SELECT * FROM meter.verify('rewind_jumped');
SELECT DISTINCT meter, account, resource FROM rewind_plain.usage_total WHERE quantity <> 0 ORDER BY 1, 2, 3;
-- Back to before all of it, too.
SELECT meter, meter.rewind('rewind_jumped', meter, '2024-03-05 08:00Z') > 0 AS wrote FROM meter.status WHERE stream = 'rewind_jumped' ORDER BY meter;
SELECT count(*) FROM rewind_jumped.usage_total WHERE quantity <> 0;
SELECT * FROM meter.verify('rewind_jumped');
CALL meter.run('rewind_jumped');
SELECT pg_temp.differs();
SELECT * FROM meter.verify('rewind_jumped');
RESET client_min_messages;

-- Usage after the watermark is seen, of any meter; a meter that is made again over usage of the future says so.
SET meter.now = '2024-03-05 09:00Z';
SELECT meter.create_stream('rewind_again');
SELECT meter.create_meter('rewind_again', 'vm', starts => '{start}', stops => '{stop}', dimensions => '{}', lateness => '0', period => '1 day');
INSERT INTO rewind_again.event ("time", resource, account, action) VALUES ('2024-03-04 10:00Z', 'vm-1', 'acme', 'start');
SET meter.now = '2024-03-08 12:00Z';
CALL meter.run('rewind_again');
SET meter.now = '2024-03-06 12:00Z';
SELECT meter.drop_meter('rewind_again', 'vm');
SELECT meter.create_meter('rewind_again', 'vm', starts => '{start}', stops => '{stop}', dimensions => '{}', lateness => '0', period => '1 day');
CALL meter.run('rewind_again');
SELECT * FROM meter.verify('rewind_again');
SELECT period_start FROM meter.verify('rewind_again', NULL, '[2024-03-07 05:00Z, 2024-03-07 06:00Z)');
SELECT period_start FROM meter.verify('rewind_again', NULL, '[2024-03-04 05:00Z, 2024-03-05 06:00Z)');
SELECT meter.rewind('rewind_again', 'vm', '2024-03-06 00:00Z');
SELECT * FROM meter.verify('rewind_again');
SET meter.now = '2024-03-08 12:00Z';
CALL meter.run('rewind_again');
SELECT period_start, quantity, revision FROM rewind_again.usage ORDER BY period_start, revision;
SELECT * FROM meter.verify('rewind_again');

-- States that were lost: whatever reads all of them notices, and meter.resettle repairs.
SELECT meter.create_stream('rewind_lost');
SET meter.now = '2024-03-05 08:00Z';
SELECT meter.create_meter('rewind_lost', 'vm', starts => '{start}', stops => '{stop}', lateness => '0', max_lateness => NULL);
SELECT meter.create_meter('rewind_lost', 'bytes', 'counter', dimensions => '{}', lateness => '0', max_lateness => NULL);
INSERT INTO rewind_lost.event ("time", resource, account, action) SELECT '2024-03-05 08:10Z', 'vm-' || n, 'acme', 'start' FROM generate_series(1, 3) n;
INSERT INTO rewind_lost.event ("time", resource, action) VALUES ('2024-03-05 08:30Z', 'vm-3', 'stop');
INSERT INTO rewind_lost.measure (start_time, end_time, resource, value) SELECT '2024-03-05 08:10Z', '2024-03-05 08:10Z', 'vm-' || n, n FROM generate_series(1, 3) n;
SET meter.now = '2024-03-05 10:00Z';
CALL meter.run('rewind_lost');
SELECT name, running, states FROM meter.meter WHERE stream = 'rewind_lost' ORDER BY 1;
-- TRUNCATE is refused for all that the engine keeps.
SELECT format('TRUNCATE rewind_lost.%I', relname) FROM pg_class WHERE relnamespace = 'rewind_lost'::regnamespace AND relkind = 'r'
	AND (relname LIKE '\_%' OR relname IN ('held', 'settlement', 'snapshot')) ORDER BY relname COLLATE "C" \gexec
-- Each row that is gone, one that runs or one that does not, and each reading.
CREATE FUNCTION pg_temp.try(what text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	detail text;
	hint text;
	result text;
BEGIN
	EXECUTE what INTO result;
	RETURN result;
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS detail = PG_EXCEPTION_DETAIL, hint = PG_EXCEPTION_HINT;
	RETURN concat_ws(' / ', sqlerrm, detail, hint);
END
$$;
CREATE PROCEDURE pg_temp.show_loss() LANGUAGE plpgsql AS $$
DECLARE
	m text;
BEGIN
	FOREACH m IN ARRAY '{vm,bytes}'::text[] LOOP
		RAISE INFO '% verify: %', m, pg_temp.try(format('SELECT count(*) FROM meter.verify(%L, %L)', 'rewind_lost', m));
	END LOOP;
	RAISE INFO 'resume: %', pg_temp.try('SELECT meter.resume(''rewind_lost'')');
END
$$;
DELETE FROM rewind_lost._resource_state WHERE meter = 'vm' AND resource = 'vm-1';
CALL pg_temp.show_loss();
SET meter.now = '2024-03-05 11:00Z';
SELECT meter, watermark, usage_rows FROM meter.advance('rewind_lost');
SELECT meter.resettle('rewind_lost', 'vm');
SELECT meter, watermark, usage_rows FROM meter.advance('rewind_lost');
SELECT meter, last_error FROM meter.status WHERE stream = 'rewind_lost' ORDER BY 1;
DELETE FROM rewind_lost._resource_state WHERE meter = 'vm' AND resource = 'vm-3';
DELETE FROM rewind_lost._counter_state WHERE resource = 'vm-2';
CALL pg_temp.show_loss();
-- A late row does not hide the loss.
INSERT INTO rewind_lost.event ("time", resource, account, action) VALUES ('2024-03-05 09:20Z', 'vm-3', 'acme', 'start');
SET meter.now = '2024-03-05 12:00Z';
SELECT meter, watermark, usage_rows, adjustments FROM meter.advance('rewind_lost', 'vm');
SELECT meter.resettle('rewind_lost', 'vm'), meter.resettle('rewind_lost', 'bytes');
CALL pg_temp.show_loss();
CALL meter.run('rewind_lost');
SELECT * FROM meter.verify('rewind_lost');
-- All of them: the owner disables the guard. A step that only looks states up notices that, too.
ALTER TABLE rewind_lost._resource_state DISABLE TRIGGER guard_truncate;
ALTER TABLE rewind_lost._counter_state DISABLE TRIGGER guard_truncate;
TRUNCATE rewind_lost._resource_state, rewind_lost._counter_state;
SELECT problems FROM meter.status WHERE stream = 'rewind_lost' AND meter = 'vm';
SET meter.now = '2024-03-05 13:00Z';
SELECT meter, watermark FROM meter.advance('rewind_lost');
ALTER TABLE rewind_lost._resource_state ENABLE TRIGGER guard_truncate;
ALTER TABLE rewind_lost._counter_state ENABLE TRIGGER guard_truncate;
SELECT meter, watermark FROM meter.advance('rewind_lost');
SELECT meter.resettle('rewind_lost', 'vm'), meter.resettle('rewind_lost', 'bytes');
INSERT INTO rewind_lost.measure (start_time, end_time, resource, value) SELECT '2024-03-05 12:30Z', '2024-03-05 12:30Z', 'vm-' || n, 10 * n FROM generate_series(1, 3) n;
SELECT meter, watermark, usage_rows FROM meter.advance('rewind_lost');
SELECT * FROM meter.verify('rewind_lost');
SELECT sum(quantity) FROM rewind_lost.usage WHERE meter = 'bytes';
-- An owner's trigger has states written by INSERT: counted as well.
CREATE FUNCTION public.rewind_nothing() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN new; END';
CREATE TRIGGER nothing BEFORE INSERT ON rewind_lost._resource_state FOR EACH ROW EXECUTE FUNCTION public.rewind_nothing();
CREATE TRIGGER nothing BEFORE INSERT ON rewind_lost._counter_state FOR EACH ROW EXECUTE FUNCTION public.rewind_nothing();
INSERT INTO rewind_lost.event ("time", resource, account, action) VALUES ('2024-03-05 13:20Z', 'vm-1', 'acme', 'stop'), ('2024-03-05 13:20Z', 'vm-4', 'acme', 'start'), ('2024-03-05 12:20Z', 'vm-5', 'acme', 'start');
INSERT INTO rewind_lost.measure (start_time, end_time, resource, value) VALUES ('2024-03-05 13:20Z', '2024-03-05 13:20Z', 'vm-4', 1);
SET meter.now = '2024-03-05 15:00Z';
CALL meter.run('rewind_lost');
SELECT name, running, states FROM meter.meter WHERE stream = 'rewind_lost' ORDER BY 1;
SELECT * FROM meter.verify('rewind_lost');

-- What a step depends on without a query failing: named by the step, by status and by resume.
CREATE PROCEDURE pg_temp.break(how text, mend text) LANGUAGE plpgsql AS $$
BEGIN
	EXECUTE replace(how, 'LOST', 'rewind_lost');
	RAISE INFO 'status: %', (SELECT problems FROM meter.status WHERE stream = 'rewind_lost' AND meter = 'vm');
	PERFORM meter.advance('rewind_lost', 'vm');
	RAISE INFO 'resume: %', pg_temp.try('SELECT meter.resume(''rewind_lost'')');
	EXECUTE replace(mend, 'LOST', 'rewind_lost');
END
$$;
CALL pg_temp.break('ALTER TABLE LOST._resource_state SET UNLOGGED', 'ALTER TABLE LOST._resource_state SET LOGGED');
CALL pg_temp.break('ALTER TABLE LOST.event_0 SET UNLOGGED', 'ALTER TABLE LOST.event_0 SET LOGGED');
CALL pg_temp.break('ALTER TABLE LOST.usage DISABLE TRIGGER guard_ledger', 'ALTER TABLE LOST.usage ENABLE TRIGGER guard_ledger');
CALL pg_temp.break('DROP TRIGGER guard_segment ON LOST.event_0', 'CREATE TRIGGER guard_segment BEFORE INSERT OR TRUNCATE ON LOST.event_0 FOR EACH STATEMENT EXECUTE FUNCTION LOST.guard_log()');
CALL pg_temp.break('ALTER TABLE LOST.held DROP CONSTRAINT held_pkey', 'ALTER TABLE LOST.held ADD PRIMARY KEY (meter, log, arrival)');
CALL pg_temp.break('DROP INDEX LOST._duplicate_key_period', 'CREATE INDEX _duplicate_key_period ON LOST._duplicate_key USING btree (meter, log, period_start)');
CALL pg_temp.break('ALTER TABLE LOST._resource_state RENAME source TO origin', 'ALTER TABLE LOST._resource_state RENAME origin TO source');
SELECT meter, last_error FROM meter.status WHERE stream = 'rewind_lost' ORDER BY 1;
CALL meter.run('rewind_lost');
SELECT problems, last_error FROM meter.status WHERE stream = 'rewind_lost' AND meter = 'vm';

-- Rows of the ledger that were lost: resume compares with what settlements wrote; a ledger of an older dump has neither.
SELECT count(*), sum(quantity) FROM rewind_lost.usage;
SET session_replication_role = replica;
DELETE FROM rewind_lost.usage WHERE meter = 'vm' AND settlement = 2;
RESET session_replication_role;
SELECT pg_temp.try('SELECT meter.resume(''rewind_lost'')');
SELECT meter.resettle('rewind_lost', 'vm');
SELECT meter.resume('rewind_lost');
SELECT settlement, usage_rows, lost_rows FROM rewind_lost.settlement WHERE meter = 'vm' AND lost_rows > 0;
SELECT sum(quantity) FROM rewind_lost.usage;
SET session_replication_role = replica;
DELETE FROM rewind_lost.usage u USING (SELECT max(settlement) AS last FROM rewind_lost.settlement WHERE meter = 'vm') l WHERE meter = 'vm' AND settlement = last;
DELETE FROM rewind_lost.settlement u USING (SELECT max(settlement) AS last FROM rewind_lost.settlement WHERE meter = 'vm') l WHERE meter = 'vm' AND settlement = last;
RESET session_replication_role;
SELECT pg_temp.try('SELECT meter.resume(''rewind_lost'')');
SELECT meter.resettle('rewind_lost', 'vm');
SELECT meter.resume('rewind_lost');
SELECT sum(quantity) FROM rewind_lost.usage;
SELECT * FROM meter.verify('rewind_lost');

-- A log that lost its last rows, and one that lost all of them.
SET session_replication_role = replica;
CREATE TEMP TABLE kept AS SELECT * FROM rewind_lost.event;
ALTER TABLE rewind_lost.event_0 REPLICA IDENTITY FULL; -- where deletes of it are published
DELETE FROM rewind_lost.event_0 WHERE arrival >= (SELECT max(arrival) FROM rewind_lost.event);
SELECT pg_temp.try('SELECT meter.resume(''rewind_lost'')');
DELETE FROM rewind_lost.event_0;
SELECT pg_temp.try('SELECT meter.resume(''rewind_lost'')');
SELECT meter.resettle('rewind_lost', 'vm');
SELECT meter.rewind('rewind_lost', 'vm', '2024-03-05 12:00Z');
SELECT meter.drop_meter('rewind_lost', 'vm');
SELECT meter.create_meter('rewind_lost', 'vm', starts => '{start}', stops => '{stop}', lateness => '0', max_lateness => NULL);
SELECT usage_rows, adjustments FROM meter.advance('rewind_lost', 'vm');
INSERT INTO rewind_lost.event OVERRIDING SYSTEM VALUE SELECT * FROM kept;
RESET session_replication_role;
CALL meter.run('rewind_lost');
SELECT sum(quantity) FROM rewind_lost.usage;
SELECT * FROM meter.verify('rewind_lost');

-- Not before the retention boundary, nor before since.
SELECT meter.create_meter('rewind_lost', 'later', starts => '{start}', stops => '{stop}', lateness => '0', since => '2024-03-05 10:00Z');
SELECT meter.rewind('rewind_lost', 'later', '2024-03-05 09:00Z');
SELECT meter.rewind('rewind_lost', 'later', '2024-03-05 10:00Z');
CALL meter.run('rewind_lost');
SELECT meter.drop_meter('rewind_lost', 'later'), meter.drop_meter('rewind_lost', 'bytes');
SELECT FROM meter.alter_meter('rewind_lost', 'vm', max_lateness => '1 hour');
SELECT FROM meter.roll('rewind_lost');
CALL meter.run('rewind_lost');
INSERT INTO rewind_lost.event ("time", resource, account, action) VALUES ('2024-03-09 13:20Z', 'vm-1', 'acme', 'start');
SET meter.now = '2024-03-10 00:00Z';
CALL meter.run('rewind_lost');
SELECT meter.expire('rewind_lost', '2024-03-09 00:00Z');
SELECT meter.rewind('rewind_lost', 'vm', '2024-03-08 00:00Z');
SELECT meter.rewind('rewind_lost', 'vm', '2024-03-09 12:00Z') > 0 AS wrote;
SELECT meter.resume('rewind_lost');
CALL meter.run('rewind_lost');
SELECT * FROM meter.verify('rewind_lost');

-- It is for the stream's owner.
CREATE ROLE rewind_stranger;
SET ROLE rewind_stranger;
SELECT meter.rewind('rewind_lost', 'vm', '2024-03-09 12:00Z');
RESET ROLE;
DROP ROLE rewind_stranger;

SET client_min_messages = warning;
SELECT meter.drop_stream(name, delete_data => true) FROM unnest('{rewind_ahead,rewind_jumped,rewind_plain,rewind_again,rewind_lost}'::text[]) name;
DROP FUNCTION public.rewind_nothing();
