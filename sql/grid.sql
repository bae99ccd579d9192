-- Promise: days, weeks and months are as long as they are where one lives; periods follow each other without gap or overlap.
SET timezone = 'UTC';
SET datestyle = 'ISO';
SET intervalstyle = 'postgres';

CREATE FUNCTION pg_temp.always() RETURNS meter.timeline LANGUAGE sql IMMUTABLE AS $$ SELECT '{[1990-01-01T00:00:00Z,)}'::meter.timeline $$;
CREATE FUNCTION pg_temp.grid(zone text, begins text, ends text, period interval) RETURNS TABLE (begins_utc timestamptz, length interval) LANGUAGE sql AS $$
	SELECT period_start, billed FROM meter.periods(pg_temp.always(), tstzrange(begins::timestamptz, ends::timestamptz), period, timezone => zone)
$$;

-- Days on which clocks are set: 23 and 25 hours; half an hour; a day that is not; midnights that come twice or never.
SELECT 'New York', * FROM pg_temp.grid('America/New_York', '2024-03-09 05:00', '2024-03-12 04:00', '1 day');
SELECT 'New York', * FROM pg_temp.grid('America/New_York', '2024-11-02 04:00', '2024-11-05 05:00', '1 day');
SELECT 'Zurich', * FROM pg_temp.grid('Europe/Zurich', '2024-03-29 23:00', '2024-03-31 22:00', '1 day');
SELECT 'Zurich', * FROM pg_temp.grid('Europe/Zurich', '2024-10-25 22:00', '2024-10-27 23:00', '1 day');
SELECT 'Lord Howe', * FROM pg_temp.grid('Australia/Lord_Howe', '2024-10-04 13:30', '2024-10-06 13:00', '1 day');
SELECT 'Lord Howe', * FROM pg_temp.grid('Australia/Lord_Howe', '2024-04-05 13:00', '2024-04-07 13:30', '1 day');
SELECT 'Apia, no 30 December', * FROM pg_temp.grid('Pacific/Apia', '2011-12-29 10:00', '2012-01-01 10:00', '1 day');
SELECT 'Havana, midnight twice', * FROM pg_temp.grid('America/Havana', '2020-10-31 04:00', '2020-11-02 05:00', '1 day');
SELECT 'St John''s, set at 00:01', * FROM pg_temp.grid('America/St_Johns', '2006-10-28 02:30', '2006-10-30 03:30', '1 day');
SELECT 'Sao Paulo, no midnight', * FROM pg_temp.grid('America/Sao_Paulo', '2018-11-03 03:00', '2018-11-05 02:00', '1 day');
SELECT 'Kolkata, half an hour', * FROM pg_temp.grid('Asia/Kolkata', '2024-03-04 18:30', '2024-03-04 20:30', '1 hour');

-- Periods shorter than a day count from local midnight in elapsed time; the last one ends with the day.
SELECT 'New York', * FROM pg_temp.grid('America/New_York', '2024-03-10 05:00', '2024-03-11 04:00', '6 hours');
SELECT 'New York', * FROM pg_temp.grid('America/New_York', '2024-11-03 04:00', '2024-11-04 05:00', '6 hours');
SELECT zone, count(*), sum(length) FROM (VALUES ('America/New_York', '2024-03-10 05:00', '2024-03-11 04:00'), ('America/New_York', '2024-11-03 04:00', '2024-11-04 05:00'),
	('Australia/Lord_Howe', '2024-04-06 13:00', '2024-04-07 13:30'), ('America/Havana', '2020-11-01 04:00', '2020-11-02 05:00')) v (zone, f, t), pg_temp.grid(zone, f, t, '1 hour') GROUP BY zone, f ORDER BY zone, f;

-- Weeks begin on Monday, months of 1, 2, 3, 4, 6 and 12 in January.
SELECT * FROM pg_temp.grid('UTC', '2024-03-04', '2024-03-18', '1 week');
SELECT 'New York', * FROM pg_temp.grid('America/New_York', '2024-03-01 05:00', '2024-04-01 04:00', '1 month');
SELECT 'Havana', * FROM pg_temp.grid('America/Havana', '2020-11-01 04:00', '2020-12-01 05:00', '1 month');
SELECT 'a leap February', * FROM pg_temp.grid('UTC', '2024-02-01', '2024-03-01', '1 month');
SELECT p, array_agg(begins_utc::date ORDER BY begins_utc) FROM unnest('{1 month,2 months,3 months,4 months,6 months,1 year}'::interval[]) p,
	pg_temp.grid('UTC', '2023-12-15', '2024-05-15', p) GROUP BY p ORDER BY p;

