-- Promise: the aggregates take rows in any order, as plain, partial and window aggregates, and say what they refuse.
SET timezone = 'UTC';
SET datestyle = 'ISO';
SET intervalstyle = 'postgres';

CREATE TEMP TABLE vm (name text, "time" timestamptz, active boolean, label text, value numeric);
INSERT INTO vm VALUES
	('a', '2024-03-05 12:00', true, 'small', 2), ('a', '2024-03-05 12:40', NULL, 'large', 8), ('a', '2024-03-05 13:30', false, NULL, NULL),
	('b', '2024-03-05 12:10', true, 'small', 2), ('b', '2024-03-05 12:50', false, NULL, NULL), ('b', '2024-03-05 14:00', true, NULL, NULL);

-- billed: duration(timeline(…)) in one step; exact, in a window, in units of increment (rounded up).
SELECT name, meter.billed("time", active), meter.billed("time", active, '[2024-03-05 12:30, 2024-03-05 15:00)') AS in_window,
	meter.billed("time", active, '[2024-03-05 12:30, 2024-03-05 15:00)', '1 hour') AS hours, meter.billed("time", active, NULL, '15 minutes') AS quarters
FROM vm GROUP BY name ORDER BY name;
SELECT name, meter.billed("time", active, '[2024-03-05 12:31, 2024-03-05 14:44)', '15 minutes')
	= meter.duration(meter.timeline("time", active), '[2024-03-05 12:31, 2024-03-05 14:44)', '15 minutes') AS same FROM vm GROUP BY name ORDER BY name;
-- the window may differ from group to group, not within one
SELECT name, meter.billed("time", active, CASE name WHEN 'a' THEN '[2024-03-05 12:30,)' ELSE 'empty' END::tstzrange) FROM vm GROUP BY name ORDER BY name;
SELECT meter.billed("time", active, tstzrange("time", NULL)) FROM vm;
SELECT meter.billed("time", active, '[2024-03-05,2024-03-06)', CASE name WHEN 'a' THEN interval '1 minute' END) FROM vm;
-- an open run needs an end
SELECT meter.billed("time", active, '[2024-03-05 12:30,)') FROM vm WHERE name = 'b';
SELECT meter.billed("time", active, '(,2024-03-05 15:00)') FROM vm WHERE name = 'b';

-- levels: the running sum of deltas, active while it is not 0.
SELECT meter.levels(t, d) FROM (VALUES ('2024-03-05 10:00'::timestamptz, 2.50), ('2024-03-05 12:00', -3), ('2024-03-05 11:00', 0.5),
	('2024-03-05 12:00', 1), ('2024-03-05 13:00', -1), ('2024-03-05 14:00', -0.25), (NULL, 3), ('2024-03-05 14:00', NULL)) e (t, d);
SELECT meter.levels(t, d) FROM (VALUES ('2024-03-05 10:00'::timestamptz, 1e30), ('2024-03-05 11:00', 1e-10), ('2024-03-05 12:00', -1e30)) e (t, d);

-- heartbeats: active for a while after each.
SELECT meter.heartbeats(t, '5 minutes') FROM unnest('{2024-03-05 10:00,2024-03-05 10:20,2024-03-05 10:04,2024-03-05 10:04,2024-03-05 10:09,NULL}'::timestamptz[]) t;
SELECT meter.heartbeats(t, liveness) FROM (VALUES ('2024-03-05 10:00'::timestamptz, interval '1 hour'), ('2024-03-05 10:10', '1 minute'), ('2024-03-05 12:00', '1 day'),
	('2024-03-05 09:00', NULL)) e (t, liveness);

-- merge: active where any is; a running one keeps it open, to the last that is known of any.
SELECT meter.merge(line) FROM (SELECT meter.timeline("time", active, label) AS line FROM vm GROUP BY name) x;
SELECT meter.merge(line) FROM (VALUES ('{[2024-03-05T10:00:00Z,2024-03-05T11:00:00Z) "a" 4}'::meter.timeline), ('{[2024-03-05T11:00:00Z,2024-03-05T12:00:00Z) "b"}'),
	('{[2024-03-05T13:00:00Z,2024-03-05T14:00:00Z)}'), ('{}'), (NULL)) v (line);

-- Nothing in, nothing out: NULL, as other aggregates; rows without a time are none; a timeline of events that start nothing is empty.
SELECT meter.timeline("time", active) IS NULL AS timeline, meter.billed("time", active) IS NULL AS billed, meter.levels("time", value) IS NULL AS levels,
	meter.heartbeats("time", '1 minute') IS NULL AS heartbeats FROM vm WHERE false;
SELECT meter.timeline(NULL::timestamptz, true) IS NULL AS timeline, meter.billed(NULL, true, 'empty') IS NULL AS billed, meter.levels('2024-03-05', NULL) IS NULL AS levels,
	meter.heartbeats('2024-03-05', NULL) IS NULL AS heartbeats, meter.merge(NULL) IS NULL AS merge;
SELECT meter.timeline("time", NULL), meter.timeline("time", false) AS stops, meter.billed("time", NULL), meter.merge('{}') FROM vm;
SELECT meter.duration(NULL, '[2024-03-05,2024-03-06)'), meter.weighted(NULL), meter.active_at(NULL, now()), (SELECT count(*) FROM meter.spans(NULL)) AS spans,
	(SELECT count(*) FROM meter.periods(NULL, '[2024-03-05,2024-03-06)', '1 hour')) AS periods;
