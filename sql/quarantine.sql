-- Promise: what one resource has costs that resource alone. A meter that cannot compute it sets it aside, says so first of all that was odd,
-- settles all others in the same step, and computes it anew when it is told to.
SET timezone = 'UTC';
SET datestyle = 'ISO';
\set VERBOSITY terse
SET meter.now = '2024-03-05 09:00';
SELECT meter.create_stream('quarantine_cloud');
SELECT meter.create_meter('quarantine_cloud', 'vm', starts => '{start}', stops => '{stop}', changes => '{resize}', dimensions => '{flavor}', lateness => '0', since => '2024-03-05 09:00');
SELECT meter.create_meter('quarantine_cloud', 'any', starts => '{start}', stops => '{stop}', changes => '{resize}', dimensions => '{}', lateness => '0', since => '2024-03-05 09:00');
-- labels that are too long for so little memory
CREATE FUNCTION pg_temp.label(word text) RETURNS jsonb LANGUAGE sql AS $$SELECT jsonb_build_object('flavor', repeat(word, 40000 / length(word)))$$;
CREATE FUNCTION pg_temp.usage(stream text, resource text) RETURNS TABLE (meter text, account text, period_start timestamptz, quantity numeric, revisions bigint) LANGUAGE plpgsql AS $$
BEGIN
	RETURN QUERY EXECUTE format('SELECT u.meter, u.account, u.period_start, sum(u.quantity), count(*) FROM %I.usage u WHERE u.resource = %L '
		'GROUP BY 1, 2, 3, u.dimensions ORDER BY 1, 3, 4', stream, resource);
END
$$;
CREATE TEMP VIEW status AS
SELECT stream, meter, watermark, quarantined, failures, last_error FROM meter.status WHERE stream = ANY ('{quarantine_cloud,quarantine_net,quarantine_bad,quarantine_old,quarantine_since,quarantine_source}') ORDER BY 1, 2;
INSERT INTO quarantine_cloud.event ("time", resource, account, action) VALUES
	('2024-03-05 09:15', 'vm1', 'geneva-jug', 'start'), ('2024-03-05 09:30', 'vm2', 'basel-cup', 'start');
SET meter.now = '2024-03-05 10:00';
SELECT meter, usage_rows FROM meter.advance('quarantine_cloud') ORDER BY 1;
TABLE quarantine_cloud.quarantine;

-- A resource takes too much memory: it alone is set aside, for that meter alone. Its state stays where it was, and nothing is billed of it.
SET meter.resource_memory = '64kB';
INSERT INTO quarantine_cloud.event ("time", resource, account, action, attributes) VALUES
	('2024-03-05 10:10', 'vm1', NULL, 'stop', NULL),
	('2024-03-05 10:10', 'vm2', NULL, 'resize', pg_temp.label('small ')), ('2024-03-05 10:20', 'vm2', NULL, 'resize', pg_temp.label('large '));
SET meter.now = '2024-03-05 11:00';
SELECT meter, usage_rows FROM meter.advance('quarantine_cloud') ORDER BY 1;
SELECT * FROM quarantine_cloud.quarantine;
TABLE status;
SELECT * FROM pg_temp.usage('quarantine_cloud', 'vm1');
SELECT * FROM pg_temp.usage('quarantine_cloud', 'vm2');
SELECT resource, active, last_time FROM quarantine_cloud._resource_state WHERE meter = 'vm' ORDER BY 1;
SELECT class, meter, resource, "time", detail FROM quarantine_cloud.anomaly LIMIT 1;
SELECT class, meter, resource FROM meter.anomalies('quarantine_cloud', 'quarantined', resource => 'vm1');
SELECT * FROM meter.verify('quarantine_cloud');

