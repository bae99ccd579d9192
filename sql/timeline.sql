-- Promise: a timeline says what the events of one resource say, in whatever order they are read, and answers exactly.
SET timezone = 'UTC';
SET datestyle = 'ISO';
SET intervalstyle = 'postgres';

-- One virtual machine: started at 12:00 as "small", resized to "large" at 12:40, stopped at 13:30; started again at 15:00.
CREATE TEMP TABLE vm ("time" timestamptz, active boolean, label text, value numeric);
INSERT INTO vm VALUES
	('2024-03-05 12:00', true,  'small', 2),
	('2024-03-05 12:40', NULL,  'large', 8),		-- NULL: neither a start nor a stop
	('2024-03-05 13:30', false, NULL,    NULL),
	('2024-03-05 15:00', true,  NULL,    NULL);		-- what it leaves out is as it was
CREATE TEMP TABLE kept AS SELECT meter.timeline("time", active, label, value) AS line FROM vm;

-- What a timeline looks like, and that its text is one.
SELECT line FROM kept;
SELECT line::text::meter.timeline::text = line::text AS same FROM kept;

-- Spans: half open; a run that is still open has no end.
SELECT s.* FROM kept, meter.spans(line) s;

-- Without a window, an open run counts to the last event: 1 h 30 min, and nothing for the start at 15:00.
SELECT meter.duration(line) FROM kept;
-- With one, it counts to its end.
SELECT meter.duration(line, '[2024-03-05 12:00, 2024-03-05 16:00)') FROM kept;
SELECT meter.duration(line, '[2024-03-05 13:00, 2024-03-05 15:00:00.000001)') FROM kept;
SELECT meter.duration(line, '[2024-03-05 14:00, 2024-03-05 15:00)') AS none, meter.duration(line, 'empty') AS empty FROM kept;
-- With an increment, every unit of it that was touched counts, unless another rounding is asked for.
SELECT meter.duration(line, '[2024-03-05 12:00, 2024-03-05 16:00)', '1 hour') AS hours, meter.duration(line, '[2024-03-05 12:00, 2024-03-05 16:00)', '1 hour', 'down') AS whole_hours FROM kept;
-- An interval is in hours and smaller, never in days: a day is not always 24 hours long.
SELECT meter.duration(line, '[2024-03-05, 2024-04-05)') FROM kept;

-- Half open: active at the start, not at the stop.
SELECT t AS "time", meter.active_at(line, t)
FROM kept, unnest('{2024-03-05 11:59:59.999999,2024-03-05 12:00,2024-03-05 12:40,2024-03-05 13:29:59.999999,2024-03-05 13:30,2024-03-05 15:00,2024-12-31}'::timestamptz[]) t;

-- Periods: the spans cut by the hour; a running resource has its rows in hours without events, too.
SELECT p.* FROM kept, meter.periods(line, '[2024-03-05 12:00, 2024-03-05 17:00)', '1 hour') p;
-- The window cuts, and does not move the periods.
SELECT p.* FROM kept, meter.periods(line, '[2024-03-05 12:50, 2024-03-05 13:10)', '1 hour') p;

-- The integral of the value over time: 40 min of 2 and 50 min of 8, in units of an hour; and in seconds.
SELECT meter.weighted(line, '[2024-03-05 12:00, 2024-03-05 15:00)', '1 hour') FROM kept;
SELECT meter.weighted(line, '[2024-03-05 12:00, 2024-03-05 15:00)') FROM kept;
-- Exact where that is a finite decimal, however long, else divided once, last, and rounded at the 12th digit.
SELECT unit, meter.weighted(meter.timeline(t, a, NULL, v), '[2024-03-05 12:00, 2024-03-05 13:00)', unit)
FROM (VALUES ('2024-03-05 12:00'::timestamptz, true, -0.1), ('2024-03-05 12:00:20', false, NULL)) e (t, a, v),
	unnest('{1 second,1 minute,1024 seconds,1048576 seconds,7 seconds}'::interval[]) unit
GROUP BY unit ORDER BY unit;
-- Events: a start while open neither restarts nor extends, a stop while closed does nothing. Only starts, changes and stops count.
SELECT s.* FROM meter.spans((SELECT meter.timeline(t, a) FROM (VALUES
	('2024-03-05 11:00'::timestamptz, false),
	('2024-03-05 12:00', true), ('2024-03-05 12:20', true), ('2024-03-05 12:30', false), ('2024-03-05 12:45', false)) e (t, a))) s;

