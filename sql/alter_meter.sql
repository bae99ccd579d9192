-- Promise: what is operational of a meter changes and takes no bill back; a meter that is paused makes no step until it is resumed; what is there or
-- gone already is skipped where that is asked for.
SET timezone = 'UTC';
SET datestyle = 'ISO';
SET intervalstyle = 'postgres';
SET meter.now = '2024-03-05 10:30';
SELECT meter.create_stream('alter_cloud');
SELECT meter.create_meter('alter_cloud', 'vm', starts => '{start}', stops => '{stop}', since => '2024-03-05 08:00', max_lateness => '2 hours');

-- --- there already, or gone already
SELECT meter.create_stream('alter_cloud', if_not_exists => true);
SELECT meter.create_meter('alter_cloud', 'vm', 'sum', if_not_exists => true);
SELECT aggregate FROM meter.meter WHERE stream = 'alter_cloud';
SELECT meter.create_meter('alter_cloud', 'vm', 'sum');
SELECT meter.drop_meter('alter_cloud', 'none', if_exists => true);
SELECT meter.drop_meter('alter_cloud', 'none');
SELECT meter.drop_stream('alter_none', if_exists => true);
SELECT meter.drop_stream('alter_none');
-- arguments are checked all the same
SELECT meter.create_meter('alter_cloud', 'vm', 'total', if_not_exists => true);

-- --- lateness: a period waits longer, or no longer
INSERT INTO alter_cloud.event ("time", resource, account, action) VALUES ('2024-03-05 08:10', 'r1', 'a', 'start');
SELECT watermark FROM meter.advance('alter_cloud');
SELECT meter.alter_meter('alter_cloud', 'vm', lateness => '1 hour');
SET meter.now = '2024-03-05 11:30';
SELECT watermark FROM meter.advance('alter_cloud');
SELECT meter.alter_meter('alter_cloud', 'vm', lateness => '0');
SELECT watermark FROM meter.advance('alter_cloud');

-- --- max_lateness: what is later is held from then on; smaller, it holds nothing that may have counted
INSERT INTO alter_cloud.event ("time", resource, account, action) VALUES ('2024-03-05 08:30', 'r2', 'a', 'start'), ('2024-03-05 10:10', 'r3', 'a', 'start');
SELECT adjustments, late_rows FROM meter.advance('alter_cloud');
SELECT arrival, reason FROM alter_cloud.held;
SELECT meter.alter_meter('alter_cloud', 'vm', max_lateness => '5 minutes');
INSERT INTO alter_cloud.event ("time", resource, account, action) VALUES ('2024-03-05 10:20', 'r4', 'a', 'start');
SELECT adjustments, late_rows FROM meter.advance('alter_cloud');
INSERT INTO alter_cloud.event ("time", resource, account, action) VALUES ('2024-03-05 10:25', 'r5', 'a', 'start');
SELECT adjustments, late_rows FROM meter.advance('alter_cloud');
SELECT meter.alter_meter('alter_cloud', 'vm', max_lateness => NULL);
INSERT INTO alter_cloud.event ("time", resource, account, action) VALUES ('2024-03-05 08:05', 'r6', 'a', 'start'), ('2024-03-05 08:20', 'r6', NULL, 'stop');
SELECT adjustments, late_rows FROM meter.advance('alter_cloud');
SELECT * FROM meter.verify('alter_cloud');

-- --- the clock
SELECT meter.alter_meter('alter_cloud', 'vm', clock => 'event');
SET meter.now = '2024-03-05 15:00';
SELECT watermark FROM meter.advance('alter_cloud');
INSERT INTO alter_cloud.event ("time", resource, account, action) VALUES ('2024-03-05 13:10', 'r1', NULL, 'stop');
SELECT watermark, usage_rows FROM meter.advance('alter_cloud');
SELECT meter.alter_meter('alter_cloud', 'vm', clock => 'wall');

-- --- until: the end of a meter, which can be put off or taken back, but not into what is settled
SELECT meter.alter_meter('alter_cloud', 'vm', until => '2024-03-05 14:00');
SELECT watermark FROM meter.advance('alter_cloud');
SELECT meter.alter_meter('alter_cloud', 'vm', until => NULL);
SELECT watermark FROM meter.advance('alter_cloud');
SELECT clock, lateness, max_lateness, until FROM meter.meter WHERE stream = 'alter_cloud';
SELECT * FROM meter.verify('alter_cloud');

