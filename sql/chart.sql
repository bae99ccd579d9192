-- Promise: a chart shows, column by column, whether a timeline was active all of the time, a part of it, or not at all.
SET timezone = 'UTC';
CREATE TEMP TABLE chart_lines AS SELECT vm, meter.timeline("time", active) AS line FROM (VALUES
	('whole', '2024-03-05 00:00Z'::timestamptz, true), ('whole', '2024-03-06 00:00Z', false),
	('twice', '2024-03-05 02:30Z', true), ('twice', '2024-03-05 06:00Z', false), ('twice', '2024-03-05 18:00Z', true), ('twice', '2024-03-05 18:01Z', false),
	('open', '2024-03-05 21:00Z', true), ('before', '2024-03-04 21:00Z', true), ('before', '2024-03-04 22:00Z', false)) v (vm, "time", active) GROUP BY vm;
SELECT vm, meter.chart(line, '[2024-03-05, 2024-03-06)', 24) FROM chart_lines ORDER BY vm;
SELECT vm, meter.chart(line, '[2024-03-05, 2024-03-06)'), length(meter.chart(line, '[2024-03-05, 2024-03-06)', 1000)) FROM chart_lines ORDER BY vm;
-- No timeline has no chart.
SELECT meter.chart(NULL, '[2024-03-05, 2024-03-06)') IS NULL AS "null", meter.chart(meter.timeline(NULL::timestamptz, true), '[2024-03-05, 2024-03-06)', 4) AS empty;
-- What cannot be drawn.
SELECT meter.chart(line, '[2024-03-05,)') FROM chart_lines;
SELECT meter.chart(line, '[-infinity, 2024-03-06)') FROM chart_lines;
SELECT meter.chart(line, 'empty') FROM chart_lines;
SELECT meter.chart(line, '[2024-03-05, 2024-03-06)', 0) FROM chart_lines;
SELECT meter.chart(line, '[2024-03-05, 2024-03-06)', 1001) FROM chart_lines;
SELECT meter.chart(line, '[2024-03-05 00:00, 2024-03-05 00:00:00.000009)', 10) FROM chart_lines;
DROP TABLE chart_lines;
