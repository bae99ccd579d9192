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
