-- Promises that were once broken: a block each.
SET timezone = 'UTC';
SET datestyle = 'ISO, MDY';

-- What an owner forces out of a log by hand, verify finds and resettle repairs, also for the hours to come.
SELECT meter.create_stream('forced');
SELECT meter.create_meter('forced', 'vm', starts => '{start}', stops => '{stop}', lateness => '0', since => '2024-03-05 10:00');
INSERT INTO forced.event ("time", resource, account, action) VALUES ('2024-03-05 10:00', 'vm1', 'a', 'start'), ('2024-03-05 10:00', 'vm2', 'a', 'start');
SET meter.now = '2024-03-05 11:00';
SELECT usage_rows FROM meter.advance('forced');
ALTER TABLE forced.event_0 REPLICA IDENTITY FULL; -- where deletes of it are published
DELETE FROM forced.event_0 WHERE resource = 'vm1';
SELECT resource, ledger, expected FROM meter.verify('forced');
SELECT meter.resettle('forced', 'vm');
SET meter.now = '2024-03-05 12:00';
SELECT usage_rows, adjustments FROM meter.advance('forced');
SELECT resource, period_start, quantity FROM forced.usage_total WHERE quantity <> 0 ORDER BY 1, 2;
SELECT * FROM meter.verify('forced');

-- A row that resettle meets before a step has looked at it, and that a step then holds, is not billed.
SELECT meter.create_stream('early');
SELECT meter.create_meter('early', 'vm', starts => '{start}', stops => '{stop}', lateness => '0', max_lateness => '1 day');
INSERT INTO early.event ("time", resource, account, action) VALUES ('2024-03-05 10:00', 'vm1', 'a', 'start');
SET meter.now = '2024-03-05 12:00';
SELECT usage_rows FROM meter.advance('early');
INSERT INTO early.event ("time", resource, account, action) VALUES ('2024-02-05 10:00', 'vm2', 'a', 'start');
SELECT meter.resettle('early', 'vm');
SELECT usage_rows, adjustments FROM meter.advance('early');
SELECT * FROM meter.verify('early');

-- A meter made again in finer periods doubles nothing, also where the log begins within one of the old.
SELECT meter.create_stream('finer');
SELECT meter.create_meter('finer', 'vm', starts => '{start}', stops => '{stop}', lateness => '0', period => '1 day');
INSERT INTO finer.event ("time", resource, account, action) VALUES ('2024-03-04 15:10', 'vm1', 'a', 'start'), ('2024-03-04 20:00', 'vm1', NULL, 'stop');
SELECT usage_rows FROM meter.advance('finer');
SELECT meter.drop_meter('finer', 'vm');
SELECT meter.create_meter('finer', 'vm', starts => '{start}', stops => '{stop}', lateness => '0', since => '2024-03-04 18:00');
SELECT meter.create_meter('finer', 'vm', starts => '{start}', stops => '{stop}', lateness => '0');
SELECT usage_rows FROM meter.advance('finer');
SELECT sum(quantity) FROM finer.usage;
SELECT * FROM meter.verify('finer');

-- What a trigger of the stream's owner sets does not outlive the step, nor does a cancel of its own making stop others.
CREATE FUNCTION finer.meddle() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	PERFORM set_config('search_path', 'finer', false), set_config('meter.batch_rows', '7', false);
	IF NEW.resource = 'vm2' THEN RAISE EXCEPTION 'forged' USING ERRCODE = '57014'; END IF;
	RETURN NEW;
END$$;
CREATE TRIGGER meddle BEFORE INSERT ON finer.usage FOR EACH ROW EXECUTE FUNCTION finer.meddle();
INSERT INTO finer.event ("time", resource, account, action) VALUES ('2024-03-04 21:00', 'vm1', NULL, 'start');
SELECT usage_rows, adjustments FROM meter.advance('finer');
SHOW search_path;
SHOW meter.batch_rows;
INSERT INTO finer.event ("time", resource, account, action) VALUES ('2024-03-04 21:00', 'vm2', 'b', 'start');
SELECT usage_rows, adjustments FROM meter.advance('finer');
SELECT failures, last_error FROM meter.status WHERE stream = 'finer';

