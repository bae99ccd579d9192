-- Promise: whatever the events, their order, and how they are split into partial states, the aggregates and functions on
-- timelines say what plain SQL says.
--
--     psql -v seed=0.5 -v groups=10000 -f test/timeline_property.sql
--
-- Random events of many groups (ties, NULLs, duplicates, any order) are read three ways: serially, by parallel workers, and
-- by partitions whose partial states are combined. Printed are lines 'what<TAB>differences'; all must be 0. The oracle uses
-- no function of the extension: window functions, generate_series and multiranges only.

SET timezone = 'UTC';
SET jit = off;
SET client_min_messages = warning;
DROP SCHEMA IF EXISTS property CASCADE;
CREATE SCHEMA property;
SET search_path = property;
SELECT setseed(:seed) \g /dev/null

-- --- random events: groups of 0 to 16 within six hours, on a grid of minutes, seconds or microseconds -------------------

CREATE TABLE event (g int, part int, t timestamptz, active boolean, label text, value numeric, during tstzrange) PARTITION BY LIST (part);
CREATE TABLE event_0 PARTITION OF event FOR VALUES IN (0);
CREATE TABLE event_1 PARTITION OF event FOR VALUES IN (1);
CREATE TABLE event_2 PARTITION OF event FOR VALUES IN (2);

CREATE TABLE drawn AS
SELECT g, floor(random() * 3)::int AS part,
	CASE WHEN random() < 0.02 THEN NULL
		WHEN coarse < 0.4 THEN '2024-03-05 00:00'::timestamptz + floor(random() * 72) * interval '5 minutes'
		WHEN coarse < 0.8 THEN '2024-03-05 00:00'::timestamptz + floor(random() * 360) * interval '1 minute'
		ELSE '2024-03-05 00:00'::timestamptz + random() * interval '6 hours' END AS t,
	(ARRAY[true, true, false, false, NULL])[1 + floor(random() * 5)::int] AS active,
	(ARRAY['large', 'small', '', 'a"\b', NULL, NULL, NULL])[1 + floor(random() * 7)::int] AS label,
	(ARRAY[4, 2.50, 0, -1, NULL, NULL, NULL])[1 + floor(random() * 7)::int] AS value
FROM (SELECT g, random() AS coarse, floor(random() * 17)::int AS n FROM generate_series(1, :groups) g) groups,
	generate_series(1, n) i
ORDER BY random();
INSERT INTO drawn SELECT g, floor(random() * 3), t, active, label, value FROM drawn WHERE random() < 0.05;	-- duplicates
-- a window for each group, often on the grid, sometimes empty
CREATE TABLE win AS
SELECT g, tstzrange(begins, begins + greatest(ends, 0) * interval '1 second') AS during
FROM (SELECT g, '2024-03-05 00:00'::timestamptz
			+ CASE WHEN random() < 0.5 THEN floor(random() * 6) * 3600 ELSE floor(random() * 21600) END * interval '1 second' AS begins,
		CASE WHEN random() < 0.5 THEN floor(random() * 4) * 3600 ELSE floor(random() * 14400) - 500 END AS ends
	FROM generate_series(1, :groups) g) w;
INSERT INTO event SELECT d.*, during FROM drawn d JOIN win USING (g);
ANALYZE;

-- --- the oracle ---------------------------------------------------------------------------------------------------------

CREATE TABLE instant AS
SELECT g, t,
	nullif(coalesce(bool_or(active), false)::int - coalesce(bool_or(NOT active), false)::int, 0) AS turn,	-- 1 opens, -1 closes
	coalesce(max(label COLLATE "C") FILTER (WHERE active IS NULL), max(label COLLATE "C") FILTER (WHERE active)) AS label,
	coalesce((array_agg(value ORDER BY label COLLATE "C" DESC NULLS LAST, value DESC)
				FILTER (WHERE active IS NULL AND value IS NOT NULL))[1],
			 (array_agg(value ORDER BY label COLLATE "C" DESC NULLS LAST, value DESC)
				FILTER (WHERE active AND value IS NOT NULL))[1]) AS value