SELECT meter.duration('{}'), meter.duration('{}', '(,)'), meter.weighted('{}'), meter.active_at('{}', now()), (SELECT count(*) FROM meter.periods('{}', '(,)', '1 month')) AS periods;

-- As window aggregates: what was known at each event; and of each event and the one before.
SELECT name, "time"::time, meter.billed("time", active) OVER (PARTITION BY name ORDER BY "time") AS so_far,
	meter.timeline("time", active, label) OVER (PARTITION BY name ORDER BY "time" ROWS 1 PRECEDING) AS last_two
FROM vm ORDER BY name, "time";
SELECT t, meter.levels(t, 1) OVER (ORDER BY t) AS levels, meter.heartbeats(t, '10 minutes') OVER (ORDER BY t DESC) AS beats
FROM generate_series('2024-03-05 10:00'::timestamptz, '2024-03-05 10:15', '5 minutes') t ORDER BY t;

-- Values compare as numbers, labels as bytes, whatever the collation; at one instant the greatest speaks last.
SELECT meter.timeline(t, true, label, value) FROM (VALUES ('2024-03-05 10:00'::timestamptz, 'b', 9.0), ('2024-03-05 10:00', 'b', 10), ('2024-03-05 10:00', 'B', 11)) e (t, label, value);

-- What is refused.
SELECT meter.timeline('infinity', true);
SELECT meter.billed('-infinity', true, '[2024-03-05,2024-03-06)');
SELECT meter.timeline('2024-03-05', true, 'a', 'NaN');
SELECT meter.timeline('2024-03-05', true, 'a', 'Infinity');
SELECT meter.levels('2024-03-05', '-Infinity');
SELECT meter.levels('infinity', 1);
SELECT meter.heartbeats('2024-03-05', '0');
SELECT meter.heartbeats('2024-03-05', '1 month');
SELECT meter.heartbeats('294276-12-31', '2 days');
SELECT meter.timeline('2024-03-05'::timestamptz + i * interval '1 hour', true, repeat(i::text, 6000000)) FROM generate_series(10, 40) i;

-- Times that do not fit into eight bytes with their kind work like all others.
SELECT meter.timeline(t, a), meter.billed(t, a) FROM (VALUES ('200000-01-01'::timestamptz, true), ('2024-01-01', true), ('2024-01-02', false), ('200000-01-02', false)) e (t, a);
-- beyond what an interval can hold
SELECT meter.duration('{[4714-11-24T00:00:00Z BC,294276-12-31T00:00:00Z)}');

-- They are planned as partial aggregates.
CREATE FUNCTION pg_temp.plan_has(query text, what text) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE line text;
BEGIN
	FOR line IN EXECUTE 'EXPLAIN (COSTS OFF) ' || query LOOP
		IF line LIKE '%' || what || '%' THEN RETURN true; END IF;
	END LOOP;
	RETURN false;
END
$$;
CREATE TABLE beats AS SELECT 'vm ' || i % 7 AS name, '2024-03-05'::timestamptz + i * 7919 % 86400 * interval '1 second' AS "time", i * 7919 % 86400 / 100 % 2 = 0 AS active
FROM generate_series(1, 5000) i;
ANALYZE beats;
CREATE TEMP TABLE serially AS SELECT name, meter.timeline("time", active) AS line, meter.timeline("time", active, name, 1) AS labelled, meter.levels("time", 1) AS levels,
	meter.heartbeats("time", '1 minute') AS beats, meter.billed("time", active, '[2024-03-05 03:00,2024-03-05 04:00)', '1 minute') AS billed FROM beats GROUP BY name;
SET parallel_setup_cost = 0;
SET parallel_tuple_cost = 0;
SET min_parallel_table_scan_size = 0;
SELECT pg_temp.plan_has('SELECT meter.billed("time", active) FROM beats GROUP BY name', 'Partial') AS billed, pg_temp.plan_has('SELECT meter.timeline("time", active, name, 1) FROM beats GROUP BY name', 'Partial') AS timeline,
	pg_temp.plan_has('SELECT meter.levels("time", 1) FROM beats GROUP BY name', 'Partial') AS levels, pg_temp.plan_has('SELECT meter.heartbeats("time", ''1 minute'') FROM beats GROUP BY name', 'Partial') AS heartbeats;
CREATE TABLE lines AS SELECT name, meter.timeline("time", active) AS line FROM beats GROUP BY name;
CREATE TABLE in_parallel AS SELECT name, meter.timeline("time", active) AS line, meter.timeline("time", active, name, 1) AS labelled, meter.levels("time", 1) AS levels,
	meter.heartbeats("time", '1 minute') AS beats, meter.billed("time", active, '[2024-03-05 03:00,2024-03-05 04:00)', '1 minute') AS billed FROM beats GROUP BY name;
SELECT count(*) FROM serially s JOIN in_parallel p USING (name, line, labelled, levels, beats, billed);
SELECT pg_temp.plan_has('SELECT meter.merge(line) FROM lines', 'Partial') AS merge, (SELECT meter.merge(line) FROM lines) = (SELECT meter.merge(line ORDER BY name) FROM lines) AS same;
DROP TABLE beats, lines, in_parallel;