-- Starts and stops out of turn can be asked for by time.
SELECT meter.create_stream('odd');
SELECT meter.create_meter('odd', 'vm', starts => '{start}', stops => '{stop}');
INSERT INTO odd.event ("time", resource, account, action) VALUES ('2024-03-04 09:00', 'vm1', 'a', 'start'), ('2024-03-04 10:00', 'vm1', 'a', 'start'),
	('2024-03-04 11:00', 'vm1', 'a', 'start'), ('2024-03-04 10:30', 'vm2', 'a', 'stop'), ('2024-03-04 11:30', 'vm2', 'a', 'stop');
SELECT class, meter, resource, "time", arrival FROM meter.anomalies('odd', during => '[2024-03-04 10:00, 2024-03-04 11:00)') ORDER BY "time";

-- Two steps in one statement: the second one begins at what the first one has kept.
SET client_min_messages = warning;
RESET meter.batch_rows;
RESET meter.now;
SELECT meter.create_stream('twice');
SELECT meter.create_meter('twice', 'vm', starts => '{start}', stops => '{stop}', clock => 'event', lateness => '0');
INSERT INTO twice.event ("time", resource, action, account) VALUES ('2024-03-01 00:30', 'vm', 'start', 'g'), ('2024-03-01 06:00', 'vm', 'stop', NULL),
	('2024-03-02 12:30', 'vm', 'start', NULL), ('2024-03-02 13:00', 'vm', 'stop', NULL), ('2024-03-02 15:00', 'vm', 'start', NULL), ('2024-03-02 16:00', 'vm', 'stop', NULL),
	('2024-03-02 17:00', 'vm', 'start', NULL), ('2024-03-02 18:00', 'vm', 'stop', NULL), ('2024-03-03 00:00', 'x', 'tick', NULL);
CALL meter.run('twice');
INSERT INTO twice.event ("time", resource, action) VALUES ('2024-03-02 02:30', 'vm', 'start'), ('2024-03-02 12:40', 'vm', 'start');
SET meter.batch_rows = 1;
SELECT (SELECT adjustments FROM meter.advance('twice', CASE WHEN g > 0 THEN 'vm' END)) FROM generate_series(1, 3) g;
RESET meter.batch_rows;
SELECT * FROM meter.verify('twice');

-- So many new hashes, of so many periods, that they are not gathered in one pass.
SET meter.now = '2024-03-05 12:00';
SELECT meter.create_stream('scattered');
SELECT meter.create_meter('scattered', 'vm', starts => '{start}', stops => '{stop}', lateness => '0', since => '2024-03-05 10:00');
INSERT INTO scattered.event (source, id, "time", resource, action) SELECT 's', i, '2024-04-01'::timestamptz + i::bigint * 7919 % 400000 * interval '1 hour', 'x' || i % 100, 'ping'
FROM generate_series(1, 400000) i;
INSERT INTO scattered.event (source, id, "time", resource, account, action) VALUES ('s', 'a', '2024-03-05 10:00', 'vm', 'g', 'start'), ('s', 'b', '2024-03-05 10:20', 'vm', NULL, 'stop'),
	('s', 'a', '2024-03-05 10:40', 'vm', 'g', 'start');
SELECT usage_rows FROM meter.advance('scattered');
SELECT period_start, quantity FROM scattered.usage;
SELECT sum(length(keys)) / 8 AS hashes FROM scattered._duplicate_key;

-- A counter over a log that was sealed before the meter was made; a reading before a late one that is a duplicate of one before.
SET meter.now = '2024-03-05 00:00';
SELECT meter.create_stream('sealed');
INSERT INTO sealed.event ("time", resource, account, action) VALUES ('2024-03-01 00:00', 'r', 'a', 'name'), ('2024-03-01 00:00', 's', 'a', 'name');
INSERT INTO sealed.measure (start_time, end_time, resource, value, entity, source, id) SELECT t, t, r, v, 'port', 'agent', i
FROM (VALUES ('2024-03-01 10:00'::timestamptz, 'r', 100, NULL), ('2024-03-02 10:00', 'r', 150, NULL), ('2024-03-03 10:00', 's', 100, 'a'), ('2024-03-03 11:00', 's', 150, 'b'),
	('2024-03-03 11:30', 's', 170, 'b'), ('2024-03-03 13:00', 's', 300, 'c')) m (t, r, v, i);
