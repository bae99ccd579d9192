-- Promise: measures are cut, counted and billed exactly, whoever owns the resource, however late they come and however often.
SET timezone = 'UTC';
SET datestyle = 'ISO';
SET intervalstyle = 'postgres';
SELECT meter.create_stream('quantities_net');

-- ---------------------------------------------------------------- what a meter of measures takes
CREATE FUNCTION pg_temp.try(arguments text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	hint text;
BEGIN
	EXECUTE 'SELECT meter.create_meter(''quantities_net'', ''m'', ' || arguments || ')';
	RAISE EXCEPTION 'accepted' USING errcode = '00001';
EXCEPTION
	WHEN SQLSTATE '00001' THEN
		RETURN 'accepted';
	WHEN OTHERS THEN
		GET STACKED DIAGNOSTICS hint = PG_EXCEPTION_HINT;
		RETURN sqlstate || ' ' || sqlerrm || ' (' || hint || ')';
END $$;
\pset format unaligned
SELECT a AS arguments, pg_temp.try(a) AS outcome
FROM unnest(ARRAY[
	$$aggregate => 'sum'$$,
	$$aggregate => 'average'$$,
	$$aggregate => 'sum', starts => '{start}'$$,
	$$aggregate => 'sum', stops => '{stop}'$$,
	$$aggregate => 'sum', changes => '{change}'$$,
	$$aggregate => 'sum', starts => '{}', stops => '{}'$$,
	$$aggregate => 'sum', rounding => 'up'$$,
	$$aggregate => 'sum', rounding => 'none'$$,
	$$aggregate => 'sum', unit => '1 hour'$$,
	$$aggregate => 'sum', increment => '1 second'$$,
	$$aggregate => 'sum', period => '30 seconds'$$,
	$$aggregate => 'sum', period => '7 hours'$$,
	$$aggregate => 'sum', value_from => 'account'$$,
	$$aggregate => 'sum', value_from => 'id'$$,
	$$aggregate => 'sum', value_from => 'bytes'$$,
	$$aggregate => 'unique', value_from => 'id'$$,
	$$aggregate => 'unique', value_from => 'start_time'$$,
	$$aggregate => 'count', value_from => 'bytes'$$,
	$$aggregate => 'sum', dimensions => '{source,entity,zone}'$$,
	$$aggregate => 'sum', dimensions => '{end_time}'$$
]) a;
\pset format aligned

-- ---------------------------------------------------------------- sums
SELECT meter.create_meter('quantities_net', 'bytes', aggregate => 'sum', dimensions => '{}', lateness => '0', since => '2024-03-05 10:00Z');
CREATE FUNCTION pg_temp.usage(of_meter text)
RETURNS TABLE (hour text, resource text, account text, dimensions jsonb, quantity numeric, revision int) LANGUAGE sql AS $$
	SELECT to_char(period_start, 'HH24:MI'), resource, account, dimensions, quantity, revision FROM quantities_net.usage
	WHERE meter = of_meter ORDER BY period_start, resource, account, dimensions, revision
$$;
INSERT INTO quantities_net.measure (start_time, end_time, resource, account, value) VALUES
	('2024-03-05 10:00Z', '2024-03-05 13:00Z', 'thirds',   'A', 10),         -- 3, 3 and 4: what was cut off is not lost
	('2024-03-05 10:00Z', '2024-03-05 13:00Z', 'mirrored', 'A', -10),
	('2024-03-05 10:00Z', '2024-03-05 12:00Z', 'decimal',  'A', 0.50),       -- in the value's own scale
	('2024-03-05 10:00Z', '2024-03-05 12:00Z', 'cent',     'A', 0.01),
	('2024-03-05 11:00Z', '2024-03-05 11:00Z', 'instant',  'A', 7),          -- of no length: whole
	('2024-03-05 10:20Z', '2024-03-05 10:40Z', 'zero',     'A', 5),
	('2024-03-05 10:20Z', '2024-03-05 10:40Z', 'zero',     'A', -5),         -- no row
	('2024-03-05 10:20Z', '2024-03-05 10:40Z', 'nothing',  'A', NULL),
	('2024-03-05 09:30Z', '2024-03-05 10:30Z', 'since',    'A', 60),         -- half of it is from before since
	('2024-03-05 10:00Z', '2024-03-05 12:00Z', 'large',    'A', 123456789012345678901234567890123456789.01);
SET meter.now = '2024-03-05 11:00Z';
SELECT * FROM meter.advance('quantities_net');
-- the hour that is not settled yet, up to now
SET meter.now = '2024-03-05 11:30Z';
SELECT period_start, resource, quantity FROM quantities_net.current_usage WHERE NOT settled ORDER BY resource;
SET meter.now = '2024-03-05 13:00Z';
SELECT * FROM meter.advance('quantities_net');
SELECT hour, resource, account, quantity FROM pg_temp.usage('bytes');
SELECT * FROM meter.verify('quantities_net');
SELECT part, "time", until, value, e.quantity, regexp_replace(explanation, 'recorded at .*:', 'recorded at …:') AS explanation
FROM quantities_net.usage u, meter.explain('quantities_net', u.transaction_id) e WHERE u.resource = 'thirds' AND u.period_start = '2024-03-05 12:00Z';

-- an end before its start is refused when it is logged
INSERT INTO quantities_net.measure (start_time, end_time, resource, value) VALUES ('2024-03-05 11:00Z', '2024-03-05 10:00Z', 'r', 1);

-- ---------------------------------------------------------------- who pays, if the measure does not say
SELECT meter.create_meter('quantities_net', 'owned', entity => 'ip', aggregate => 'sum', dimensions => '{}', lateness => '0', since => '2024-03-05 10:00Z');
INSERT INTO quantities_net.event ("time", resource, account, action) VALUES
	('2024-03-05 08:00Z', 'ip1', 'A', 'assign'), ('2024-03-05 10:30Z', 'ip1', 'B', 'transfer'), ('2024-03-05 10:40Z', 'ip1', NULL, 'ping');
INSERT INTO quantities_net.measure (start_time, end_time, resource, entity, account, value) VALUES
	('2024-03-05 10:00Z', '2024-03-05 11:00Z', 'ip1', 'ip', NULL, 101),      -- shared at the transfer
	('2024-03-05 10:00Z', '2024-03-05 11:00Z', 'ip1', 'ip', 'C',  7),        -- says who pays
	('2024-03-05 11:00Z', '2024-03-05 12:00Z', 'ip2', 'ip', NULL, 5),        -- nobody is known
	('2024-03-05 11:00Z', '2024-03-05 12:00Z', 'ip2', 'ip', '',   5);
SET meter.now = '2024-03-05 12:00Z';
SELECT usage_rows, adjustments, late_rows FROM meter.advance('quantities_net', 'owned');
SELECT * FROM pg_temp.usage('owned');
SELECT class, meter, resource, "time", detail FROM quantities_net.anomaly WHERE meter = 'owned';
-- a name that comes later is that of the time before, too
INSERT INTO quantities_net.event ("time", resource, account, action) VALUES ('2024-03-05 12:10Z', 'ip2', 'D', 'assign');
SET meter.now = '2024-03-05 13:00Z';
SELECT usage_rows, adjustments, late_rows FROM meter.advance('quantities_net', 'owned');
-- an event that comes late moves what was used from then on
INSERT INTO quantities_net.event ("time", resource, account, action) VALUES ('2024-03-05 10:15Z', 'ip1', 'E', 'transfer');
SELECT usage_rows, adjustments, late_rows FROM meter.advance('quantities_net', 'owned');
SELECT * FROM pg_temp.usage('owned') WHERE revision > 0 OR account IN ('D', 'E');
SELECT part, "time", until, arrival, action, e.account, value, e.quantity, regexp_replace(explanation, 'recorded at .*', 'recorded at …') AS explanation
FROM quantities_net.usage u, meter.explain('quantities_net', u.transaction_id) e WHERE u.meter = 'owned' AND u.account = 'A' AND u.revision = 1;
SELECT * FROM meter.verify('quantities_net');

-- ---------------------------------------------------------------- duplicates, and rows that are taken back
SELECT meter.create_meter('quantities_net', 'duplicates', entity => 'duplicate', aggregate => 'sum', dimensions => '{}', lateness => '0', since => '2024-03-05 10:00Z');
PREPARE duplicate (text, text, text, numeric) AS
	INSERT INTO quantities_net.measure (source, id, start_time, end_time, resource, entity, account, value)
	VALUES ('s', $1, ('2024-03-05 ' || $3 || 'Z')::timestamptz, ('2024-03-05 ' || $3 || 'Z')::timestamptz + '10 min', $2, 'duplicate', 'A', $4);
EXECUTE duplicate('1', 'r1', '10:20', 9);
EXECUTE duplicate('1', 'r1', '10:20', 7);      -- the lesser of the same time
EXECUTE duplicate('1', 'r2', '10:20', 9);      -- another resource: no duplicate
SET meter.now = '2024-03-05 11:00Z';
SELECT usage_rows, adjustments, late_rows FROM meter.advance('quantities_net', 'duplicates');
EXECUTE duplicate('1', 'r1', '11:20', 5);      -- later in time, so it does not count, however soon it came
EXECUTE duplicate('2', 'r1', '11:20', 100);
SET meter.now = '2024-03-05 12:00Z';
SELECT usage_rows, adjustments, late_rows FROM meter.advance('quantities_net', 'duplicates');
EXECUTE duplicate('2', 'r1', '10:50', 50);     -- earlier: it is this one that counts, cut by its own time
SELECT usage_rows, adjustments, late_rows FROM meter.advance('quantities_net', 'duplicates');
SELECT * FROM pg_temp.usage('duplicates');
SELECT class, resource, "time", detail FROM quantities_net.anomaly WHERE class = 'conflicting duplicate' ORDER BY arrival;
-- void is an event with the same resource, source and id
INSERT INTO quantities_net.event (source, id, "time", resource, action) VALUES ('s', '2', '2024-03-05 12:00Z', 'r1', 'void'), ('s', '3', '2024-03-05 12:00Z', 'r1', 'void');
EXECUTE duplicate('3', 'r1', '12:00', 1000);
SET meter.now = '2024-03-05 13:00Z';
SELECT usage_rows, adjustments, late_rows FROM meter.advance('quantities_net', 'duplicates');
SELECT * FROM pg_temp.usage('duplicates') WHERE resource = 'r1';
SELECT * FROM meter.verify('quantities_net');

-- ---------------------------------------------------------------- too late
SELECT meter.create_meter('quantities_net', 'strict', entity => 'strict', aggregate => 'sum', dimensions => '{}', lateness => '0', max_lateness => '1 hour', since => '2024-03-05 10:00Z');
INSERT INTO quantities_net.measure (start_time, end_time, resource, entity, account, value) VALUES ('2024-03-05 12:00Z', '2024-03-05 12:30Z', 'r', 'strict', 'A', 1);
SELECT usage_rows, adjustments, late_rows FROM meter.advance('quantities_net', 'strict');
-- what arrives from now on was drawn when 13:00 was settled
SELECT usage_rows, adjustments, late_rows FROM meter.advance('quantities_net', 'strict');
INSERT INTO quantities_net.measure (start_time, end_time, resource, entity, account, value) VALUES
	('2024-03-05 10:00Z', '2024-03-05 12:00Z', 'r', 'strict', 'A', 20), ('2024-03-05 12:10Z', '2024-03-05 12:20Z', 'r', 'strict', 'A', 3);
SELECT late_backlog, held FROM meter.status WHERE stream = 'quantities_net' AND meter = 'strict';
SELECT usage_rows, adjustments, late_rows FROM meter.advance('quantities_net', 'strict');
SELECT late_backlog, held FROM meter.status WHERE stream = 'quantities_net' AND meter = 'strict';
SELECT meter, log, "time", reason FROM quantities_net.held;
SELECT class, meter, regexp_replace(detail, 'since [^:]*:[^:]*:[^:]*:', 'since …:') FROM quantities_net.anomaly WHERE class = 'too late';
SELECT * FROM pg_temp.usage('strict');
SELECT * FROM meter.verify('quantities_net');
SELECT meter.release('quantities_net', 'strict');
SELECT * FROM pg_temp.usage('strict');
SELECT * FROM meter.verify('quantities_net');

-- ---------------------------------------------------------------- the other aggregates
SELECT meter.create_meter('quantities_net', a, entity => 'other', aggregate => a, dimensions => '{zone}', lateness => '0', since => '2024-03-05 10:00Z')
FROM unnest('{count,min,max,latest,unique}'::text[]) a;
SELECT meter.create_meter('quantities_net', 'users', entity => 'other', aggregate => 'unique', dimensions => '{}', value_from => 'user', lateness => '0', since => '2024-03-05 10:00Z');
INSERT INTO quantities_net.measure (start_time, end_time, resource, entity, account, value, attributes) VALUES
	('2024-03-05 10:10Z', '2024-03-05 11:10Z', 'r', 'other', 'A', 1.0,  '{"zone": "a", "user": "x"}'),     -- once, where it starts
	('2024-03-05 10:20Z', '2024-03-05 10:20Z', 'r', 'other', 'A', 1.00, '{"zone": "a", "user": 7}'),
	('2024-03-05 10:30Z', '2024-03-05 10:30Z', 'r', 'other', 'A', -2,   '{"zone": "a", "user": 7.0}'),     -- the same number
	('2024-03-05 10:30Z', '2024-03-05 10:30Z', 'r', 'other', 'A', -3,   '{"zone": "a", "user": "7"}'),     -- the latest: of one start the greater
	('2024-03-05 10:40Z', '2024-03-05 10:40Z', 'r', 'other', 'A', NULL, '{"zone": "a", "user": null}'),    -- for count only
	('2024-03-05 10:40Z', '2024-03-05 10:40Z', 'r', 'other', 'A', 0,    '{"zone": "b"}'),                  -- 0 is a quantity to min, max, latest
	('2024-03-05 10:50Z', '2024-03-05 10:50Z', 'q', 'other', 'A', NULL, '{"zone": "b"}');
SET meter.now = '2024-03-05 12:00Z';
SELECT meter, usage_rows FROM meter.advance('quantities_net') WHERE meter IN ('count', 'min', 'max', 'latest', 'unique', 'users');
SELECT meter, resource, dimensions, quantity FROM quantities_net.usage WHERE meter IN ('count', 'min', 'max', 'latest', 'unique', 'users') ORDER BY 1, 2, 3;
-- a late one: the difference, so that a sum over revisions is the quantity
INSERT INTO quantities_net.measure (source, id, start_time, end_time, resource, entity, account, value, attributes) VALUES
	('s', 'late', '2024-03-05 10:50Z', '2024-03-05 10:50Z', 'r', 'other', 'A', 4, '{"zone": "a", "user": "y"}'),
	('s', 'gone', '2024-03-05 11:50Z', '2024-03-05 11:50Z', 'r', 'other', 'A', 0, '{"zone": "a"}');
SELECT meter, usage_rows, adjustments FROM meter.advance('quantities_net') WHERE meter IN ('count', 'min', 'max', 'latest', 'unique', 'users');
SELECT meter, period_start, quantity, revision FROM quantities_net.usage WHERE meter IN ('count', 'min', 'max', 'latest', 'unique', 'users') AND (revision > 0 OR period_start > '2024-03-05 10:00Z') ORDER BY 1, 2;
INSERT INTO quantities_net.event (source, id, "time", resource, action) VALUES ('s', 'late', '2024-03-05 12:00Z', 'r', 'void'), ('s', 'gone', '2024-03-05 12:00Z', 'r', 'void');
SELECT meter, usage_rows, adjustments FROM meter.advance('quantities_net') WHERE meter IN ('count', 'min', 'max', 'latest', 'unique', 'users');
SELECT meter, period_start, quantity, revision FROM quantities_net.usage_total WHERE meter IN ('count', 'min', 'max', 'latest', 'unique', 'users') AND resource = 'r' AND dimensions <> '{"zone": "b"}' ORDER BY 1, 2;
SELECT * FROM meter.verify('quantities_net');

-- ---------------------------------------------------------------- counters
SELECT meter.create_meter('quantities_net', 'octets', entity => 'counter', aggregate => 'counter', dimensions => '{direction}', lateness => '0', since => '2024-03-05 10:00Z');
PREPARE reading (text, numeric, text) AS
	INSERT INTO quantities_net.measure (start_time, end_time, resource, entity, account, value, attributes)
	VALUES (('2024-03-05 ' || $1 || 'Z')::timestamptz, ('2024-03-05 ' || $1 || 'Z')::timestamptz, 'port', 'counter', 'A', $2, jsonb_build_object('direction', $3));
EXECUTE reading('09:50', 100, 'in');
EXECUTE reading('10:50', 130, 'in');      -- 30 in the hour of the later reading
EXECUTE reading('11:10', 150, 'in');
EXECUTE reading('11:10', 140, 'in');      -- at one instant the greatest
EXECUTE reading('11:20', 5, 'in');        -- a drop is a reset to 0
EXECUTE reading('11:20', 1000, 'out');    -- another counter, of which this is the first reading
SET meter.now = '2024-03-05 11:00Z';
SELECT usage_rows, adjustments FROM meter.advance('quantities_net', 'octets');
SET meter.now = '2024-03-05 12:00Z';
SELECT usage_rows, adjustments FROM meter.advance('quantities_net', 'octets');
EXECUTE reading('12:05', 25, 'in');       -- from what the hour before has left
EXECUTE reading('12:05', 1001, 'out');
SET meter.now = '2024-03-05 13:00Z';
SELECT usage_rows, adjustments FROM meter.advance('quantities_net', 'octets');
SELECT hour, dimensions, quantity, revision FROM pg_temp.usage('octets');
-- a late one takes from the hour of the next
EXECUTE reading('11:50', 15, 'in');
SELECT usage_rows, adjustments FROM meter.advance('quantities_net', 'octets');
SELECT hour, dimensions, quantity, revision FROM pg_temp.usage('octets') WHERE revision > 0;
SELECT part, "time", value, explanation FROM quantities_net.usage u, meter.explain('quantities_net', u.transaction_id) WHERE u.meter = 'octets' AND u.revision = 1 AND u.period_start = '2024-03-05 12:00Z' AND part NOT IN ('ledger', 'late measure');
SELECT * FROM meter.verify('quantities_net');

-- ---------------------------------------------------------------- days of a time zone, and an attribute that is none
SELECT meter.create_meter('quantities_net', 'days', entity => 'day', aggregate => 'sum', dimensions => '{}', value_from => 'n', period => '1 day', timezone => 'Europe/Zurich', lateness => '0', since => '2024-03-30 23:00Z');
INSERT INTO quantities_net.measure (start_time, end_time, resource, entity, account, attributes) VALUES
	('2024-03-30 22:00Z', '2024-04-01 22:00Z', 'r', 'day', 'A', '{"n": 48}'),     -- the day of 23 hours has 23 of it
	('2024-03-31 22:00Z', '2024-03-31 22:00Z', 'r', 'day', 'A', '{"n": "1e2"}'),
	('2024-03-31 22:00Z', '2024-03-31 22:00Z', 'r', 'day', 'A', '{"n": "many"}');
SET meter.now = '2024-04-02 12:00Z';
SELECT usage_rows FROM meter.advance('quantities_net', 'days');
SELECT period_start, quantity FROM quantities_net.usage WHERE meter = 'days' ORDER BY 1;
SELECT class, meter, resource, "time", detail FROM quantities_net.anomaly WHERE class = 'not a number';

-- ---------------------------------------------------------------- made again, a meter finds its usage and writes nothing
SELECT meter.drop_meter('quantities_net', 'duplicates');
SELECT count(*) FROM quantities_net._duplicate_key WHERE meter = 'duplicates';
SELECT meter.create_meter('quantities_net', 'duplicates', entity => 'duplicate', aggregate => 'sum', dimensions => '{}', lateness => '0', since => '2024-03-05 10:00Z');
CALL meter.run('quantities_net');
SELECT * FROM pg_temp.usage('duplicates') WHERE resource = 'r1';
SELECT * FROM meter.verify('quantities_net');
SELECT sum(meter.resettle('quantities_net', name)) AS written FROM meter.meter WHERE stream = 'quantities_net';
SELECT meter.drop_meter('quantities_net', 'count');
SELECT meter.create_meter('quantities_net', 'count', aggregate => 'sum');
SET client_min_messages = warning;
SELECT meter.drop_stream('quantities_net', true);