-- The short way leaves it out as well, and so do the views.
SET meter.now = '2024-03-05 12:30';
SELECT meter, usage_rows FROM meter.advance('quarantine_cloud') ORDER BY 1;
SELECT meter, resource, period_start, quantity FROM quarantine_cloud.current_usage WHERE NOT settled ORDER BY 1, 2, 3;
SELECT meter, last_error FROM status;

-- Its late rows are read, and change nothing but since when it is not settled; those that are too late are held as others are.
SELECT FROM meter.alter_meter('quarantine_cloud', 'vm', max_lateness => '2 hours');
INSERT INTO quarantine_cloud.event ("time", resource, account, action, attributes) VALUES
	('2024-03-05 11:40', 'vm2', NULL, 'stop', NULL), ('2024-03-05 11:50', 'vm2', NULL, 'start', NULL), ('2024-03-05 11:20', 'vm3', 'basel-cup', 'start', NULL);
SELECT meter, adjustments, late_rows FROM meter.advance('quarantine_cloud') ORDER BY 1;
SELECT meter, resource, since FROM quarantine_cloud.quarantine;
INSERT INTO quarantine_cloud.event ("time", resource, account, action) VALUES ('2024-03-05 09:45', 'vm2', 'basel-cup', 'start');
SELECT meter, adjustments, late_rows FROM meter.advance('quarantine_cloud') ORDER BY 1;
SELECT meter, log, "time", reason FROM quarantine_cloud.held;
SELECT meter.release('quarantine_cloud', 'vm');
SELECT meter, resource, since FROM quarantine_cloud.quarantine;
SELECT * FROM meter.verify('quarantine_cloud');
SELECT meter.resettle('quarantine_cloud', 'vm', NULL);
SELECT meter, resource, since FROM quarantine_cloud.quarantine;

-- Released too early, it is set aside again; with more memory it is computed as if nothing had been.
SELECT meter.release_resource('quarantine_cloud', 'vm', 'vm2');
SELECT meter, resource, since, sqlstate FROM quarantine_cloud.quarantine;
SELECT * FROM meter.verify('quarantine_cloud');
SET meter.resource_memory = '1MB';
SELECT meter.release_resource('quarantine_cloud', 'vm', 'vm2');
SELECT meter.release_resource('quarantine_cloud', 'vm', 'vm2');
TABLE quarantine_cloud.quarantine;
SELECT * FROM pg_temp.usage('quarantine_cloud', 'vm2');
SELECT * FROM meter.verify('quarantine_cloud');
SET meter.now = '2024-03-05 14:00';
SELECT meter, usage_rows FROM meter.advance('quarantine_cloud') ORDER BY 1;
SELECT resource, active, last_time FROM quarantine_cloud._resource_state WHERE meter = 'vm' ORDER BY 1;
SELECT * FROM meter.verify('quarantine_cloud');

-- Late rows that are too much, in the step that settles; then by resettling.
SET meter.resource_memory = '64kB';
INSERT INTO quarantine_cloud.event ("time", resource, account, action, attributes) VALUES
	('2024-03-05 13:10', 'vm3', NULL, 'resize', pg_temp.label('small ')), ('2024-03-05 13:20', 'vm3', NULL, 'resize', pg_temp.label('large ')),
	('2024-03-05 13:30', 'vm4', 'basel-cup', 'start', NULL), ('2024-03-05 14:30', 'vm3', NULL, 'stop', NULL);
SET meter.now = '2024-03-05 15:00';
SELECT meter, usage_rows, adjustments FROM meter.advance('quarantine_cloud') ORDER BY 1;
SELECT meter, resource, since FROM quarantine_cloud.quarantine ORDER BY 2;
SELECT * FROM meter.verify('quarantine_cloud');
SELECT meter.resettle('quarantine_cloud', 'vm', '[2024-03-05 12:00, 2024-03-05 15:00)');
SELECT meter, resource, since FROM quarantine_cloud.quarantine ORDER BY 2;
SELECT * FROM meter.verify('quarantine_cloud');
RESET meter.resource_memory;
SELECT meter.release_resource('quarantine_cloud', 'vm', resource) FROM quarantine_cloud.quarantine;
SELECT * FROM pg_temp.usage('quarantine_cloud', 'vm3');
SELECT * FROM meter.verify('quarantine_cloud');

