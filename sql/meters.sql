-- Promise: every argument of a meter is checked when it is made, and a meter that was made works.
SET timezone = 'UTC';
SET datestyle = 'ISO';
SET intervalstyle = 'postgres';
SELECT meter.create_stream('meters_cloud');

-- pg_temp.try says how a call ends: with a code, a message and a hint, or well (and then leaves nothing behind).
CREATE FUNCTION pg_temp.try(arguments text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	detail text;
	hint text;
BEGIN
	EXECUTE 'SELECT meter.create_meter(' || arguments || ')';
	RAISE EXCEPTION 'accepted' USING errcode = '00001';
EXCEPTION
	WHEN SQLSTATE '00001' THEN
		RETURN 'accepted';
	WHEN OTHERS THEN
		GET STACKED DIAGNOSTICS hint = PG_EXCEPTION_HINT, detail = PG_EXCEPTION_DETAIL;
		RETURN sqlstate || ' ' || sqlerrm || CASE detail WHEN '' THEN '' ELSE ' [' || detail || ']' END || CASE hint WHEN '' THEN '' ELSE ' (' || hint || ')' END;
END $$;
SET client_min_messages = warning;
\pset format unaligned
SELECT a AS arguments, pg_temp.try($$'meters_cloud', 'm', $$ || a) AS outcome
FROM unnest(ARRAY[
	-- what counts, and how
	$$starts => '{start}', stops => '{stop}'$$,
	$$starts => '{start}', stops => '{stop}', aggregate => 'average'$$,
	$$starts => '{start}', stops => '{stop}', aggregate => NULL$$,
	$$starts => '{start}', stops => '{stop}', aggregate => 'weighted'$$,
	$$stops => '{stop}'$$,
	$$starts => '{start}'$$,
	$$starts => '{}', stops => '{stop}'$$,
	$$starts => '{start}', stops => '{}'$$,
	$$starts => '{start,restart}', stops => '{stop,restart}'$$,
	$$starts => '{start}', stops => '{stop}', changes => '{stop}'$$,
	$$starts => '{start}', stops => '{stop}', changes => '{start}'$$,
	$$starts => '{start,start}', stops => '{stop}'$$,
	$$starts => '{start,NULL}', stops => '{stop}'$$,
	$$starts => '{start,""}', stops => '{stop}'$$,
	$$starts => '{{start},{create}}', stops => '{stop}'$$,
	$$starts => '{void}', stops => '{stop}'$$,
	$$starts => '{start}', stops => '{reconciled:stop}'$$,
	-- what splits usage
	$$starts => '{start}', stops => '{stop}', dimensions => '{}'$$,
	$$starts => '{start}', stops => '{stop}', dimensions => '{offering,zone}'$$,
	$$starts => '{start}', stops => '{stop}', dimensions => NULL$$,
	$$starts => '{start}', stops => '{stop}', dimensions => '{offering,offering}'$$,
	$$starts => '{start}', stops => '{stop}', dimensions => '{offering,NULL}'$$,
	$$starts => '{start}', stops => '{stop}', dimensions => '{""}'$$,
	$$starts => '{start}', stops => '{stop}', dimensions => '{account}'$$,
	$$starts => '{start}', stops => '{stop}', dimensions => '{resource}'$$,
	$$starts => '{start}', stops => '{stop}', dimensions => '{time}'$$,
	$$starts => '{start}', stops => '{stop}', dimensions => '{arrival}'$$,
	$$starts => '{start}', stops => '{stop}', dimensions => '{attributes}'$$,
	$$starts => '{start}', stops => '{stop}', aggregate => 'weighted', value_from => 'cpu'$$,
	-- periods, increment, rounding, unit
	$$starts => '{start}', stops => '{stop}', period => '7 hours'$$,
	$$starts => '{start}', stops => '{stop}', period => '24 hours'$$,
	$$starts => '{start}', stops => '{stop}', period => '5 months'$$,
	$$starts => '{start}', stops => '{stop}', period => '1 month 3 days'$$,
	$$starts => '{start}', stops => '{stop}', period => '0'$$,
	$$starts => '{start}', stops => '{stop}', period => '-1 hour'$$,
	$$starts => '{start}', stops => '{stop}', period => '1 year'$$,
	$$starts => '{start}', stops => '{stop}', period => '7 days'$$,
	$$starts => '{start}', stops => '{stop}', increment => '25 minutes'$$,
	$$starts => '{start}', stops => '{stop}', increment => '2 hours'$$,
	$$starts => '{start}', stops => '{stop}', increment => '0'$$,
	$$starts => '{start}', stops => '{stop}', increment => '-1 minute'$$,
	$$starts => '{start}', stops => '{stop}', increment => NULL$$,
	$$starts => '{start}', stops => '{stop}', period => '1 day', increment => '7 minutes'$$,
	$$starts => '{start}', stops => '{stop}', period => '1 month', increment => '1 hour'$$,
	$$starts => '{start}', stops => '{stop}', rounding => 'sideways'$$,
	$$starts => '{start}', stops => '{stop}', unit => '0'$$,
	$$starts => '{start}', stops => '{stop}', unit => '-1 second'$$,
	$$starts => '{start}', stops => '{stop}', unit => '1 month'$$,
	-- clock and lateness
	$$starts => '{start}', stops => '{stop}', clock => 'sundial'$$,
	$$starts => '{start}', stops => '{stop}', lateness => '-1 minute'$$,
	$$starts => '{start}', stops => '{stop}', lateness => NULL$$,
	$$starts => '{start}', stops => '{stop}', max_lateness => '-1 day'$$,
	$$starts => '{start}', stops => '{stop}', max_lateness => NULL$$,
	-- where and when
	$$starts => '{start}', stops => '{stop}', timezone => 'Mars/Olympus'$$,
	$$starts => '{start}', stops => '{stop}', timezone => NULL$$,
	$$starts => '{start}', stops => '{stop}', timezone => 'Asia/Kolkata'$$,
	$$starts => '{start}', stops => '{stop}', since => '2024-03-05 10:00'$$,
	$$starts => '{start}', stops => '{stop}', since => '2024-03-05 10:30'$$,
	$$starts => '{start}', stops => '{stop}', until => '2024-03-05 10:30'$$,
	$$starts => '{start}', stops => '{stop}', since => '2024-03-05 10:00', timezone => 'Asia/Kolkata'$$,
	$$starts => '{start}', stops => '{stop}', since => '2024-03-05 10:30', timezone => 'Asia/Kolkata'$$,
	$$starts => '{start}', stops => '{stop}', since => '2024-03-05 10:00', until => '2024-03-05 10:00'$$,
	$$starts => '{start}', stops => '{stop}', since => '2024-03-05 11:00', until => '2024-03-05 10:00'$$,
	$$starts => '{start}', stops => '{stop}', since => 'infinity'$$,
	$$starts => '{start}', stops => '{stop}', until => 'infinity'$$]) a;

-- The stream and the name.
SELECT a AS arguments, pg_temp.try(a || $$, starts => '{start}', stops => '{stop}'$$) AS outcome
FROM unnest(ARRAY[$$'nowhere', 'm'$$, $$NULL, 'm'$$, $$'meters_cloud', NULL$$, $$'meters_cloud', ''$$, $$'meters_cloud', repeat('x', 201)$$]) a;
\pset format aligned
RESET client_min_messages;

-- It exists once. What could surprise is said.
SELECT meter.create_meter('meters_cloud', 'vm', starts => '{start}', stops => '{stop}');
SELECT meter.create_meter('meters_cloud', 'vm', starts => '{start}', stops => '{stop}');
SELECT meter.create_meter('meters_cloud', 'days', starts => '{start}', stops => '{stop}', unit => '7 minutes');
SELECT stream, meter, active, watermark, last_error FROM meter.status WHERE stream = 'meters_cloud' ORDER BY stream, meter;
SELECT meter.drop_meter('meters_cloud', 'days');
SELECT meter.drop_meter('meters_cloud', 'days');
SELECT meter.drop_meter('nowhere', 'vm');
SELECT * FROM meter.advance('meters_cloud', 'nothing');

-- Dimensions come from columns and attributes, values from a column or an attribute; entity and actions choose the rows.
SELECT meter.drop_meter('meters_cloud', 'vm');
SELECT meter.create_meter('meters_cloud', 'disk', entity => 'disk', starts => '{create}', stops => '{delete}', changes => '{resize}',
	dimensions => '{zone,offering}', lateness => '0', since => '2024-03-05 10:00');
SELECT meter.create_meter('meters_cloud', 'disk-gb', aggregate => 'weighted', entity => 'disk', starts => '{create}', stops => '{delete}', changes => '{resize}',
	dimensions => '{}', value_from => 'gb', unit => '1 hour', lateness => '0', since => '2024-03-05 10:00');
INSERT INTO meters_cloud.event ("time", resource, account, entity, action, offering, attributes) VALUES
	('2024-03-05 09:30', 'd1', 'a', 'disk', 'create', 'ssd', '{"zone": "gva", "gb": 10}'),
	('2024-03-05 10:30', 'd1', NULL, 'disk', 'resize', NULL, '{"gb": 20.5}'),
	('2024-03-05 10:45', 'd1', NULL, 'vm',   'delete', NULL, NULL),		-- another entity
	('2024-03-05 10:50', 'd1', NULL, 'disk', 'detach', 'x',  NULL),		-- an action that is not listed
	('2024-03-05 11:00', 'd1', NULL, 'disk', 'delete', NULL, NULL);
SET meter.now = '2024-03-05 12:00';
SELECT meter, watermark FROM meter.advance('meters_cloud') ORDER BY meter;
SELECT meter, account, resource, dimensions, period_start, quantity FROM meters_cloud.usage ORDER BY meter, period_start;
SELECT * FROM meter.verify('meters_cloud');

-- until: the watermark stops there, a boundary of a period.
SELECT meter.create_meter('meters_cloud', 'first-hour', entity => 'disk', starts => '{create}', stops => '{delete}', lateness => '0',
	since => '2024-03-05 09:00', until => '2024-03-05 10:00');
SELECT * FROM meter.advance('meters_cloud', 'first-hour');
SELECT * FROM meter.advance('meters_cloud', 'first-hour');

-- A meter that was dropped leaves its rows; made again, it goes on and repeats none.
SELECT meter.drop_meter('meters_cloud', 'disk');
SELECT count(*) AS left_behind FROM meters_cloud.usage WHERE meter = 'disk';
SELECT meter.create_meter('meters_cloud', 'disk', entity => 'disk', starts => '{create}', stops => '{delete}', changes => '{resize}',
	dimensions => '{zone,offering}', lateness => '0', since => '2024-03-05 10:00');
SELECT meter, watermark, usage_rows, adjustments FROM meter.advance('meters_cloud', 'disk');
SELECT * FROM meter.verify('meters_cloud');

-- Numbers of two units add up to nothing: another unit needs another name. Another period does not.
SELECT meter.drop_meter('meters_cloud', 'disk');
SELECT meter.create_meter('meters_cloud', 'disk', entity => 'disk', starts => '{create}', stops => '{delete}', unit => '1 second');
SELECT meter.create_meter('meters_cloud', 'disk', aggregate => 'weighted', entity => 'disk', starts => '{create}', stops => '{delete}');
SELECT meter.create_meter('meters_cloud', 'disk', entity => 'disk', starts => '{create}', stops => '{delete}', changes => '{resize}',
	dimensions => '{zone,offering}', period => '1 day', lateness => '0');
SET meter.now = '2024-03-06 00:00';
SELECT meter, watermark, usage_rows, adjustments FROM meter.advance('meters_cloud', 'disk');
SELECT meter, period_start, quantity, revision FROM meters_cloud.usage_total WHERE meter = 'disk' ORDER BY period_start;
SELECT * FROM meter.verify('meters_cloud', 'disk');
SET client_min_messages = warning;
SELECT meter.drop_stream('meters_cloud', delete_data => true);