-- Whatever the zone: hours make up days, days weeks and months, months years.
CREATE TEMP TABLE zones AS SELECT unnest('{America/New_York,Europe/Zurich,Australia/Lord_Howe,Pacific/Apia,America/Havana,America/St_Johns,Asia/Kolkata,America/Sao_Paulo,Africa/Monrovia,UTC}'::text[]) AS zone;
CREATE TEMP TABLE cut AS SELECT zone, period, period_start, billed FROM zones, unnest('{1 hour,6 hours,1 day,7 days,1 month,3 months,1 year}'::interval[]) period,
	meter.periods(pg_temp.always(), '[2005-12-20,2012-01-20)', period, timezone => zone);
SELECT period, bool_and(total = interval '1 second' * extract(epoch FROM '2012-01-20Z'::timestamptz - '2005-12-20Z'::timestamptz)) AS all_of_it
FROM (SELECT zone, period, sum(billed) AS total FROM cut GROUP BY zone, period) t GROUP BY period ORDER BY period;
SELECT count(*) AS gaps_or_overlaps FROM (SELECT period_start + billed <> lead(period_start) OVER (PARTITION BY zone, period ORDER BY period_start) AS gap
	FROM cut WHERE period_start > '2005-12-20') g WHERE gap;
SELECT count(*) AS longer_begins_without_a_shorter_one FROM cut long WHERE period_start > '2005-12-20' AND period > '1 hour'
	AND NOT EXISTS (SELECT FROM cut short WHERE short.zone = long.zone AND short.period = interval '1 hour' AND short.period_start = long.period_start);

-- Units of increment count from local midnight, too: an hour in Kolkata begins at half past. A day is a day, however long.
SELECT * FROM meter.periods('{[2024-03-05T10:10:00Z,2024-03-05T10:20:00Z)}', NULL, '1 day', '1 hour', 'up', 'Asia/Kolkata');
SELECT * FROM meter.periods('{[2024-03-05T10:10:00Z,2024-03-05T10:40:00Z)}', NULL, '1 hour', '1 hour', 'up', 'Asia/Kolkata');
SELECT * FROM meter.periods('{[2024-11-03T10:10:00Z,2024-11-03T10:20:00Z)}', NULL, '1 day', '1 day', 'up', 'America/New_York');
SELECT * FROM meter.periods('{[2024-03-10T10:10:00Z,2024-03-10T10:20:00Z)}', NULL, '1 month', '1 day', 'up', 'America/New_York');

-- To the microsecond.
SELECT meter.duration('{[2024-03-05T10:00:00.000001Z,2024-03-05T10:00:00.000002Z)}', NULL, p), meter.duration('{[2024-03-05T10:00:00.000001Z,2024-03-05T10:00:00.000002Z)}', NULL, p, 'down') AS down,
	meter.duration('{[2024-03-05T10:00:00.000001Z,2024-03-05T10:00:00.000002Z)}', NULL, p, 'nearest') AS nearest FROM unnest('{1 microsecond,1 millisecond,1 second,1 minute,1 hour,1 day}'::interval[]) p;

-- The last periods there are.
SELECT * FROM meter.periods('{[294276-12-30T00:00:00Z,294276-12-31T23:59:59.999999Z)}', NULL, '1 year');
SELECT * FROM meter.periods('{[4714-11-24T00:00:00Z BC,4714-11-25T00:00:00Z BC)}', NULL, '12 months', '1 minute', 'down', 'Europe/Zurich');

-- What is refused; the hints are shown in timeline.sql.
\set VERBOSITY terse
SELECT FROM meter.periods('{}', NULL, '24 hours');
SELECT FROM meter.periods('{}', NULL, '1 month 3 days');
SELECT FROM meter.periods('{}', NULL, '5 months');
SELECT FROM meter.periods('{}', NULL, '2 days');
SELECT FROM meter.periods('{}', NULL, '7 minutes');
SELECT FROM meter.periods('{}', NULL, '0');
SELECT FROM meter.periods('{}', NULL, '-1 hours');
SELECT FROM meter.periods('{}', NULL, NULL);
SELECT FROM meter.periods('{}', NULL, '15 minutes', '10 minutes');
SELECT FROM meter.periods('{}', NULL, '1 hour', '7 minutes');
SELECT FROM meter.periods('{}', NULL, '1 hour', '1 month');
SELECT FROM meter.periods('{}', NULL, '1 hour', '1 minute', 'sideways');
SELECT FROM meter.periods('{}', NULL, '1 hour', NULL, 'up');
SELECT FROM meter.periods('{}', NULL, '1 hour', '1 minute', 'up', 'Atlantis');
SELECT meter.weighted('{}', NULL, '0');
SELECT meter.weighted('{}', NULL, '1 month');
SELECT FROM meter.periods('{[2024-03-05T10:00:00Z,)}', '[2024-03-05,)', '1 hour');
SELECT FROM meter.periods('{(,2024-03-05T10:00:00Z)}', NULL, '1 hour');