-- Verifying with less memory than settling had says what it leaves out, and goes on.
SET meter.resource_memory = '64kB';
SELECT * FROM meter.verify('quarantine_cloud', 'vm');
SELECT resource, count(*) FROM quarantine_cloud.current_usage WHERE NOT settled GROUP BY 1;
SELECT part FROM meter.explain('quarantine_cloud', (SELECT transaction_id FROM quarantine_cloud.usage WHERE meter = 'vm' AND resource = 'vm2' ORDER BY period_start DESC LIMIT 1));
RESET meter.resource_memory;

-- What is set aside goes with its meter.
SET meter.resource_memory = '64kB';
SELECT meter.resettle('quarantine_cloud', 'vm');
RESET meter.resource_memory;
SELECT count(*) FROM quarantine_cloud.quarantine;
SELECT meter.drop_meter('quarantine_cloud', 'vm');
SELECT count(*) FROM quarantine_cloud.quarantine;

-- Rows of several kinds: measures, counters, distinct values.
SET meter.now = '2024-03-05 09:00';
SELECT meter.create_stream('quarantine_net');
SELECT meter.create_meter('quarantine_net', 'bytes', aggregate => 'sum', dimensions => '{flavor}', lateness => '0', since => '2024-03-05 09:00');
SELECT meter.create_meter('quarantine_net', 'odometer', aggregate => 'counter', dimensions => '{flavor}', lateness => '0', since => '2024-03-05 09:00');
SELECT meter.create_meter('quarantine_net', 'rows', aggregate => 'count', dimensions => '{}', lateness => '0', since => '2024-03-05 09:00');
INSERT INTO quarantine_net.measure (start_time, end_time, resource, account, value, attributes)
SELECT t, t, r, 'geneva-jug', v, '{"flavor": "green"}' FROM (VALUES ('2024-03-05 09:10'::timestamptz, 10), ('2024-03-05 09:50', 30)) m (t, v), unnest('{ip1,ip2}'::text[]) r;
SET meter.now = '2024-03-05 10:00';
SELECT meter, usage_rows FROM meter.advance('quarantine_net') ORDER BY 1;
SET meter.resource_memory = '64kB';
INSERT INTO quarantine_net.measure (start_time, end_time, resource, account, value, attributes)
SELECT '2024-03-05 10:30'::timestamptz, '2024-03-05 10:30'::timestamptz, r, 'geneva-jug', 50, '{"flavor": "green"}'::jsonb FROM unnest('{ip1,ip2}'::text[]) r
UNION ALL SELECT '2024-03-05 10:40', '2024-03-05 10:40', 'ip2', 'geneva-jug', 7, pg_temp.label(w) FROM unnest('{red,blue,white}'::text[]) w;
SET meter.now = '2024-03-05 11:00';
SELECT meter, usage_rows FROM meter.advance('quarantine_net') ORDER BY 1;
SELECT meter, resource, since, sqlstate FROM quarantine_net.quarantine ORDER BY 1;
TABLE status;
SELECT resource, left(dimensions[1], 10) AS flavor, "time", value FROM quarantine_net._counter_state ORDER BY 1, 2;
INSERT INTO quarantine_net.measure (start_time, end_time, resource, account, value, attributes)
SELECT '2024-03-05 11:30'::timestamptz, '2024-03-05 11:30'::timestamptz, r, 'geneva-jug', 60, '{"flavor": "green"}'::jsonb FROM unnest('{ip1,ip2}'::text[]) r
UNION ALL SELECT '2024-03-05 09:30', '2024-03-05 09:30', r, 'geneva-jug', 15, '{"flavor": "green"}' FROM unnest('{ip1,ip2}'::text[]) r
UNION ALL SELECT '2024-03-05 11:40', '2024-03-05 11:40', 'ip2', 'geneva-jug', 8, pg_temp.label('red');
SET meter.now = '2024-03-05 12:00';
SELECT meter, usage_rows, adjustments FROM meter.advance('quarantine_net') ORDER BY 1;
SELECT meter, resource, since, sqlstate FROM quarantine_net.quarantine ORDER BY 1;
SELECT meter.resettle('quarantine_net', m) FROM unnest('{bytes,odometer,rows}'::text[]) m;
SELECT * FROM meter.verify('quarantine_net');
SELECT * FROM pg_temp.usage('quarantine_net', 'ip1');
RESET meter.resource_memory;
SELECT meter.release_resource('quarantine_net', meter, resource) FROM quarantine_net.quarantine;
SELECT * FROM pg_temp.usage('quarantine_net', 'ip2');
SELECT resource, left(dimensions[1], 10) AS flavor, "time", value FROM quarantine_net._counter_state ORDER BY 1, 2;
SELECT * FROM meter.verify('quarantine_net');

