-- Promise: each rounding bills what it says, a unit of increment at most once, and any cut of the rounded time adds up.
SET timezone = 'UTC';
SET datestyle = 'ISO';
SET intervalstyle = 'postgres';

-- Small histories of one resource each. The account "geneva-jug" is the one of the examples.
CREATE TEMP TABLE history (n int, what text, "time" time, action text, account text, label text);
INSERT INTO history VALUES
	( 1, '12:00 to 12:15',                      '12:00:00', 'start',  'geneva-jug', 'm'),
	( 1, '12:00 to 12:15',                      '12:15:00', 'stop',   NULL, NULL),
	( 2, '12:00:40 to 12:15:20',                '12:00:40', 'start',  'geneva-jug', 'm'),
	( 2, '12:00:40 to 12:15:20',                '12:15:20', 'stop',   NULL, NULL),
	( 3, 'stop and restart within a minute',    '12:00:00', 'start',  'geneva-jug', 'm'),
	( 3, 'stop and restart within a minute',    '12:05:20', 'stop',   NULL, NULL),
	( 3, 'stop and restart within a minute',    '12:05:40', 'start',  NULL, NULL),
	( 3, 'stop and restart within a minute',    '12:10:00', 'stop',   NULL, NULL),
	( 4, 'resize within a minute',              '12:00:00', 'start',  'geneva-jug', 'm'),
	( 4, 'resize within a minute',              '12:05:20', 'change', NULL, 'l'),
	( 4, 'resize within a minute',              '12:10:00', 'stop',   NULL, NULL),
	( 5, 'transfer to another account',         '12:00:00', 'start',  'geneva-jug', 'm'),
	( 5, 'transfer to another account',         '12:05:40', 'change', 'basel-cup', NULL),
	( 5, 'transfer to another account',         '12:10:00', 'stop',   NULL, NULL),
	( 6, 'start and stop at one instant, open', '12:00:00', 'start',  'geneva-jug', 'm'),
	( 6, 'start and stop at one instant, open', '12:05:30', 'stop',   NULL, NULL),
	( 6, 'start and stop at one instant, open', '12:05:30', 'start',  NULL, 'l'),
	( 6, 'start and stop at one instant, open', '12:10:00', 'stop',   NULL, NULL),
	( 7, 'a run of no length',                  '12:00:30', 'start',  'geneva-jug', 'm'),
	( 7, 'a run of no length',                  '12:00:30', 'stop',   NULL, NULL),
	( 8, 'an orphan stop',                      '12:00:00', 'stop',   'geneva-jug', 'm'),
	( 8, 'an orphan stop',                      '12:05:00', 'start',  'geneva-jug', 'm'),
	( 8, 'an orphan stop',                      '12:10:00', 'stop',   NULL, NULL),
	( 8, 'an orphan stop',                      '12:12:00', 'stop',   NULL, NULL),
	( 9, 'a doubled start',                     '12:00:00', 'start',  'geneva-jug', 'm'),
	( 9, 'a doubled start',                     '12:00:00', 'start',  'geneva-jug', 'm'),
	( 9, 'a doubled start',                     '12:05:00', 'start',  'geneva-jug', 'm'),
	( 9, 'a doubled start',                     '12:10:00', 'stop',   NULL, NULL),
	(10, 'one microsecond',                     '12:00:30', 'start',  'geneva-jug', 'm'),
	(10, 'one microsecond',                     '12:00:30.000001', 'stop', NULL, NULL),
	(11, 'over the hour, less than a unit',     '12:59:40', 'start',  'geneva-jug', 'm'),
	(11, 'over the hour, less than a unit',     '13:00:20', 'stop',   NULL, NULL),
	(12, 'on for 30 s in each of ten minutes',  NULL,       NULL,     NULL, NULL);
INSERT INTO history
	SELECT 12, what, '12:00:15'::time + (k * 30) * interval '1 second', CASE k % 2 WHEN 0 THEN 'start' ELSE 'stop' END, 'geneva-jug', 'm'
	FROM history, generate_series(0, 19) k WHERE n = 12;