FROM event WHERE t IS NOT NULL
GROUP BY g, t;

-- what holds from each instant on, carried forward
CREATE TABLE piece AS
SELECT g, t AS begins, lead(t) OVER (PARTITION BY g ORDER BY t) AS ends, open = 1 AS open, label, trim_scale(value) AS value
FROM (SELECT g, t, first_value(turn) OVER (PARTITION BY g, nturn ORDER BY t) AS open,
		first_value(label) OVER (PARTITION BY g, nlabel ORDER BY t) AS label,
		first_value(value) OVER (PARTITION BY g, nvalue ORDER BY t) AS value
	FROM (SELECT *, count(turn) OVER w AS nturn, count(label) OVER w AS nlabel, count(value) OVER w AS nvalue
		FROM instant WINDOW w AS (PARTITION BY g ORDER BY t)) numbered) carried;

-- neighbours that are alike joined: by label and value, by label alone, and by neither
CREATE FUNCTION islands(by_label boolean, by_value boolean)
RETURNS TABLE (g int, begins timestamptz, ends timestamptz, label text, value numeric) LANGUAGE sql STABLE AS $$
	SELECT g, min(begins), CASE WHEN bool_or(ends IS NULL) THEN NULL ELSE max(ends) END, min(label COLLATE "C"), min(value)
	FROM (SELECT *, count(*) FILTER (WHERE new) OVER (PARTITION BY g ORDER BY begins) AS island
		FROM (SELECT g, begins, ends, open, CASE WHEN by_label THEN label END AS label, CASE WHEN by_value THEN value END AS value,
				(lag(open) OVER w, by_label AND lag(label) OVER w IS DISTINCT FROM label, by_value AND lag(value) OVER w IS DISTINCT FROM value)
					IS DISTINCT FROM (open, false, false) AS new
			FROM property.piece WINDOW w AS (PARTITION BY g ORDER BY begins)) marked) numbered
	WHERE open
	GROUP BY g, island
$$;
CREATE TABLE span AS SELECT * FROM islands(true, true);
CREATE TABLE label_span AS SELECT * FROM islands(true, false);
CREATE TABLE run AS SELECT * FROM islands(false, false);
CREATE INDEX ON instant (g);
CREATE INDEX ON span (g);
CREATE INDEX ON label_span (g);
CREATE INDEX ON run (g);
ANALYZE;

CREATE TABLE expected AS
SELECT g.g, w.during,
	(SELECT max(t) FROM instant i WHERE i.g = g.g) AS last,
	(SELECT string_agg(format('%s/%s/%s/%s', begins, ends, coalesce(quote_literal(label), '-'), coalesce(value::text, '-')), ' ' ORDER BY begins)
		FROM span s WHERE s.g = g.g) AS spans
FROM (SELECT DISTINCT g FROM event WHERE t IS NOT NULL) g JOIN win w USING (g);
CREATE INDEX ON expected (g);
ANALYZE expected;

-- seconds of a range, without its inclusive bounds' ado
CREATE FUNCTION seconds(r tstzrange) RETURNS numeric LANGUAGE sql IMMUTABLE AS $$
	SELECT CASE WHEN isempty(r) THEN 0 ELSE extract(epoch FROM upper(r) - lower(r)) END
$$;
CREATE FUNCTION unit_begin(t timestamptz) RETURNS timestamptz LANGUAGE sql IMMUTABLE AS $$
	SELECT date_bin('10 minutes', t, '2000-01-01Z')
$$;
CREATE FUNCTION unit_end(t timestamptz) RETURNS timestamptz LANGUAGE sql IMMUTABLE AS $$
	SELECT CASE WHEN date_bin('10 minutes', t, '2000-01-01Z') = t THEN t ELSE date_bin('10 minutes', t, '2000-01-01Z') + interval '10 minutes' END
$$;