-- More sources than are told apart; 20,000 labels in one hour; labels of 30 MB; a measure over the hours of two thousand years.
SET meter.now = '2024-03-05 09:00';
SELECT meter.create_stream('quarantine_bad');
SELECT meter.create_meter('quarantine_bad', 'vm', starts => '{start}', stops => '{stop}', dimensions => '{flavor}', rounding => 'none', lateness => '0', since => '2024-03-05 09:00');
SELECT meter.create_meter('quarantine_bad', 'bytes', aggregate => 'sum', dimensions => '{}', lateness => '0', since => '0002-01-01');
INSERT INTO quarantine_bad.event (source, "time", resource, account, action)
SELECT 's' || i, '2024-03-05 09:30', 'sources', 'geneva-jug', 'start' FROM generate_series(1, 70000) i;
INSERT INTO quarantine_bad.event ("time", resource, account, action, attributes)
SELECT '2024-03-05 09:30'::timestamptz + i * '10 ms'::interval, 'labels', 'geneva-jug', 'start', jsonb_build_object('flavor', i) FROM generate_series(1, 20000) i
UNION ALL SELECT '2024-03-05 09:30'::timestamptz + i * '10 ms'::interval, 'long labels', 'geneva-jug', 'start', jsonb_build_object('flavor', i || repeat('x', 60000)) FROM generate_series(1, 500) i
UNION ALL SELECT '2024-03-05 09:30', 'vm1', 'geneva-jug', 'start', NULL;
INSERT INTO quarantine_bad.measure (start_time, end_time, resource, account, value) VALUES
	('0002-01-01', '2024-03-05 10:00', 'millennia', 'geneva-jug', 1000), ('2024-03-05 09:30', '2024-03-05 09:45', 'ip1', 'geneva-jug', 10);
SET meter.now = '2024-03-05 10:00';
SET meter.resource_memory = '4MB';
CALL meter.run('quarantine_bad');
SELECT meter, resource, since, sqlstate, message FROM quarantine_bad.quarantine ORDER BY 1, 2;
SELECT meter, resource, quantity FROM quarantine_bad.usage ORDER BY 1;
SELECT * FROM meter.verify('quarantine_bad');
RESET meter.resource_memory;

-- What is raised while results are written is nobody's alone: the step fails.
CREATE FUNCTION public.quarantine_raise() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN RAISE numeric_value_out_of_range; END$$;
CREATE TRIGGER raise AFTER INSERT ON quarantine_bad.usage FOR EACH STATEMENT EXECUTE FUNCTION public.quarantine_raise();
SET meter.now = '2024-03-05 11:00';
SELECT meter, usage_rows FROM meter.advance('quarantine_bad', 'vm');
SELECT meter, quarantined, failures, last_error FROM status WHERE stream = 'quarantine_bad' AND meter = 'vm';
DROP TRIGGER raise ON quarantine_bad.usage;
SELECT meter, usage_rows FROM meter.advance('quarantine_bad', 'vm');
SELECT * FROM meter.verify('quarantine_bad');