DELETE FROM history WHERE "time" IS NULL;

-- As SQL functions over a timeline. `down` bills whole units that one label held throughout, `nearest` moves both ends of a span to
-- the nearest boundary, `none` is exact.
SELECT n, what, meter.duration(line, during, '1 minute', 'up') AS up, meter.duration(line, during, '1 minute', 'down') AS down,
	meter.duration(line, during, '1 minute', 'nearest') AS nearest, meter.duration(line, during, '1 minute', 'none') AS "none"
FROM (SELECT n, what, tstzrange('2024-03-05', '2024-03-06') AS during,
		meter.timeline('2024-03-05'::date + "time", CASE action WHEN 'start' THEN true WHEN 'stop' THEN false END, label) AS line
	  FROM history GROUP BY n, what) q
ORDER BY n;

-- A unit shared by two labels goes to the first that touched it.
SELECT rounding, p.label, p.billed
FROM (SELECT meter.timeline('2024-03-05'::date + "time", CASE action WHEN 'start' THEN true WHEN 'stop' THEN false END, label) AS line FROM history WHERE n = 4) q,
	unnest('{up,down,nearest,none}'::text[]) WITH ORDINALITY r (rounding, i),
	meter.periods(line, '[2024-03-05 12:00, 2024-03-05 13:00)', '1 hour', '1 minute', rounding) p
ORDER BY i, label DESC;

-- Windows cut the rounded timeline exactly, so any cut adds up: the whole is 16 minutes, and so are its parts.
SELECT meter.duration(line, '[2024-03-05 12:00, 2024-03-05 13:00)', '1 minute', 'up') AS whole,
	meter.duration(line, '[2024-03-05 12:00, 2024-03-05 12:00:30)', '1 minute', 'up') AS before_the_start,
	meter.duration(line, '[2024-03-05 12:00:30, 2024-03-05 12:07:11.5)', '1 minute', 'up') AS then,
	meter.duration(line, '[2024-03-05 12:07:11.5, 2024-03-05 13:00)', '1 minute', 'up') AS rest
FROM (SELECT meter.timeline('2024-03-05'::date + "time", action = 'start', label) AS line FROM history WHERE n = 2) q;

-- The same by streams: a meter for each rounding. A resource is named after its history.
SELECT meter.create_stream('rounding');
SELECT meter.create_meter('rounding', rounding, starts => '{start}', stops => '{stop}', changes => '{change}', rounding => rounding, lateness => '0')
FROM unnest('{up,down,nearest,none}'::text[]) rounding;
INSERT INTO rounding.event ("time", resource, account, action, offering)
	SELECT '2024-03-05'::date + "time", to_char(n, '00 ') || what, account, action, label FROM history;
SET meter.now = '2024-03-05 14:00';
SELECT meter, watermark FROM meter.advance('rounding') ORDER BY meter;

-- Minutes, by history, account and offering; no row where there is nothing to bill.
SELECT resource, account, dimensions ->> 'offering' AS offering,
	trim_scale(sum(quantity) FILTER (WHERE meter = 'up')) AS up, trim_scale(sum(quantity) FILTER (WHERE meter = 'down')) AS down,
	trim_scale(sum(quantity) FILTER (WHERE meter = 'nearest')) AS nearest, trim_scale(sum(quantity) FILTER (WHERE meter = 'none')) AS "none"
FROM rounding.usage GROUP BY 1, 2, 3 ORDER BY 1, 2 DESC, 3 DESC;

-- By hour, where a run crosses one.
SELECT meter, period_start, quantity FROM rounding.usage WHERE resource LIKE '%over the hour%' ORDER BY meter, period_start;

SELECT * FROM meter.verify('rounding');
SET client_min_messages = warning;
SELECT meter.drop_stream('rounding', delete_data => true);
