-- Whatever plans the server takes for the engine's queries, bills are the same: all that can be is planned in parallel here.
SET timezone = 'UTC';
SET client_min_messages = warning;
SET parallel_setup_cost = 0;
SET parallel_tuple_cost = 0;
SET min_parallel_table_scan_size = 0;
SET min_parallel_index_scan_size = 0;
SET max_parallel_workers_per_gather = 2;
SELECT meter.create_stream('parallel');
SELECT meter.create_meter('parallel', 'vm', starts => '{start}', stops => '{stop}', lateness => '0', max_lateness => NULL);
SELECT meter.create_meter('parallel', 'bytes', aggregate => 'sum', dimensions => '{}', lateness => '0', max_lateness => NULL);
SELECT meter.create_meter('parallel', 'reading', aggregate => 'counter', dimensions => '{}', lateness => '0', max_lateness => NULL);
-- what an owner hangs on a table of the engine's runs, too
CREATE FUNCTION public.parallel_see() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
CREATE TRIGGER see AFTER INSERT OR UPDATE ON parallel._counter_state FOR EACH STATEMENT EXECUTE FUNCTION public.parallel_see();
INSERT INTO parallel.event (source, id, "time", resource, account, action)
SELECT 's', i / 2, '2024-03-05 10:00Z'::timestamptz + i / 2 % 50 * interval '1 minute', 'r' || i / 2 % 100, 'a' || i / 2 % 3, CASE i / 2 % 50 % 2 WHEN 0 THEN 'start' ELSE 'stop' END
FROM generate_series(0, 1999) i;
INSERT INTO parallel.measure (source, id, start_time, end_time, resource, value)
SELECT 's', i / 2, t, t + interval '3 minutes', 'r' || i / 2 % 100, i / 2 FROM generate_series(0, 1999) i, LATERAL (SELECT '2024-03-05 10:00Z'::timestamptz + i / 2 % 70 * interval '1 minute' AS t) m;
SET meter.now = '2024-03-05 11:00Z';
SELECT meter, usage_rows FROM meter.advance('parallel') ORDER BY 1;
SELECT count(*) FROM meter.verify('parallel');
SELECT count(*), sum(quantity) FROM parallel.current_usage WHERE NOT settled;
-- late: an event, an owner, a measure, a void
INSERT INTO parallel.event (source, id, "time", resource, account, action) VALUES ('s', 'late', '2024-03-05 10:07Z', 'r1', 'b', 'start'),
	('s', 'owner', '2024-03-05 10:20Z', 'r2', 'c', 'moved'), ('s', '5', '2024-03-05 10:05Z', 'r5', NULL, 'void');
INSERT INTO parallel.measure (source, id, start_time, end_time, resource, value) VALUES ('s', 'late', '2024-03-05 10:01Z', '2024-03-05 10:02Z', 'r3', 7);
SET meter.now = '2024-03-05 12:00Z';
SELECT meter, usage_rows, adjustments > 0 AS adjusted, late_rows FROM meter.advance('parallel') ORDER BY 1;
SELECT count(*) FROM meter.verify('parallel');
SELECT meter, meter.resettle('parallel', meter) FROM unnest(ARRAY['vm', 'bytes', 'reading']) meter;
SELECT class, count(*) FROM parallel.anomaly GROUP BY 1 ORDER BY 1;
SELECT class, resource, "time" FROM meter.anomalies('parallel', class => 'duplicate start', during => '[2024-03-05 10:07Z,2024-03-05 10:08Z)');
SELECT meter, part, count(*) FROM (SELECT DISTINCT ON (meter) meter, transaction_id FROM parallel.usage WHERE resource = 'r3' ORDER BY meter, transaction_id) u,
	meter.explain('parallel', u.transaction_id) GROUP BY 1, 2 ORDER BY 1, 2;
SELECT meter, count(*), count(DISTINCT resource), sum(quantity) FROM parallel.usage_total GROUP BY 1 ORDER BY 1;
SELECT meter, md5(string_agg(format('%s %s %s %s %s', account, resource, dimensions, period_start, quantity), E'\n' ORDER BY resource, period_start, account, dimensions::text)) FROM parallel.usage_total GROUP BY 1 ORDER BY 1;
-- as without
SET max_parallel_workers_per_gather = 0;
SELECT count(*) FROM meter.verify('parallel');
SELECT meter.drop_stream('parallel', delete_data => true);
DROP FUNCTION public.parallel_see();