-- Expiry goes no further than since when a resource is not settled. What it cannot compute at the retention boundary is set aside, and stays.
SET meter.now = '2024-03-01 00:00';
SET meter.segment_rows = 0;
SELECT meter.create_stream('quarantine_old');
SELECT meter.create_meter('quarantine_old', 'vm', starts => '{start}', stops => '{stop}', changes => '{resize}', dimensions => '{flavor}', lateness => '0', max_lateness => '1 day', since => '2024-03-01 00:00');
INSERT INTO quarantine_old.event ("time", resource, account, action, attributes) VALUES
	('2024-03-01 10:00', 'vm1', 'geneva-jug', 'start', NULL), ('2024-03-01 10:00', 'vm2', 'geneva-jug', 'start', '{"flavor": "s"}'), ('2024-03-01 11:00', 'vm3', 'geneva-jug', 'start', '{"flavor": "s"}');
SELECT meter.roll('quarantine_old');
SET meter.now = '2024-03-04 00:00';
CALL meter.run('quarantine_old');
SET meter.resource_memory = '64kB';
INSERT INTO quarantine_old.event ("time", resource, action, attributes) VALUES
	('2024-03-04 10:10', 'vm2', 'resize', pg_temp.label('small ')), ('2024-03-04 10:20', 'vm2', 'resize', pg_temp.label('large '));
SET meter.now = '2024-03-09 00:00';
CALL meter.run('quarantine_old');
SELECT resource, since FROM quarantine_old.quarantine;
SELECT meter.expire('quarantine_old', '2024-03-07 00:00');
SELECT "time" FROM quarantine_old._retention;
SELECT resource, active, account, dimensions, since FROM quarantine_old._retention_state ORDER BY 1;
SELECT resource FROM quarantine_old.event;
SELECT * FROM meter.verify('quarantine_old');
RESET meter.resource_memory;
SELECT meter.release_resource('quarantine_old', 'vm', 'vm2');
SELECT left(dimensions ->> 'flavor', 5) AS flavor, count(*), min(period_start), max(period_start), sum(quantity) FROM quarantine_old.usage WHERE resource = 'vm2' GROUP BY dimensions ORDER BY 3, 1;
SELECT * FROM meter.verify('quarantine_old');
SELECT meter.roll('quarantine_old');
INSERT INTO quarantine_old.event ("time", resource, action) VALUES ('2024-03-09 00:10', 'vm2', 'stop');
SET meter.now = '2024-03-10 00:00';
CALL meter.run('quarantine_old');
SET meter.resource_memory = '64kB';
SELECT meter.expire('quarantine_old', '2024-03-07 00:00');
SELECT "time" FROM quarantine_old._retention;
SELECT resource, since FROM quarantine_old.quarantine;
SELECT meter.expire('quarantine_old', '2024-03-07 00:00');
RESET meter.resource_memory;
SELECT meter.release_resource('quarantine_old', 'vm', 'vm2');
SELECT meter.expire('quarantine_old', '2024-03-07 00:00');
SELECT "time" FROM quarantine_old._retention;
SELECT * FROM meter.verify('quarantine_old');