-- each unit of ten minutes, to whom it belongs that touched it first; an open run goes on to beyond any window
CREATE TABLE unit AS
SELECT DISTINCT ON (g, u) g, tstzrange(u, u + interval '10 minutes') AS unit, label, value
FROM span, generate_series(unit_begin(begins), coalesce(ends, '2024-03-05 12:00') - interval '1 microsecond', '10 minutes') u
ORDER BY g, u, begins;
CREATE TABLE label_unit AS
SELECT DISTINCT ON (g, u) g, tstzrange(u, u + interval '10 minutes') AS unit, label
FROM label_span, generate_series(unit_begin(begins), coalesce(ends, '2024-03-05 12:00') - interval '1 microsecond', '10 minutes') u
ORDER BY g, u, begins;

CREATE INDEX ON label_unit (g);
ANALYZE;

CREATE TABLE expected_duration AS
SELECT w.g,
	(SELECT coalesce(sum(seconds(tstzrange(begins, greatest(begins, coalesce(ends, last))))), 0) FROM run r WHERE r.g = w.g) AS whole,
	(SELECT coalesce(sum(seconds(tstzrange(begins, ends) * during)), 0) FROM run r WHERE r.g = w.g) AS exact,
	(SELECT coalesce(sum(seconds(unit * during)), 0) FROM label_unit u WHERE u.g = w.g) AS up,
	(SELECT coalesce(sum(seconds(tstzrange(unit_end(begins), greatest(unit_end(begins), unit_begin(coalesce(ends, '2024-03-06')))) * during)), 0)
		FROM label_span s WHERE s.g = w.g) AS down,
	(SELECT coalesce(sum(seconds(tstzrange(unit_begin(begins + interval '5 minutes'),
				unit_begin(coalesce(ends, '2024-03-06') + interval '5 minutes')) * during)), 0)
		FROM label_span s WHERE s.g = w.g) AS nearest,
	(SELECT coalesce(sum(value * seconds(tstzrange(begins, ends) * during)), 0) FROM span s WHERE s.g = w.g) AS weighted
FROM expected w;
CREATE INDEX ON expected_duration (g);

-- --- the extension, three ways ------------------------------------------------------------------------------------------

CREATE FUNCTION spans_text(line meter.timeline) RETURNS text LANGUAGE sql STABLE AS $$
	SELECT string_agg(format('%s/%s/%s/%s', lower(during), upper(during), coalesce(quote_literal(label), '-'), coalesce(value::text, '-')), ' ' ORDER BY during)
	FROM meter.spans(line)
$$;

CREATE VIEW said AS
SELECT g, meter.timeline(t, active, label, value) AS line, meter.timeline(t, active) AS plain, meter.timeline(t, active, label) AS labelled,
	meter.billed(t, active) AS billed, meter.billed(t, active, during) AS billed_window,
	meter.billed(t, active, during, '10 minutes') AS billed_up,
	meter.levels(t, value) AS levels, meter.heartbeats(t, CASE WHEN active THEN interval '7 minutes' ELSE '20 minutes' END) AS beats
FROM event GROUP BY g;

