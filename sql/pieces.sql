-- A resource of many more events than are walked at once is billed as if they were: whoever is named late owns what was before,
-- units that spans share go to the first, and what no event named stays nobody's.
SET timezone = 'UTC';
SET meter.now = '2024-03-05 09:00Z';
SELECT meter.create_stream('pieces');
SELECT count(*) FROM (
	SELECT meter.create_meter('pieces', 'up', starts => '{start}', stops => '{stop}', changes => '{resize}', dimensions => '{offering}',
		rounding => 'up', increment => '1 minute', unit => '1 second', lateness => '0', since => '2024-03-05 09:00Z')
	UNION ALL SELECT meter.create_meter('pieces', 'exact', starts => '{start}', stops => '{stop}', changes => '{resize}', dimensions => '{offering}',
		rounding => 'none', unit => '1 second', lateness => '0', since => '2024-03-05 09:00Z')
	UNION ALL SELECT meter.create_meter('pieces', 'gb', aggregate => 'weighted', starts => '{start}', stops => '{stop}', changes => '{resize}',
		dimensions => '{}', rounding => 'none', unit => '1 second', lateness => '0', since => '2024-03-05 09:00Z')) m;
INSERT INTO pieces.event ("time", resource, account, action, offering, value)
-- each event has another value, and every tenth instant has two
SELECT '2024-03-05 09:00Z'::timestamptz + i / 11 * 10 * interval '0.1 s' + least(i % 11, 9) * interval '0.1 s', r,
	CASE WHEN r = 'named' AND i >= 90000 THEN CASE WHEN i % 7 = 0 THEN 'bob' ELSE 'ann' END END,
	CASE WHEN i % 1000 = 0 THEN 'start' WHEN i % 1000 = 990 THEN 'stop' ELSE 'resize' END, 'o' || i / 50 % 12, i + 1
FROM generate_series(0, 99999) i, unnest(ARRAY['named', 'nobody']) r;
SET meter.now = '2024-03-05 12:00Z';
SELECT meter, usage_rows FROM meter.advance('pieces') ORDER BY 1;
SELECT meter, resource, account, period_start, count(*), sum(quantity) FROM pieces.usage GROUP BY 1, 2, 3, 4 ORDER BY 1, 2, 3, 4;
SELECT md5(string_agg(format('%s %s %s %s %s %s', meter, resource, account, dimensions, period_start, quantity), E'\n'
	ORDER BY meter, resource, account, dimensions::text COLLATE "C", period_start)) FROM pieces.usage;
SELECT meter, resource, active, account, value, since, alive FROM pieces._resource_state ORDER BY 1, 2;
SELECT count(*) FROM meter.verify('pieces');
-- what SQL computes itself of the values
SELECT round((SELECT sum(value * extract(epoch FROM till - "time")) FROM (
		SELECT "time", coalesce(max(value) FILTER (WHERE action = 'resize'), max(value)) AS value, lead("time", 1, '2024-03-05 12:00Z') OVER (ORDER BY "time") AS till,
			sum(count(*) FILTER (WHERE action = 'start') - count(*) FILTER (WHERE action = 'stop')) OVER (ORDER BY "time") AS running
		FROM pieces.event WHERE resource = 'nobody' GROUP BY "time") e WHERE running = 1)
	- (SELECT sum(quantity) FROM pieces.usage WHERE meter = 'gb' AND resource = 'nobody'), 6) AS difference;
SET client_min_messages = warning;
SELECT meter.drop_stream('pieces', delete_data => true);