INSERT INTO sealed.measure (start_time, end_time, resource, value) SELECT '2024-03-01 10:00', '2024-03-01 10:00', 'n' || i, 1 FROM generate_series(1, 200) i;
SELECT meter.roll('sealed');
CALL meter.run('sealed');
CALL meter.run('sealed');
INSERT INTO sealed.measure (start_time, end_time, resource, value, entity) VALUES ('2024-03-03 10:00', '2024-03-03 10:00', 'r', 160, 'port');
SELECT segment, state, rows FROM meter.log_segments('sealed') WHERE log = 'measure' LIMIT 2;
SELECT meter.create_meter('sealed', 'c', 'counter', entity => 'port', dimensions => '{}', lateness => '0', since => '2024-03-02 12:00', max_lateness => NULL);
CALL meter.run('sealed');
SELECT resource, period_start, quantity, revision FROM sealed.usage ORDER BY 1, 2, 4;
INSERT INTO sealed.measure (start_time, end_time, resource, value, entity) VALUES ('2024-03-03 12:00', '2024-03-03 12:00', 's', 200, 'port');
CALL meter.run('sealed');
SELECT resource, period_start, quantity, revision FROM sealed.usage WHERE resource = 's' ORDER BY 1, 2, 4;
SELECT * FROM meter.verify('sealed');

-- What is held from before the retention boundary is not released, in either log of a meter of measures.
SET meter.now = '2024-03-01 00:00';
SELECT meter.create_stream('behind');
SELECT meter.create_meter('behind', 's', 'sum', dimensions => '{}', lateness => '0', max_lateness => '1 day');
SET meter.now = '2024-03-01 12:00';
INSERT INTO behind.event ("time", resource, account, action) VALUES ('2024-02-29 00:00', 'r', 'a', 'name');
INSERT INTO behind.measure (start_time, end_time, resource, value) VALUES ('2024-02-29 10:00', '2024-02-29 10:00', 'r', 1);
SELECT meter.roll('behind');
CALL meter.run('behind');
CALL meter.run('behind');
SET meter.now = '2024-03-09 00:30';
CALL meter.run('behind');
CALL meter.run('behind');
INSERT INTO behind.event ("time", resource, account, action, source, id) VALUES ('2024-03-08 02:00', 'r', 'b', 'name', 's', 'x');
INSERT INTO behind.measure (start_time, end_time, resource, value) VALUES ('2024-03-08 10:00', '2024-03-08 10:00', 'r', 10);
CALL meter.run('behind');
INSERT INTO behind.event ("time", resource, account, action, source, id) VALUES ('2024-03-07 12:00', 'r', 'b', 'name', 's', 'x');
CALL meter.run('behind');
SET meter.now = '2024-03-10 00:30';
CALL meter.run('behind');
SELECT meter.expire('behind', '2024-03-20'), (SELECT count(*) FROM behind.held) AS held;
SELECT meter.release('behind', 's', NULL);
SELECT account, sum(quantity) FROM behind.usage GROUP BY 1 ORDER BY 1;
SELECT * FROM meter.verify('behind');

-- Expiry goes no further than the first late row that no step has looked at, though it may have counted one.
SET meter.now = '2024-03-05 00:00';
SELECT meter.create_stream('unread');
SELECT meter.create_meter('unread', 'vm', starts => '{start}', stops => '{stop}', lateness => '0', max_lateness => NULL, period => '1 day');
INSERT INTO unread.event ("time", resource, action, account) VALUES ('2024-03-01 00:30', 'vm', 'start', 'g'), ('2024-03-01 06:00', 'vm', 'stop', NULL), ('2024-03-02 00:00', 'vm', 'start', NULL);
SELECT meter.roll('unread');
CALL meter.run('unread');
CALL meter.run('unread');
SET meter.now = '2024-03-12 00:00';
CALL meter.run('unread');
CALL meter.run('unread');
INSERT INTO unread.event ("time", resource, action) VALUES ('2024-03-05 02:30', 'vm', 'start'), ('2024-03-08 12:40', 'vm', 'stop');
SET meter.batch_rows = 1;
SELECT late_rows FROM meter.advance('unread');
RESET meter.batch_rows;
SELECT meter.expire('unread', '2024-03-11');
SELECT "time" FROM unread._retention;
CALL meter.run('unread');
SELECT count(*) FROM unread.held;
SELECT * FROM meter.verify('unread');
-- A meter that was another one in between does not know what ran at the boundary.
SELECT meter.drop_meter('unread', 'vm');
SELECT meter.create_meter('unread', 'vm', starts => '{begin}', stops => '{stop}', lateness => '0', period => '1 day', since => '2024-03-20');
SELECT meter.drop_meter('unread', 'vm');
SELECT meter.create_meter('unread', 'vm', starts => '{start}', stops => '{stop}', lateness => '0', max_lateness => NULL, period => '1 day');