CREATE FUNCTION plan_of(query text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE line text; plan text := '';
BEGIN
	FOR line IN EXECUTE 'EXPLAIN (COSTS OFF) ' || query LOOP plan := plan || line || E'\n'; END LOOP;
	RETURN plan;
END
$$;
\t on
\pset format unaligned
\pset fieldsep '\t'

SET max_parallel_workers_per_gather = 0;
CREATE TABLE serial AS SELECT * FROM said;
SET max_parallel_workers_per_gather = 2;
SET parallel_setup_cost = 0;
SET parallel_tuple_cost = 0.5;	-- rows are to be few before they are gathered,
SET cpu_tuple_cost = 1;			-- or appended
SET min_parallel_table_scan_size = 0;
SELECT 'workers make partial states', (plan_of('SELECT * FROM said') !~ 'Gather.*Partial')::int;
CREATE TABLE parallel AS SELECT * FROM said;
SET max_parallel_workers_per_gather = 0;
SET enable_partitionwise_aggregate = on;
SELECT 'partitions are combined', (plan_of('SELECT * FROM said') !~ 'Append.*Partial')::int;
CREATE TABLE parts AS SELECT * FROM said;
RESET cpu_tuple_cost;
RESET enable_partitionwise_aggregate;


-- --- not one difference -------------------------------------------------------------------------------------------------

SELECT 'groups without events', count(*) FROM serial WHERE line IS NULL AND EXISTS (SELECT FROM expected w WHERE w.g = serial.g)
	OR line IS NOT NULL AND NOT EXISTS (SELECT FROM expected w WHERE w.g = serial.g);
DELETE FROM serial WHERE line IS NULL;
SELECT 'parallel', count(*) FROM serial s JOIN parallel p USING (g) WHERE (s.line::text, s.plain::text, s.labelled::text, s.billed, s.billed_window, s.billed_up, s.levels::text, s.beats::text)
	IS DISTINCT FROM (p.line::text, p.plain::text, p.labelled::text, p.billed, p.billed_window, p.billed_up, p.levels::text, p.beats::text);
SELECT 'combined', count(*) FROM serial s JOIN parts p USING (g) WHERE (s.line::text, s.plain::text, s.labelled::text, s.billed, s.billed_window, s.billed_up, s.levels::text, s.beats::text)
	IS DISTINCT FROM (p.line::text, p.plain::text, p.labelled::text, p.billed, p.billed_window, p.billed_up, p.levels::text, p.beats::text);
SELECT 'missing', count(*) FROM expected LEFT JOIN serial USING (g) WHERE line IS NULL;
SELECT 'spans', count(*) FROM expected JOIN serial USING (g) WHERE spans_text(line) IS DISTINCT FROM spans;
SELECT 'spans without labels', count(*) FROM serial s WHERE spans_text(plain) IS DISTINCT FROM
	(SELECT string_agg(format('%s/%s/-/-', begins, ends), ' ' ORDER BY begins) FROM run r WHERE r.g = s.g);
SELECT 'text reads back', count(*) FROM serial WHERE line::text::meter.timeline <> line OR plain::text::meter.timeline <> plain;
SELECT 'duration', count(*) FROM expected_duration d JOIN serial USING (g) WHERE extract(epoch FROM meter.duration(line)) <> whole;
SELECT 'duration in a window', count(*) FROM expected_duration d JOIN serial USING (g) JOIN win USING (g)
	WHERE extract(epoch FROM meter.duration(line, during)) <> exact;
SELECT 'rounded up', count(*) FROM expected_duration d JOIN serial USING (g) JOIN win USING (g)
	WHERE extract(epoch FROM meter.duration(line, during, '10 minutes')) <> up;
SELECT 'rounded down', count(*) FROM expected_duration d JOIN serial USING (g) JOIN win USING (g)
	WHERE extract(epoch FROM meter.duration(line, during, '10 minutes', 'down')) <> down;
SELECT 'rounded to the nearest', count(*) FROM expected_duration d JOIN serial USING (g) JOIN win USING (g)
	WHERE extract(epoch FROM meter.duration(line, during, '10 minutes', 'nearest')) <> nearest;
SELECT 'weighted', count(*) FROM expected_duration d JOIN serial USING (g) JOIN win USING (g) WHERE meter.weighted(line, during) <> weighted;
SELECT 'billed', count(*) FROM expected_duration d JOIN serial USING (g) JOIN win USING (g)
	WHERE extract(epoch FROM billed) <> whole OR extract(epoch FROM billed_window) <> exact
	OR billed_up <> meter.duration(plain, during, '10 minutes');
SELECT 'up >= exact >= down', count(*) FROM serial JOIN expected USING (g)
	WHERE meter.duration(line, '[2024-03-05, 2024-03-06)', '10 minutes', 'up') < meter.duration(line, '[2024-03-05, 2024-03-06)')
	OR meter.duration(line, '[2024-03-05, 2024-03-06)') < meter.duration(line, '[2024-03-05, 2024-03-06)', '10 minutes', 'down');
SELECT 'cuts add up', count(*) FROM serial JOIN expected USING (g),
	LATERAL (SELECT upper(during) + interval '17 minutes 3.000001 seconds' AS middle) m,
	unnest(ARRAY['up', 'down', 'nearest', 'none']) rounding
	WHERE NOT isempty(during)
	AND meter.duration(line, during, '10 minutes', rounding) + meter.duration(line, tstzrange(upper(during), middle), '10 minutes', rounding)
		<> meter.duration(line, tstzrange(lower(during), middle), '10 minutes', rounding);
SELECT 'periods', count(*) FROM
	(SELECT g, p.* FROM serial JOIN win USING (g), meter.periods(line, during, '1 hour', '10 minutes') p) said
	FULL JOIN
	(SELECT g, date_trunc('hour', lower(unit)) AS period_start, label, value, sum(seconds(unit * during)) * interval '1 second' AS billed
	FROM unit JOIN win USING (g) WHERE unit && during GROUP BY 1, 2, 3, 4) expected
	ON (said.g, said.period_start, said.billed) = (expected.g, expected.period_start, expected.billed)
		AND coalesce('=' || said.label, '') = coalesce('=' || expected.label, '') AND coalesce(said.value, 99) = coalesce(expected.value, 99)
	WHERE said.g IS NULL OR expected.g IS NULL;
SELECT 'active at', count(*) FROM serial JOIN expected USING (g), generate_series('2024-03-05 00:00'::timestamptz, '2024-03-05 07:00', '37 minutes') t
	WHERE meter.active_at(line, t) <> EXISTS (SELECT FROM run r WHERE r.g = serial.g AND t >= begins AND (t < ends OR ends IS NULL));
SELECT 'heartbeats', count(*) FROM serial LEFT JOIN
	(SELECT g, range_agg(tstzrange(t, t + CASE WHEN active THEN interval '7 minutes' ELSE '20 minutes' END)) AS beats FROM event WHERE t IS NOT NULL GROUP BY g) expected
	USING (g) WHERE expected.beats IS DISTINCT FROM (SELECT range_agg(during) FROM meter.spans(serial.beats));
SELECT 'levels', count(*) FROM
	(SELECT g, s.during, s.value FROM serial, meter.spans(levels) s) said
	FULL JOIN
	(SELECT g, tstzrange(min(t), CASE WHEN bool_or(next IS NULL) THEN NULL ELSE max(next) END) AS during, level AS value
	FROM (SELECT *, count(*) FILTER (WHERE new) OVER (PARTITION BY g ORDER BY t) AS island
		FROM (SELECT g, t, level, lead(t) OVER w AS next, lag(level) OVER w IS DISTINCT FROM level AS new
			FROM (SELECT g, t, trim_scale(sum(sum(value)) OVER (PARTITION BY g ORDER BY t)) AS level FROM event WHERE t IS NOT NULL AND value IS NOT NULL GROUP BY g, t) l
			WINDOW w AS (PARTITION BY g ORDER BY t)) marked) numbered
	WHERE level <> 0 GROUP BY g, island, level) expected
	ON said.g = expected.g AND said.during = expected.during AND said.value = expected.value
	WHERE said.g IS NULL OR expected.g IS NULL;
SELECT 'merge', count(*) FROM
	(SELECT g % (:groups / 4) AS m, meter.merge(line ORDER BY random()) AS line FROM serial GROUP BY 1) said JOIN
	(SELECT g % (:groups / 4) AS m, range_agg(tstzrange(begins, ends)) AS covered FROM run GROUP BY 1) expected USING (m)
	WHERE covered <> (SELECT range_agg(during) FROM meter.spans(line));
SELECT 'merge is plain', count(*) FROM (SELECT meter.merge(line) AS line FROM serial GROUP BY g % 7) m, meter.spans(line) WHERE label IS NOT NULL OR value IS NOT NULL;
DROP SCHEMA property CASCADE;