-- At one instant: a start and a stop leave it as it was; first the starts speak, then the changes, each in ascending order, NULL first.
SELECT n, s.during, s.label, s.value
FROM (VALUES (1, 'a restart while open'), (2, 'a run of no length'), (3, 'the greater label'), (4, 'the greater number'), (5, 'the change, though lesser')) c (n, what),
	LATERAL (SELECT meter.timeline(t, a, l, v) AS line FROM (VALUES
		(1, '2024-03-05 12:00'::timestamptz, true,  'a',  1.0),
		(1, '2024-03-05 12:30',              false, 'x',  9),
		(1, '2024-03-05 12:30',              true,  'b',  NULL),
		(1, '2024-03-05 13:00',              false, NULL, NULL),
		(2, '2024-03-05 12:00',              true,  'a',  1),
		(2, '2024-03-05 12:00',              false, NULL, NULL),
		(2, '2024-03-05 12:10',              true,  NULL, NULL),
		(2, '2024-03-05 12:20',              false, NULL, NULL),
		(3, '2024-03-05 12:00',              true,  'b',  NULL),
		(3, '2024-03-05 12:00',              true,  'a',  7),
		(3, '2024-03-05 12:00',              true,  NULL, 3),
		(3, '2024-03-05 13:00',              false, NULL, NULL),
		(4, '2024-03-05 12:00',              true,  NULL, 10),
		(4, '2024-03-05 12:00',              true,  NULL, 9),
		(4, '2024-03-05 13:00',              false, NULL, NULL),
		(5, '2024-03-05 12:00',              NULL,  'a',  NULL),
		(5, '2024-03-05 12:00',              true,  'b',  NULL),
		(5, '2024-03-05 13:00',              false, NULL, NULL)) e (k, t, a, l, v) WHERE k = n) q,
	meter.spans(line) s
ORDER BY n, s.during;

-- Values compare as numbers and are shown in their least scale: 1.0 and 1.00 are one value, so this is one span.
SELECT s.* FROM meter.spans((SELECT meter.timeline(t, a, NULL, v) FROM (VALUES
	('2024-03-05 12:00'::timestamptz, true, 1.0), ('2024-03-05 12:30', NULL, 1.00), ('2024-03-05 13:00', NULL, 100), ('2024-03-05 14:00', false, 5)) e (t, a, v))) s;

-- The order of reading never matters, nor how often an event is read, nor whether workers share the reading.
CREATE TEMP TABLE tick AS
	SELECT n % 7 AS resource, '2024-03-05'::timestamptz + (n * 7919 % 3600) * interval '1 minute' AS "time",
		CASE n % 3 WHEN 0 THEN true WHEN 1 THEN false END AS active, nullif(n % 5, 0)::text AS label, nullif(n % 4, 0)::numeric AS value
	FROM generate_series(1, 3000) n;
CREATE TABLE public.tick_shared AS SELECT * FROM tick;
ALTER TABLE public.tick_shared SET (parallel_workers = 2);
ANALYZE public.tick_shared;
WITH way AS (
	SELECT resource, 'by time' AS way, meter.timeline("time", active, label, value ORDER BY "time") AS line FROM tick GROUP BY resource
	UNION ALL
	SELECT resource, 'backwards', meter.timeline("time", active, label, value ORDER BY "time" DESC, label DESC, value) FROM tick GROUP BY resource
	UNION ALL
	SELECT resource, 'twice', meter.timeline("time", active, label, value) FROM (SELECT * FROM tick UNION ALL SELECT * FROM tick) t GROUP BY resource)
SELECT resource, count(*) AS ways, count(DISTINCT line::text) AS timelines FROM way GROUP BY resource ORDER BY resource;

SET parallel_setup_cost = 0;
SET parallel_tuple_cost = 0;
SET min_parallel_table_scan_size = 0;
SET max_parallel_workers_per_gather = 2;
CREATE FUNCTION pg_temp.plan_says(query text, fact text) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
	line text;
BEGIN
	FOR line IN EXECUTE 'EXPLAIN (COSTS OFF) ' || query LOOP
		IF line LIKE '%' || fact || '%' THEN
			RETURN true;
		END IF;
	END LOOP;
	RETURN false;
END $$;
SELECT pg_temp.plan_says('SELECT resource, meter.timeline("time", active, label, value) FROM public.tick_shared GROUP BY resource', 'Partial') AS in_parallel;
CREATE TEMP TABLE shared AS SELECT resource, meter.timeline("time", active, label, value)::text AS line FROM public.tick_shared GROUP BY resource;
RESET max_parallel_workers_per_gather;
SELECT count(*) AS resources, bool_and(s.line = t.line) AS same
FROM shared s JOIN (SELECT resource, meter.timeline("time", active, label, value)::text AS line FROM tick GROUP BY resource) t USING (resource);
DROP TABLE public.tick_shared;

-- A long one is stored out of line and comes back whole.
CREATE TEMP TABLE long AS
	SELECT meter.timeline('2024-01-01'::timestamptz + n * interval '1 minute', n % 2 = 0, 'label ' || md5(n::text), n) AS line FROM generate_series(0, 9999) n;
SELECT meter.duration(line), (SELECT count(*) FROM meter.spans(line)) AS spans, pg_column_size(line) > 2000 AS long,
	line::text::meter.timeline::text = line::text AS same FROM long;