-- Late rows from before a meter begins count for what it begins with, also of what is set aside.
SET meter.now = '2024-03-05 12:00';
SELECT meter.create_stream('quarantine_since');
SELECT meter.create_meter('quarantine_since', 'vm', starts => '{start}', stops => '{stop}', dimensions => '{flavor}', lateness => '0', since => '2024-03-05 10:00');
INSERT INTO quarantine_since.event ("time", resource, account, action) VALUES ('2024-03-05 07:00', 'vm1', 'geneva-jug', 'stop');
CALL meter.run('quarantine_since');
SET meter.resource_memory = '64kB';
INSERT INTO quarantine_since.event ("time", resource, action, attributes) VALUES
	('2024-03-05 08:10', 'vm1', 'start', pg_temp.label('small ')), ('2024-03-05 08:20', 'vm1', 'start', pg_temp.label('large '));
CALL meter.run('quarantine_since');
SELECT resource, since FROM quarantine_since.quarantine;
RESET meter.resource_memory;
SELECT meter.release_resource('quarantine_since', 'vm', 'vm1');
SELECT left(dimensions ->> 'flavor', 5) AS flavor, period_start, quantity FROM quarantine_since.usage ORDER BY 2;
SELECT * FROM meter.verify('quarantine_since');

-- Snapshots are compared without what is set aside; when it is released, with it.
SET meter.now = '2024-03-05 09:00';
SELECT meter.create_stream('quarantine_source');
SELECT meter.create_meter('quarantine_source', 'vm', starts => '{start}', stops => '{stop}', changes => '{resize}', dimensions => '{flavor}', lateness => '0', since => '2024-03-05 09:00');
INSERT INTO quarantine_source.event (source, "time", resource, account, action) VALUES
	('hv1', '2024-03-05 09:10', 'vm1', 'geneva-jug', 'start'), ('hv1', '2024-03-05 09:10', 'vm2', 'geneva-jug', 'start'), ('hv1', '2024-03-05 09:10', 'vm3', 'geneva-jug', 'start');
SET meter.resource_memory = '64kB';
INSERT INTO quarantine_source.event (source, "time", resource, action, attributes) VALUES
	('hv1', '2024-03-05 09:20', 'vm2', 'resize', pg_temp.label('small ')), ('hv1', '2024-03-05 09:30', 'vm2', 'resize', pg_temp.label('large '));
SET meter.now = '2024-03-05 10:00';
CALL meter.run('quarantine_source');
SET meter.now = '2024-03-05 11:00';
INSERT INTO quarantine_source.inventory (source, at, resource) VALUES ('hv1', '2024-03-05 10:30', 'vm3');
SELECT resource, correction FROM meter.reconcile('quarantine_source', 'hv1', '2024-03-05 10:30');
CALL meter.run('quarantine_source');
SELECT resource, action FROM quarantine_source.event WHERE action LIKE 'reconciled:%';
SELECT * FROM meter.verify('quarantine_source');
RESET meter.resource_memory;
SELECT meter.release_resource('quarantine_source', 'vm', 'vm2');
CALL meter.run('quarantine_source');
SELECT resource, action FROM quarantine_source.event WHERE action LIKE 'reconciled:%' ORDER BY 1;
SELECT resource, left(dimensions ->> 'flavor', 5) AS flavor, period_start, sum(quantity) FROM quarantine_source.usage GROUP BY 1, dimensions, 3 ORDER BY 1, 3, 2 NULLS FIRST;
SELECT * FROM meter.verify('quarantine_source');

-- What is taken back meanwhile does not lose the reading that the counter goes on from.
SELECT meter.create_stream('quarantine_back');
SELECT meter.create_meter('quarantine_back', 'odometer', aggregate => 'counter', dimensions => '{flavor}', lateness => '0', since => '2024-03-05 09:00');
INSERT INTO quarantine_back.measure (start_time, end_time, resource, account, value) VALUES ('2024-03-05 09:10', '2024-03-05 09:10', 'ip', 'acme', 100),
	('2024-03-05 09:50', '2024-03-05 09:50', 'ip', 'acme', 200);