-- A name that an observation says, to no effect, is not the first one.
SET meter.now = '2024-03-01 04:00';
SELECT meter.create_stream('said');
SELECT meter.create_meter('said', 'vm', starts => '{start}', stops => '{stop}', changes => '{resize}', lateness => '0', max_lateness => NULL);
INSERT INTO said.event ("time", resource, action, source, offering, id) VALUES ('2024-03-01 00:30', 'r', 'start', NULL, NULL, NULL), ('2024-03-01 00:40', 'r', 'start', 's1', NULL, 'y');
CALL meter.run('said');
INSERT INTO said.inventory (source, at, resource, account, entity, offering) VALUES ('s1', '2024-03-01 02:10', 'r', 'a', 'vm', 'm');
SELECT FROM meter.reconcile('said', 's1', '2024-03-01 02:10');
CALL meter.run('said');
INSERT INTO said.event ("time", resource, action, source, id) VALUES ('2024-03-01 00:40', 'r', 'void', 's1', 'y');
CALL meter.run('said');
INSERT INTO said.event ("time", resource, action, source, id, account) VALUES ('2024-03-01 03:10', 'r', 'resize', 's1', 'x', 'b');
CALL meter.run('said');
SELECT * FROM meter.verify('said');
SELECT account, period_start, sum(quantity) FROM said.usage GROUP BY 1, 2 HAVING sum(quantity) <> 0 ORDER BY 2;
SELECT meter.drop_stream(s, delete_data => true) FROM unnest('{twice,scattered,sealed,behind,unread,said}'::text[]) s;
RESET client_min_messages;
RESET meter.now;

-- The ledger's first month takes usage from before 1970, whose totals need a month of their own.
SET client_min_messages = warning;
SET meter.now = '1970-01-01 03:00';
SELECT meter.create_stream('ancient');
SELECT meter.create_meter('ancient', 'vm', starts => '{start}', stops => '{stop}', lateness => '0', max_lateness => NULL, since => '1969-12-01');
INSERT INTO ancient.event ("time", resource, account, action) VALUES ('1970-01-01 01:30', 'r', 'a', 'start');
CALL meter.run('ancient');
INSERT INTO ancient.event ("time", resource, account, action) VALUES ('1969-12-31 22:15', 's', 'a', 'start'), ('1969-12-31 23:15', 's', 'a', 'stop');
CALL meter.run('ancient');
SELECT period_start, quantity FROM ancient.account_usage ORDER BY 1;
SELECT * FROM meter.verify('ancient');
SELECT meter.drop_stream('ancient', delete_data => true);
RESET client_min_messages;
RESET meter.now;

-- A session that has settled goes on after the extension was dropped and made again.
SET client_min_messages = warning;
DROP EXTENSION meter CASCADE;
CREATE EXTENSION meter;
SELECT meter.create_stream('forced');
SELECT meter.create_meter('forced', 'vm', starts => '{start}', stops => '{stop}', lateness => '0', since => '2024-03-05 10:00');
SET meter.now = '2024-03-05 13:00';
SELECT watermark, usage_rows, adjustments FROM meter.advance('forced');
SELECT * FROM meter.verify('forced');
SELECT meter.drop_stream('forced', delete_data => true);
DROP SCHEMA early, finer, odd CASCADE;