-- No events, no timeline; NULL in, NULL out.
SELECT meter.timeline("time", active) IS NULL AS no_events FROM vm WHERE false;
SELECT meter.duration(NULL) IS NULL AS duration, meter.active_at(NULL, now()) IS NULL AS active_at, meter.weighted(NULL, '[2024-03-05, 2024-03-06)') IS NULL AS weighted,
	(SELECT count(*) FROM meter.spans(NULL)) AS spans, (SELECT count(*) FROM meter.periods(NULL, '[2024-03-05, 2024-03-06)', '1 hour')) AS periods;

-- The grid. A local day begins at the first instant whose local date is that date or a later one, and shorter periods count from there.
CREATE FUNCTION pg_temp.grid(during tstzrange, period interval, zone text) RETURNS TABLE (period_start text, billed interval) LANGUAGE sql AS $$
	SELECT to_char(period_start AT TIME ZONE zone, 'Dy DD Mon HH24:MI'), billed
	FROM meter.periods((SELECT meter.timeline('2000-01-01', true)), during, period, '1 minute', 'none', zone)
$$;
SELECT * FROM pg_temp.grid('[2024-03-09 05:00, 2024-03-12 04:00)', '1 day', 'America/New_York');		-- a day of 23 hours
SELECT * FROM pg_temp.grid('[2024-11-02 04:00, 2024-11-05 05:00)', '1 day', 'America/New_York');		-- and one of 25
SELECT * FROM pg_temp.grid('[2024-11-03 04:00, 2024-11-04 05:00)', '6 hours', 'America/New_York');		-- whose 25th hour is a row of its own
SELECT * FROM pg_temp.grid('[2024-04-06 13:00, 2024-04-07 13:30)', '12 hours', 'Australia/Lord_Howe');	-- half an hour
SELECT * FROM pg_temp.grid('[2011-12-29 10:00, 2012-01-01 10:00)', '1 day', 'Pacific/Apia');			-- there was no 30 December
SELECT * FROM pg_temp.grid('[2020-11-01 04:00, 2020-11-02 05:00)', '1 day', 'America/Havana');			-- two midnights
SELECT * FROM pg_temp.grid('[2024-02-26, 2024-03-18)', '1 week', 'UTC');								-- from Monday
SELECT * FROM pg_temp.grid('[2023-12-01, 2024-12-01)', '3 months', 'UTC');								-- from January

-- What is refused, and why. (pg_temp.try runs a statement and says how it fails.)
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
\pset format unaligned
SELECT what, pg_temp.try('SELECT ' || replace(what, 'LINE', $$(SELECT meter.timeline('2024-03-05', true))$$)) AS outcome
FROM unnest(ARRAY[
	$$meter.timeline('infinity', true)$$,
	$$meter.timeline('-infinity', false)$$,
	$$meter.timeline(NULL::timestamptz, true)$$,
	$$meter.timeline('2024-03-05', true, 'a', 'NaN')$$,
	$$meter.timeline('2024-03-05', true, 'a', 'Infinity')$$,
	$$meter.duration(LINE, '[2024-03-05, 2024-03-06)', '1 minute', 'sideways')$$,
	$$meter.duration(LINE, '[2024-03-05, 2024-03-06)', '0')$$,
	$$meter.duration(LINE, '[2024-03-05, 2024-03-06)', '-1 minute')$$,
	$$meter.duration(LINE, '[2024-03-05, 2024-03-06)', '7 minutes')$$,
	$$meter.duration(LINE, '[2024-03-05, 2024-03-06)', '1 month')$$,
	$$meter.duration(LINE, '[2024-03-05,)')$$,
	$$meter.weighted(LINE, '[2024-03-05,)')$$,
	$$meter.weighted(LINE, '[2024-03-05, 2024-03-06)', '0')$$,
	$$meter.weighted(LINE, '[2024-03-05, 2024-03-06)', '1 month')$$,
	$$meter.periods(LINE, '[2024-03-05,)', '1 hour')$$,
	$$meter.periods(LINE, '[2024-03-05, 2024-03-06)', '7 hours')$$,
	$$meter.periods(LINE, '[2024-03-05, 2024-03-06)', '24 hours')$$,
	$$meter.periods(LINE, '[2024-03-05, 2024-03-06)', '2 days')$$,
	$$meter.periods(LINE, '[2024-03-05, 2024-03-06)', '5 months')$$,
	$$meter.periods(LINE, '[2024-03-05, 2024-03-06)', '1 month 3 days')$$,
	$$meter.periods(LINE, '[2024-03-05, 2024-03-06)', '0')$$,
	$$meter.periods(LINE, '[2024-03-05, 2024-03-06)', '1 hour', '25 minutes')$$,
	$$meter.periods(LINE, '[2024-03-05, 2024-03-06)', '1 hour', '40 minutes')$$,
	$$meter.periods(LINE, '[2024-03-05, 2024-03-06)', '1 hour', '1 minute', 'up', 'Mars/Olympus')$$,
	$$''::meter.timeline$$,
	$$'nonsense'::meter.timeline$$]) what;