-- --- what cannot be
CREATE FUNCTION alter_cloud.told(arguments text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	detail text;
	hint text;
BEGIN
	EXECUTE format('SELECT meter.alter_meter(%s)', arguments);
	RETURN 'accepted';
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS detail = PG_EXCEPTION_DETAIL, hint = PG_EXCEPTION_HINT;
	RETURN concat_ws(' | ', SQLSTATE, SQLERRM, nullif(detail, ''), nullif(hint, ''));
END $$;
\pset format unaligned
\pset tuples_only on
SELECT alter_cloud.told($$'alter_cloud', 'none'$$);
SELECT alter_cloud.told($$'alter_none', 'vm'$$);
SELECT alter_cloud.told($$'alter_cloud', NULL$$);
SELECT alter_cloud.told($$'alter_cloud', 'vm', lateness => '-1 minute'$$);
SELECT alter_cloud.told($$'alter_cloud', 'vm', lateness => '1 month'$$);
SELECT alter_cloud.told($$'alter_cloud', 'vm', clock => 'sun'$$);
SELECT alter_cloud.told($$'alter_cloud', 'vm', until => '2024-03-05 14:00'$$);
SELECT alter_cloud.told($$'alter_cloud', 'vm', until => '2024-03-05 16:30'$$);
SELECT alter_cloud.told($$'alter_cloud', 'vm', until => 'infinity'$$);
\pset tuples_only off
\pset format aligned

-- --- a pause: no steps, by name or not; late rows wait, and are no fault
SELECT meter.create_meter('alter_cloud', 'other', starts => '{start}', stops => '{stop}', since => '2024-03-05 08:00');
SELECT meter.pause('alter_cloud', 'vm');
SET meter.now = '2024-03-05 16:10';
INSERT INTO alter_cloud.event ("time", resource, account, action) VALUES ('2024-03-05 09:00', 'r1', NULL, 'stop');
SELECT meter, watermark FROM meter.advance('alter_cloud');
SELECT meter.advance('alter_cloud', 'vm');
CALL meter.run('alter_cloud');
SELECT meter, active, paused, watermark, late_backlog FROM meter.status WHERE stream = 'alter_cloud' ORDER BY meter;
SELECT * FROM meter.verify('alter_cloud');
-- resuming the stream leaves it as it is, resuming the meter does not
SELECT meter.resume('alter_cloud');
SELECT paused FROM meter.status WHERE stream = 'alter_cloud' AND meter = 'vm';
SELECT meter.resume('alter_cloud', 'vm');
SELECT watermark, adjustments FROM meter.advance('alter_cloud', 'vm');
SELECT meter.pause('alter_cloud', 'none');
SELECT meter.resume('alter_cloud', 'none');
SELECT * FROM meter.verify('alter_cloud');

-- --- the retention boundary: max_lateness cannot reach behind it, and a pause holds it back
SET meter.segment_rows = 1;
SELECT meter.alter_meter('alter_cloud', 'vm', max_lateness => '1 hour');
SELECT meter.alter_meter('alter_cloud', 'other', max_lateness => '1 hour');
SELECT meter.pause('alter_cloud', 'vm');
SET meter.now = '2024-03-08 12:10';
CALL meter.run('alter_cloud');
SELECT meter.expire('alter_cloud', '2024-03-08 12:00');
SELECT meter.resume('alter_cloud', 'vm');
CALL meter.run('alter_cloud');
SELECT meter.expire('alter_cloud', '2024-03-08 12:00');
\pset format unaligned
\pset tuples_only on
SELECT alter_cloud.told($$'alter_cloud', 'vm', max_lateness => '2 hours'$$);
SELECT alter_cloud.told($$'alter_cloud', 'vm', max_lateness => NULL$$);
SELECT alter_cloud.told($$'alter_cloud', 'vm', max_lateness => '30 minutes'$$);
\pset tuples_only off
\pset format aligned
SELECT * FROM meter.verify('alter_cloud');