SET meter.now = '2024-03-05 10:00';
SELECT usage_rows FROM meter.advance('quarantine_back');
SELECT meter.roll('quarantine_back');
CALL meter.run('quarantine_back');
SET meter.resource_memory = '64kB';
INSERT INTO quarantine_back.measure (start_time, end_time, resource, account, value, attributes)
SELECT '2024-03-05 10:10', '2024-03-05 10:10', 'ip', 'acme', 1, pg_temp.label('l' || n) FROM generate_series(1, 5) n;
INSERT INTO quarantine_back.measure (start_time, end_time, resource, account, value) VALUES ('2024-03-05 10:40', '2024-03-05 10:40', 'ip', 'acme', 300);
SET meter.now = '2024-03-05 11:00';
SELECT usage_rows FROM meter.advance('quarantine_back');
SELECT resource, since FROM quarantine_back.quarantine;
SELECT meter.rewind('quarantine_back', 'odometer', '2024-03-05 10:00');
SELECT usage_rows FROM meter.advance('quarantine_back');
RESET meter.resource_memory;
SELECT meter.release_resource('quarantine_back', 'odometer', 'ip');
SELECT period_start, sum(quantity) FROM quarantine_back.usage GROUP BY 1 ORDER BY 1;
SELECT * FROM meter.verify('quarantine_back');

-- What is set aside while the watermark is taken back has rows after it no more, once it is released.
SELECT meter.create_stream('quarantine_rows');
SELECT meter.create_meter('quarantine_rows', 'vm', starts => '{start}', stops => '{stop}', changes => '{resize}', dimensions => '{flavor}', lateness => '0', since => '2024-03-05 09:00');
SELECT meter.create_meter('quarantine_rows', 'ip', aggregate => 'count', dimensions => '{flavor}', lateness => '0', since => '2024-03-05 09:00');
INSERT INTO quarantine_rows.event ("time", resource, account, action) VALUES ('2024-03-05 09:30', 'vm', 'acme', 'start');
INSERT INTO quarantine_rows.measure (start_time, end_time, resource, account, value) SELECT t, t, 'ip', 'acme', 1 FROM unnest('{2024-03-05 09:30,2024-03-05 10:30}'::timestamptz[]) t;
SET meter.now = '2024-03-05 11:00';
CALL meter.run('quarantine_rows');
SET meter.resource_memory = '64kB';
INSERT INTO quarantine_rows.event ("time", resource, action, attributes) SELECT '2024-03-05 11:10', 'vm', 'resize', pg_temp.label('l' || n) FROM generate_series(1, 5) n;
INSERT INTO quarantine_rows.measure (start_time, end_time, resource, attributes) SELECT '2024-03-05 11:10', '2024-03-05 11:10', 'ip', pg_temp.label('l' || n) FROM generate_series(1, 5) n;
SET meter.now = '2024-03-05 12:00';
CALL meter.run('quarantine_rows');
SELECT meter, resource, since FROM quarantine_rows.quarantine ORDER BY 1;
SELECT meter, meter.rewind('quarantine_rows', meter, '2024-03-05 10:00') FROM unnest('{vm,ip}'::text[]) meter;
RESET meter.resource_memory;
SELECT meter.release_resource('quarantine_rows', meter, resource) FROM quarantine_rows.quarantine;
SELECT meter, period_start, sum(quantity) FROM quarantine_rows.usage GROUP BY 1, 2 ORDER BY 1, 2;
SELECT * FROM meter.verify('quarantine_rows');
CALL meter.run('quarantine_rows');
SELECT meter, period_start, sum(quantity) FROM quarantine_rows.usage GROUP BY 1, 2 ORDER BY 1, 2;
SELECT * FROM meter.verify('quarantine_rows');

SET client_min_messages = warning;
DROP FUNCTION public.quarantine_raise();
SELECT meter.drop_stream(s, delete_data => true) FROM unnest('{quarantine_cloud,quarantine_net,quarantine_bad,quarantine_old,quarantine_since,quarantine_source,quarantine_back,quarantine_rows}'::text[]) s;
