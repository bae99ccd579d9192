-- Promises that were once broken: a block each.
SET timezone = 'UTC';
SET datestyle = 'ISO, MDY';

-- What an owner forces out of a log by hand, verify finds and resettle repairs, also for the hours to come.
SELECT meter.create_stream('forced');
SELECT meter.create_meter('forced', 'vm', starts => '{start}', stops => '{stop}', lateness => '0', since => '2024-03-05 10:00');
INSERT INTO forced.event ("time", resource, account, action) VALUES ('2024-03-05 10:00', 'vm1', 'a', 'start'), ('2024-03-05 10:00', 'vm2', 'a', 'start');
SET meter.now = '2024-03-05 11:00';
SELECT usage_rows FROM meter.advance('forced');
DELETE FROM forced.event WHERE resource = 'vm1';
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
