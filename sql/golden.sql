-- Promise: what a world of events, measures and snapshots comes to stays what it is, to the byte, however the engine computes it.
--
-- The world is made of hashes of counters and lives on a clock that is set by hand, so it is the same on every machine. What comes of it is kept as
-- digests, after each part of the way: the ledger by itself and by meter ("ledger" to the byte, "totals" without how they came about, "settled" which
-- settle wrote what), then states, lists, views and explanations. A digest that changed says which meter is billed otherwise; the rows shown now and
-- then say how. Where a bill is meant to change, the new digests are taken over with the change that means it, never with another.
-- test/mutants breaks the engine's rules one at a time and asks if this test notices.
SET timezone = 'UTC';
SET datestyle = 'ISO';
SET intervalstyle = 'postgres';
SET extra_float_digits = 1;
SET client_min_messages = warning;
SET meter.segment_rows = 0;
\set SHOW_CONTEXT never
-- so that one line that is other makes no other one so
\pset format unaligned
\pset fieldsep ' | '
CREATE SCHEMA golden;

-- ---------------------------------------------------------------- chance that is none
CREATE FUNCTION golden.rnd(key text, n int) RETURNS int LANGUAGE sql IMMUTABLE AS $$
	SELECT ('x' || substr(md5(key), 1, 7))::bit(28)::int % n
$$;
CREATE FUNCTION golden.pick(key text, VARIADIC choices text[]) RETURNS text LANGUAGE sql IMMUTABLE AS $$
	SELECT choices[1 + golden.rnd(key, cardinality(choices))]
$$;
-- A moment so many hours wide: often on the hour, often on the minute, sometimes a microsecond off.
CREATE FUNCTION golden.moment(key text, begins timestamptz, hours int) RETURNS timestamptz LANGUAGE sql IMMUTABLE AS $$
	SELECT begins + make_interval(secs => s - CASE WHEN how < 5 THEN s % 3600 WHEN how < 10 THEN s % 600 WHEN how < 16 THEN s % 30 ELSE 0 END)
		+ CASE how WHEN 18 THEN '1 microsecond' WHEN 19 THEN '999999 microseconds' ELSE '0' END::interval
	FROM (SELECT golden.rnd(key || 't', hours * 3600) AS s, golden.rnd(key || 's', 20) AS how) m
$$;
-- How long a row is on its way: most are prompt, some hours late, a few days, and a few are known before they happen.
CREATE FUNCTION golden.delay(key text) RETURNS interval LANGUAGE sql IMMUTABLE AS $$
	SELECT CASE WHEN how < 14 THEN make_interval(secs => golden.rnd(key || 'd', 600)) WHEN how < 17 THEN make_interval(mins => golden.rnd(key || 'd', 400))
		WHEN how < 19 THEN make_interval(mins => 400 + golden.rnd(key || 'd', 2400)) ELSE make_interval(mins => - golden.rnd(key || 'd', 500)) END
	FROM (SELECT golden.rnd(key || 'h', 20) AS how) d
$$;

-- ---------------------------------------------------------------- what arrives when
CREATE TABLE golden.arriving (stream text, log text, seq int, arrives timestamptz, source text, id text, "time" timestamptz, end_time timestamptz,
	resource text, account text, entity text, action text, offering text, value numeric, attributes jsonb);

-- All that arrived after an instant, up to another.
CREATE PROCEDURE golden.deliver(of_stream text, after timestamptz, upto timestamptz) LANGUAGE plpgsql AS $$
BEGIN
	EXECUTE format('INSERT INTO %I.event (source, id, "time", resource, account, entity, action, offering, value, attributes)
		SELECT source, id, "time", resource, account, entity, action, offering, value, attributes FROM golden.arriving
		WHERE stream = $1 AND log = ''event'' AND arrives > $2 AND arrives <= $3 ORDER BY arrives, seq, source', of_stream) USING of_stream, after, upto;
	EXECUTE format('INSERT INTO %I.measure (source, id, start_time, end_time, resource, account, entity, value, attributes)
		SELECT source, id, "time", end_time, resource, account, entity, value, attributes FROM golden.arriving
		WHERE stream = $1 AND log = ''measure'' AND arrives > $2 AND arrives <= $3 ORDER BY arrives, seq, source', of_stream) USING of_stream, after, upto;
END $$;

-- What exists, as sources have it: it arrives and is reconciled in the order in which it becomes known.
CREATE TABLE golden.listed (stream text, arrives timestamptz, source text, at timestamptz, resource text, account text, entity text, offering text, value numeric,
	since timestamptz, meter text, attributes jsonb);	-- a row without a resource: there is such a snapshot
CREATE TABLE golden.found (stream text, source text, at timestamptz, resource text, problem text, correction text, "time" timestamptz);

CREATE PROCEDURE golden.take(of_stream text, after timestamptz, upto timestamptz) LANGUAGE plpgsql AS $$
DECLARE
	s record;
BEGIN
	FOR s IN SELECT DISTINCT l.arrives, l.source, l.at FROM golden.listed l WHERE l.stream = of_stream AND l.arrives > after AND l.arrives <= upto ORDER BY 1, 2, 3 LOOP
		EXECUTE format('INSERT INTO %I.inventory (source, at, resource, account, entity, offering, value, since, meter, attributes)
			SELECT source, at, resource, account, entity, offering, value, since, meter, attributes FROM golden.listed
			WHERE stream = $1 AND source = $2 AND at = $3 AND resource IS NOT NULL', of_stream) USING of_stream, s.source, s.at;
		INSERT INTO golden.found SELECT of_stream, s.source, s.at, f.* FROM meter.reconcile(of_stream, s.source, s.at, allow_empty => true, max_stops => 1000,
			tolerance => golden.pick(s.at::text, '1 minute', '1 minute', '0', '10 minutes')::interval) f;
		COMMIT;
	END LOOP;
END $$;

-- The clock goes on, rows arrive, sources report, and steps are made: one or all, of many rows or of few.
CREATE PROCEDURE golden.live(of_stream text, begins timestamptz, from_hour int, to_hour int, every int) LANGUAGE plpgsql AS $$
DECLARE
	h int;
BEGIN
	FOR h IN SELECT generate_series(from_hour + every, to_hour, every) LOOP
		PERFORM set_config('meter.now', (begins + make_interval(hours => h, mins => golden.rnd('live' || h, 3) * 20))::text, false);
		CALL golden.deliver(of_stream, CASE WHEN h = every THEN '-infinity' ELSE begins + make_interval(hours => h - every) END, begins + make_interval(hours => h));
		COMMIT;
		CALL golden.take(of_stream, begins + make_interval(hours => h - every), begins + make_interval(hours => h));
		PERFORM meter.heartbeat(of_stream, 'api', begins + make_interval(hours => h, mins => - golden.rnd('api' || h, 180)));
		IF h % 5 <> 0 THEN
			PERFORM meter.heartbeat(of_stream, 'agent', begins + make_interval(hours => h, mins => - golden.rnd('agent' || h, 90)));
		END IF;
		PERFORM set_config('meter.batch_rows', golden.pick('batch' || h, '1000000', '1000000', '60', '9'), false);
		PERFORM set_config('meter.keep_interval', golden.pick('keep' || h, '0', '0', '60', '1440'), false);
		COMMIT;
		IF golden.rnd('run' || h, 3) = 0 THEN
			CALL meter.run(of_stream);
		ELSE
			PERFORM meter.advance(of_stream);
		END IF;
		COMMIT;
	END LOOP;
	PERFORM set_config('meter.batch_rows', '1000000', false);
END $$;

-- ---------------------------------------------------------------- what is looked at: all names of the engine's own tables stand here
CREATE TABLE golden.part (part text PRIMARY KEY, query text);	-- a query of (meter, line, n) over the stream %1$I, %1$L
INSERT INTO golden.part VALUES
	('ledger', $$SELECT meter, ROW(transaction_id, account, resource, dimensions, period_start, quantity, revision)::text, quantity FROM %1$I.usage$$),
	('settled', $$SELECT meter, ROW(transaction_id, settlement)::text, settlement FROM %1$I.usage$$),
	('totals', $$SELECT meter, ROW(account, resource, dimensions, period_start, quantity)::text, quantity FROM %1$I.usage_total$$),
	('live', $$SELECT meter, ROW(account, resource, dimensions, period_start, quantity)::text, quantity FROM %1$I.current_usage WHERE NOT settled$$),
	('state', $$SELECT meter, ROW(resource, active, account, dimensions, value, since, alive, absent, source, straddles, unnamed_since)::text,
		active::int FROM %1$I._resource_state$$),
	('reading', $$SELECT meter, ROW(resource, dimensions, "time", value)::text, value FROM %1$I._counter_state$$),
	('held', $$SELECT meter, ROW(log, arrival, "time", reason)::text, 1 FROM %1$I.held$$),
	('voided', $$SELECT meter, ROW(resource, source, id, "time")::text, 1 FROM %1$I._voided$$),
	('future', $$SELECT meter, "time"::text, 1 FROM %1$I._future$$),
	('settlement', $$SELECT meter, ROW(settlement, watermark_before, watermark, position_before, "position", measure_position_before, measure_position,
		usage_rows, aggregate, unit, period, timezone)::text, usage_rows FROM %1$I.settlement$$),
	('status', $$SELECT meter, ROW(active, watermark, lag, late_backlog, held, "position", settlement, failures, last_error, held_back_by, idle_sources)::text,
		settlement FROM meter.status WHERE stream = %1$L$$),
	('anomaly', $$SELECT class, ROW(meter, resource, "time", CASE WHEN class <> 'reconciled' THEN arrival END,
		regexp_replace(detail, 'held since .*: meter', 'held since …: meter'))::text, 1 FROM %1$I.anomaly$$),
	('observation', $$SELECT attributes ->> 'meter', ROW(source, id, "time", resource, account, entity, action, offering, value, attributes)::text, 1
		FROM %1$I.event WHERE action LIKE 'reconciled:%%'$$),
	('snapshot', $$SELECT source, ROW(at, rows, tolerance, running, starts, stops, changes, pruned)::text, rows FROM %1$I.snapshot$$),
	('found', $$SELECT source, ROW(at, resource, problem, correction, "time")::text, 1 FROM golden.found WHERE stream = %1$L$$),
	('compared', $$SELECT meter, ROW(source, at)::text, 1 FROM %1$I._compared$$),
	('retention', $$SELECT meter, ROW(log, "time")::text, 1 FROM %1$I._retention$$),
	('retention state', $$SELECT meter, ROW(resource, active, account, dimensions, value, since, alive, absent, source)::text, active::int FROM %1$I._retention_state$$),
	('kept state', $$SELECT meter, ROW(resource, at, active, account, dimensions, value, since, alive, absent, source, last_time)::text, active::int FROM %1$I._kept_state$$),
	('retention reading', $$SELECT meter, ROW(resource, dimensions, "time", value)::text, value FROM %1$I._retention_reading$$),
	('expired', $$SELECT log, ROW(segment, rows, first_arrival, last_arrival, least_time, greatest_time)::text, rows FROM %1$I._expired$$),
	-- a few rows of each meter, chosen by their names
	('explain', $$SELECT u.meter, ROW(u.transaction_id, e.part, e."time", e.until, CASE WHEN e.action NOT LIKE 'reconciled:%%' THEN e.arrival END,
		e.source, e.id, e.action, e.account, e.dimensions, e.value, e.quantity, regexp_replace(e.explanation, 'recorded at [-0-9.:+ ]*', 'recorded at …'))::text, 1
		FROM (SELECT u.*, row_number() OVER (PARTITION BY meter, revision > 0 ORDER BY md5(transaction_id::text)) AS nth FROM %1$I.usage u) u,
		meter.explain(%1$L, u.transaction_id) e WHERE u.nth <= 3$$);

-- Where a create_meter() or create_stream() has other names some day, they are given here.
CREATE FUNCTION golden.create_meter(of_stream text, name text, aggregate text, options jsonb) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	EXECUTE format('SELECT meter.create_meter(%L, %L, %L%s)', of_stream, name, aggregate, (SELECT string_agg(format(', %s => %L',
		key, value), '' ORDER BY key) FROM jsonb_each_text(options)));
END $$;

-- What a statement comes to, of which nothing stays.
CREATE FUNCTION golden.try(statement text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
	EXECUTE statement;
	RAISE EXCEPTION 'accepted' USING errcode = '00001';
EXCEPTION
	WHEN SQLSTATE '00001' THEN RETURN 'accepted';
	WHEN OTHERS THEN RETURN sqlstate;
END $$;

CREATE FUNCTION golden.look(of_stream text, VARIADIC parts text[])
RETURNS TABLE (part text, meter text, "rows" bigint, total numeric, digest text) LANGUAGE plpgsql AS $$
DECLARE
	p text;
BEGIN
	FOREACH p IN ARRAY parts LOOP
		RETURN QUERY EXECUTE format('SELECT %L::text, meter::text, count(*), trim_scale(sum(n::numeric)), md5(string_agg(line, E''\n'' ORDER BY line COLLATE "C"))
			FROM (%s) x (meter, line, n) GROUP BY meter ORDER BY meter COLLATE "C"', p, format((SELECT query FROM golden.part g WHERE g.part = p), of_stream));
	END LOOP;
END $$;

-- ================================================================ events: durations and weights
SELECT meter.create_stream('golden_cloud');
\set cloud_begins '''2024-03-29 00:00+00'''

INSERT INTO golden.arriving
WITH world AS (
	SELECT r, i, 'c' || r || '.' || i AS k,
		-- a fourth of them happen together with the one before
		golden.moment('c' || r || '.' || CASE WHEN golden.rnd('tie' || r || '.' || i, 4) = 0 THEN i - 1 ELSE i END, :cloud_begins, 100) AS at
	FROM generate_series(1, 40) r, generate_series(1, 24) i),
events AS (
	SELECT k, r, i, at, at + golden.delay(k) AS arrives,
		CASE WHEN golden.rnd(k || 'source', 8) > 0 THEN CASE r % 2 WHEN 0 THEN 'api' ELSE 'agent' END END AS source,
		CASE WHEN golden.rnd(k || 'id', 3) > 0 THEN 'e' || i END AS id,
		-- some are named late, one never
		CASE WHEN r % 8 <> 0 THEN golden.pick(k || 'account', NULL, NULL, NULL, 'A', 'B', 'b', 'a-b', '') WHEN i = 20 AND r <> 40 THEN 'late-' || r END AS account,
		CASE WHEN r % 5 = 0 THEN 'disk' WHEN golden.rnd(k || 'entity', 12) > 0 THEN 'vm' END AS entity,
		golden.pick(k || 'action', 'start', 'start', 'start', 'create', 'stop', 'stop', 'delete', 'resize', 'resize', 'update', 'ping') AS action,
		golden.pick(k || 'offering', NULL, NULL, NULL, 's', 'm', 'l', '10', '9', '') AS offering,
		golden.pick(k || 'value', NULL, NULL, NULL, '0', '1', '2.5', '9', '10', '10.0', '0.30', '-1', '1e-7')::numeric AS value,
		golden.pick(k || 'attributes', NULL, NULL, '{"zone": "z1"}', '{"zone": "z2", "size": 3}', '{"size": "4.5"}', '{"size": "big"}', '{"zone": null}',
			'{"zone": "z3", "size": 7.10}')::jsonb AS attributes
	FROM world),
duplicates AS (
	-- sent again: just so, later than the window, or saying something else
	SELECT k || '+', r, i, at + golden.pick(k || 'shift', '0', '0', '3 hours', '20 hours', '30 hours', '-5 hours', '24 hours')::interval, at + golden.delay(k || '+'),
		source, id, account, entity, CASE WHEN golden.rnd(k || 'other', 4) = 0 THEN 'stop' ELSE action END,
		CASE WHEN golden.rnd(k || 'else', 3) = 0 THEN 'xl' ELSE offering END, CASE WHEN golden.rnd(k || 'more', 4) = 0 THEN 7 ELSE value END, attributes
	FROM events WHERE id IS NOT NULL AND golden.rnd(k || 'copy', 7) = 0),
voids AS (
	-- at the time of the row or near it, at the window's ends, and out of reach
	SELECT k || '-', r, i, at + golden.pick(k || 'after', '0', '0', '1 hour', '-2 hours', '24 hours', '-24 hours', '24:00:00.000001', '-3 days')::interval, at + golden.delay(k || '-'),
		source, id, NULL, entity, 'void', NULL, NULL::numeric, NULL::jsonb
	FROM events WHERE id IS NOT NULL AND golden.rnd(k || 'void', 18) = 0)
SELECT 'golden_cloud', 'event', row_number() OVER (ORDER BY k COLLATE "C"), arrives, source, id, at, NULL, 'r' || r, account, entity, action, offering, value, attributes
FROM (TABLE events UNION ALL TABLE duplicates UNION ALL TABLE voids) e;

SELECT golden.create_meter('golden_cloud', name, aggregate, options::jsonb) FROM (VALUES
	('vm', 'duration', '{"entity": "vm", "starts": "{create,start}", "stops": "{delete,stop}", "changes": "{resize,update}", "lateness": "0", "max_lateness": "20 hours"}'),
	('down', 'duration', '{"starts": "{create,start}", "stops": "{delete,stop}", "changes": "{resize}", "dimensions": "{offering,zone}", "rounding": "down",
		"increment": "5 minutes", "max_lateness": null, "lateness": "10 minutes"}'),
	('nearest', 'duration', '{"starts": "{start}", "stops": "{stop}", "changes": "{update}", "dimensions": "{}", "rounding": "nearest", "increment": "10 minutes",
		"unit": "7 seconds", "clock": "event", "lateness": "90 minutes", "max_lateness": "30 hours"}'),
	('exact', 'duration', '{"starts": "{create,start}", "stops": "{delete,stop}", "changes": "{resize,update}", "dimensions": "{zone,source}", "rounding": "none",
		"unit": "1 hour", "clock": "source", "lateness": "0", "max_lateness": "1 day"}'),
	('gb', 'weighted', '{"starts": "{create,start}", "stops": "{delete,stop}", "changes": "{resize}", "dimensions": "{}", "period": "1 day", "timezone": "Europe/Berlin",
		"unit": "1 hour", "lateness": "0", "max_lateness": "40 hours"}'),
	('size', 'weighted', '{"entity": "vm", "starts": "{start}", "stops": "{stop,delete}", "changes": "{resize,update}", "value_from": "size", "rounding": "up",
		"increment": "1 minute", "unit": "1024 seconds", "period": "6 hours", "timezone": "Asia/Kolkata", "lateness": "5 minutes"}'),
	('week', 'duration', '{"starts": "{create,start}", "stops": "{delete,stop}", "period": "1 week", "increment": "1 hour", "timezone": "Europe/Berlin", "lateness": "0"}'),
	('month', 'duration', '{"entity": "disk", "starts": "{create,start}", "stops": "{delete,stop}", "dimensions": "{zone}", "period": "1 month", "increment": "3 hours",
		"unit": "1 hour", "timezone": "Europe/Berlin", "lateness": "0"}'),
	('disk', 'duration', '{"entity": "disk", "starts": "{create,start}", "stops": "{delete,stop}", "changes": "{resize}", "period": "15 minutes", "increment": "15 minutes",
		"since": "2024-03-29 21:00Z", "until": "2024-04-01 06:30Z", "lateness": "0", "max_lateness": "1 day"}')
) m (name, aggregate, options);

CALL golden.live('golden_cloud', :cloud_begins, 0, 52, 4);
SELECT * FROM golden.look('golden_cloud', 'ledger', 'totals', 'settled', 'live', 'state', 'held', 'voided', 'future', 'settlement', 'status', 'anomaly');
SELECT * FROM meter.verify('golden_cloud');
SELECT period_start, resource, account, dimensions, quantity, revision FROM golden_cloud.usage
WHERE meter = 'vm' AND resource IN ('r1', 'r6') AND period_start < '2024-03-29 16:00' ORDER BY period_start, resource, revision, account, dimensions;

-- One more, over what there is, in small steps; one made again; one computed anew.
SET meter.batch_rows = 150;
SELECT golden.create_meter('golden_cloud', 'new', 'duration', '{"starts": "{start}", "stops": "{stop}", "changes": "{resize}", "dimensions": "{source}",
	"increment": "20 minutes", "lateness": "0", "since": "2024-03-29 13:00Z"}');
SELECT meter.drop_meter('golden_cloud', 'down');
CALL golden.deliver('golden_cloud', '2024-03-31 04:00Z', '2024-03-31 05:00Z');
SELECT golden.create_meter('golden_cloud', 'down', 'duration', '{"starts": "{create,start}", "stops": "{delete,stop}", "changes": "{resize}",
	"dimensions": "{offering,zone}", "rounding": "down", "increment": "5 minutes", "max_lateness": null, "lateness": "10 minutes"}');
CALL meter.run('golden_cloud');
SELECT meter.resettle('golden_cloud', 'vm', '[2024-03-30 03:00Z, 2024-03-30 07:30Z)'), meter.resettle('golden_cloud', 'gb');
SELECT * FROM golden.look('golden_cloud', 'ledger', 'held', 'status');
SELECT * FROM meter.verify('golden_cloud');

CALL golden.live('golden_cloud', :cloud_begins, 53, 80, 3);
SELECT meter.release('golden_cloud', 'vm', (SELECT array_agg(arrival ORDER BY arrival) FROM golden_cloud.held WHERE meter = 'vm' AND arrival % 3 = 0)),
	meter.release('golden_cloud', 'gb'), meter.release('golden_cloud', 'exact');
SELECT * FROM meter.verify('golden_cloud', 'vm', '[2024-03-30 05:00Z, 2024-03-31 08:10Z)');
-- what is too late counts for nothing, even before a step has come so far as to hold it
SET meter.batch_rows = 1;
INSERT INTO golden_cloud.event ("time", resource, account, entity, action) VALUES ('2024-04-01 03:30Z', 'by hand', 'A', 'vm', 'resize'),
	('2024-03-29 20:00Z', 'by hand', 'B', 'vm', 'start');
SELECT meter, usage_rows, adjustments, late_rows FROM meter.advance('golden_cloud');
SELECT meter, account, min(period_start), sum(quantity) FROM golden_cloud.usage WHERE resource = 'by hand' GROUP BY 1, 2 ORDER BY 1, 2;
CALL meter.run('golden_cloud');
-- no watermark goes back with the clock; held stops are told of first
SELECT set_config('meter.now', '2024-03-30 17:10:00+00', false);
SELECT meter, watermark, usage_rows, adjustments, late_rows FROM meter.advance('golden_cloud');
SELECT resource, "time" FROM golden_cloud.anomaly LIMIT 10;
CALL golden.live('golden_cloud', :cloud_begins, 80, 116, 6);
CALL golden.deliver('golden_cloud', '2024-04-02 20:00Z', 'infinity');
SET meter.now = '2024-04-03 12:00Z';
CALL meter.run('golden_cloud');
SELECT * FROM golden.look('golden_cloud', 'ledger', 'totals', 'settled', 'live', 'state', 'held', 'voided', 'future', 'settlement', 'status', 'anomaly', 'explain');
SELECT * FROM meter.verify('golden_cloud');
SELECT account, resource, dimensions, period_start, quantity, revision FROM golden_cloud.usage_total
WHERE meter = 'gb' AND resource IN ('r1', 'r2', 'r8') ORDER BY resource, period_start, account;

-- ================================================================ measures
SELECT meter.create_stream('golden_net');
\set net_begins '''2024-03-29 12:00+00'''

INSERT INTO golden.arriving
WITH world AS (
	SELECT r, i, 'n' || r || '.' || i AS k,
		golden.moment('n' || r || '.' || CASE WHEN golden.rnd('ntie' || r || '.' || i, 5) = 0 THEN i - 1 ELSE i END, :net_begins, 60) AS at
	FROM generate_series(1, 30) r, generate_series(1, 24) i),
measures AS (
	SELECT 'measure' AS log, k, r, i, at, at + CASE WHEN r % 3 = 0 THEN golden.pick(k || 'length', '0', '0', '1 minute') ELSE
			golden.pick(k || 'length', '0', '10 minutes', '10 minutes', '7 minutes 3 seconds', '1 hour', '2 hours', '5 hours 1 second', '30 hours') END::interval AS until,
		at + golden.delay(k) AS arrives,
		CASE WHEN golden.rnd(k || 'source', 6) > 0 THEN golden.pick('source' || r, 'api', 'agent') END AS source,
		CASE WHEN golden.rnd(k || 'id', 3) > 0 THEN 'm' || i END AS id,
		golden.pick(k || 'account', NULL, NULL, NULL, 'A', 'A', 'B', '') AS account,
		CASE WHEN r % 3 = 0 THEN 'ctr' WHEN golden.rnd(k || 'entity', 10) > 0 THEN 'ip' END AS entity,
		NULL AS action, NULL AS offering,
		-- counters go up, and now and then fall
		CASE WHEN r % 3 = 0 THEN extract(epoch FROM at - :net_begins)::bigint % (20000 + 1000 * r) * 3 / golden.pick(k || 'factor', '1', '1', '2')::numeric(10, 2)
			ELSE golden.pick(k || 'value', '1', '10', '100', '101', '0.01', '-7', '-0.50', '1234567.891', '0', NULL, '123456789012345678901234567890.01')::numeric END AS value,
		golden.pick(k || 'attributes', NULL, '{"zone": "z1", "user": "u1"}', '{"zone": "z2", "user": "u2", "size": 3}', '{"zone": "z1", "size": "4.5", "user": 7}',
			'{"user": 7.0, "size": "big"}', '{"zone": "z2", "user": "u1", "size": -2}')::jsonb AS attributes
	FROM world),
duplicates AS (
	SELECT log, k || '+', r, i, at + golden.pick(k || 'shift', '0', '0', '3 hours', '20 hours', '30 hours', '-5 hours', '24 hours')::interval AS at, until,
		at + golden.delay(k || '+'), source, id, account, entity, action, offering,
		CASE WHEN golden.rnd(k || 'more', 3) = 0 THEN value / 2 ELSE value END, attributes
	FROM measures WHERE id IS NOT NULL AND golden.rnd(k || 'copy', 6) = 0),
voids AS (
	SELECT 'event', k || '-', r, i, at + golden.pick(k || 'after', '0', '0', '24 hours', '-24 hours', '-24:00:00.000001', '2 days')::interval, NULL::timestamptz, at + golden.delay(k || '-'), source, id, NULL, entity, 'void', NULL, NULL::numeric, NULL::jsonb
	FROM measures WHERE id IS NOT NULL AND golden.rnd(k || 'void', 18) = 0),
names AS (
	SELECT 'event', k || 'o', r, i, at, NULL::timestamptz, at + golden.delay(k || 'o'), source, 'o' || i, golden.pick(k || 'owner', 'C', 'D', 'E', NULL, ''), entity,
		golden.pick(k || 'own', 'assign', 'assign', 'ping'), NULL, NULL::numeric, NULL::jsonb
	FROM world JOIN measures USING (k, r, i, at) WHERE (i <= 4 AND r % 7 <> 0) OR (i = 20 AND r IN (7, 14)))
SELECT 'golden_net', log, row_number() OVER (ORDER BY k COLLATE "C"), arrives, source, id, at, CASE log WHEN 'measure' THEN greatest(at, until) END,
	'r' || r, account, entity, action, offering, value, attributes
FROM (TABLE measures UNION ALL TABLE duplicates UNION ALL TABLE voids UNION ALL TABLE names) m;

SELECT golden.create_meter('golden_net', name, aggregate, options::jsonb) FROM (VALUES
	('bytes', 'sum', '{"entity": "ip", "dimensions": "{zone}", "lateness": "0", "max_lateness": "20 hours"}'),
	('day', 'sum', '{"dimensions": "{}", "period": "1 day", "timezone": "Europe/Berlin", "lateness": "0", "max_lateness": null}'),
	('size', 'sum', '{"dimensions": "{source}", "value_from": "size", "period": "15 minutes", "clock": "event", "lateness": "1 hour", "max_lateness": "1 day"}'),
	('count', 'count', '{"dimensions": "{zone}", "lateness": "0", "max_lateness": "1 day"}'),
	('least', 'min', '{"entity": "ip", "dimensions": "{}", "lateness": "5 minutes"}'),
	('most', 'max', '{"entity": "ip", "dimensions": "{zone,source}", "period": "6 hours", "timezone": "America/New_York", "lateness": "0"}'),
	('last', 'latest', '{"dimensions": "{}", "clock": "source", "lateness": "0", "max_lateness": "1 day"}'),
	('users', 'unique', '{"dimensions": "{}", "value_from": "user", "period": "1 day", "lateness": "0"}'),
	('reading', 'counter', '{"entity": "ctr", "dimensions": "{}", "lateness": "0", "max_lateness": "20 hours"}'),
	('zoned', 'counter', '{"entity": "ctr", "dimensions": "{zone}", "period": "30 minutes", "lateness": "10 minutes", "since": "2024-03-29 18:00Z"}')
) m (name, aggregate, options);

CALL golden.live('golden_net', :net_begins, 0, 40, 5);
SELECT * FROM golden.look('golden_net', 'ledger', 'totals', 'settled', 'live', 'state', 'reading', 'held', 'voided', 'future', 'settlement', 'status', 'anomaly');
SELECT * FROM meter.verify('golden_net');
SELECT period_start, resource, account, quantity, revision FROM golden_net.usage
WHERE meter = 'reading' AND resource IN ('r3', 'r12') AND period_start < '2024-03-30 12:00Z' ORDER BY resource, period_start, account, revision;

SET meter.batch_rows = 40;
SELECT golden.create_meter('golden_net', 'new', 'sum', '{"entity": "ip", "dimensions": "{source}", "lateness": "0"}');
SELECT meter.drop_meter('golden_net', 'reading');
SELECT golden.create_meter('golden_net', 'reading', 'counter', '{"entity": "ctr", "dimensions": "{}", "lateness": "0", "max_lateness": "20 hours"}');
CALL meter.run('golden_net');
SELECT meter.resettle('golden_net', 'bytes', '[2024-03-30 03:00Z, 2024-03-30 07:30Z)'), meter.resettle('golden_net', 'zoned');
CALL golden.live('golden_net', :net_begins, 40, 72, 8);
SET meter.batch_rows = 1;
INSERT INTO golden_net.measure (start_time, end_time, resource, account, entity, value) VALUES ('2024-04-01 08:10Z', '2024-04-01 08:20Z', 'by hand', 'A', 'ip', 3),
	('2024-03-30 20:10Z', '2024-03-30 20:20Z', 'by hand', 'B', 'ip', 4);
SELECT meter, usage_rows, adjustments, late_rows FROM meter.advance('golden_net');
SELECT meter, account, min(period_start), sum(quantity) FROM golden_net.usage WHERE resource = 'by hand' GROUP BY 1, 2 ORDER BY 1, 2;
RESET meter.batch_rows;
SELECT meter.release('golden_net', 'bytes'), meter.release('golden_net', 'reading', (SELECT array_agg(arrival) FROM golden_net.held WHERE meter = 'reading' AND arrival % 2 = 0));
CALL golden.deliver('golden_net', '2024-04-01 12:00Z', 'infinity');
SET meter.now = '2024-04-02 18:00Z';
CALL meter.run('golden_net');
SELECT * FROM golden.look('golden_net', 'ledger', 'totals', 'settled', 'live', 'state', 'reading', 'held', 'voided', 'future', 'settlement', 'status', 'anomaly', 'explain');
SELECT * FROM meter.verify('golden_net');
SELECT account, period_start, quantity, revision FROM golden_net.usage_total WHERE meter = 'day' AND resource = 'r4' ORDER BY period_start, account;

-- ================================================================ snapshots
SELECT meter.create_stream('golden_fleet');
\set fleet_begins '''2024-03-30 06:00+00'''

-- What really happened, in turn: a machine starts, is resized, stops, runs once more.
CREATE TABLE golden.truth AS
SELECT k, r, at, n, CASE n % 5 WHEN 1 THEN 'start' WHEN 2 THEN 'resize' WHEN 3 THEN 'stop' WHEN 4 THEN 'start' ELSE 'stop' END AS action,
	golden.pick('fs' || r, 'api', 'agent') AS source, golden.pick(k || 'account', 'A', 'A', 'B') AS account, golden.pick(k || 'offering', 's', 'm', 'l') AS offering,
	golden.pick(k || 'value', '1', '2.5', '10')::numeric AS value, golden.pick(k || 'zone', 'z1', 'z2') AS zone
FROM (SELECT 'f' || r || '.' || i AS k, r, at, row_number() OVER (PARTITION BY r ORDER BY at, i) AS n
	FROM generate_series(1, 36) r, generate_series(1, 9) i, golden.moment('f' || r || '.' || i, :fleet_begins, 44) at) t;

-- What the log is told: a third is lost, of which half comes a day later.
INSERT INTO golden.arriving
SELECT 'golden_fleet', 'event', row_number() OVER (ORDER BY k COLLATE "C"), at + CASE golden.rnd(k || 'fate', 6) WHEN 0 THEN '26 hours' ELSE golden.delay(k) END,
	CASE WHEN golden.rnd(k || 'whose', 20) = 0 THEN 'other' ELSE source END, CASE WHEN golden.rnd(k || 'id', 3) > 0 THEN k END, at, NULL::timestamptz, 'f' || r,
	CASE WHEN action <> 'stop' AND golden.rnd(k || 'named', 3) > 0 THEN account END, 'vm', action,
	CASE WHEN action <> 'stop' THEN offering END, CASE WHEN action <> 'stop' THEN value END, CASE WHEN action <> 'stop' THEN jsonb_build_object('zone', zone) END
FROM golden.truth WHERE golden.rnd(k || 'fate', 6) <> 1
UNION ALL	-- two sources say so at one instant
SELECT 'golden_fleet', 'event', 10000, :fleet_begins::timestamptz + '61 minutes'::interval, s, 'tied', :fleet_begins::timestamptz + '1 hour'::interval, NULL::timestamptz, 'tied', 'A', 'vm',
	'start', 's', 3, NULL FROM unnest('{api,agent}'::text[]) s;

-- What snapshots tell: who runs, with lies and gaps.
INSERT INTO golden.listed
WITH snapshots AS (
	SELECT source, :fleet_begins::timestamptz + make_interval(hours => h, mins => golden.rnd(source || h, 4) * 20) AS at,
		golden.pick(source || h || 'late', '0', '0', '0', '7 hours')::interval AS late
	FROM (VALUES ('api'), ('agent')) s (source), generate_series(3, 48, 5) h)
SELECT 'golden_fleet', s.at + s.late + '20 minutes', s.source, s.at, 'f' || t.r, CASE WHEN golden.rnd(x || 'named', 3) > 0 THEN t.account END,
	CASE WHEN golden.rnd(x || 'entity', 9) > 0 THEN 'vm' END,
	CASE WHEN golden.rnd(x || 'wrong', 12) = 0 THEN 'xl' WHEN golden.rnd(x || 'said', 4) > 0 THEN t.offering END, CASE WHEN golden.rnd(x || 'value', 4) > 0 THEN t.value END,
	CASE WHEN golden.rnd(x || 'since', 3) > 0 THEN least(s.at, b.since + golden.pick(x || 'skew', '0', '0', '30 seconds', '5 minutes', '-2 hours')::interval) END,
	CASE WHEN golden.rnd(x || 'meter', 12) = 0 THEN 'load' END, CASE WHEN golden.rnd(x || 'zone', 3) > 0 THEN jsonb_build_object('zone', t.zone) END
FROM snapshots s
CROSS JOIN LATERAL (SELECT DISTINCT ON (r) * FROM golden.truth t WHERE t.at <= s.at ORDER BY r, n DESC) t
CROSS JOIN LATERAL (SELECT s.source || s.at || t.k AS x) x
CROSS JOIN LATERAL (SELECT max(b.at) AS since FROM golden.truth b WHERE b.r = t.r AND b.at <= s.at AND b.action = 'start') b
WHERE t.action <> 'stop' AND golden.rnd(x || 'gap', 10) > 0 AND (t.source = s.source OR golden.rnd(x || 'foreign', 10) = 0)
UNION ALL
SELECT 'golden_fleet', s.at + s.late + '20 minutes', s.source, s.at, 'tied', NULL, 'vm', NULL, NULL, NULL, NULL, NULL
FROM snapshots s WHERE s.source = 'api' AND s.at < :fleet_begins::timestamptz + '30 hours'::interval
UNION ALL	-- nothing ever happened to it, and both list it at one instant
SELECT 'golden_fleet', s.at + s.late + '20 minutes', s.source, s.at, 'of both', s.source, 'vm', s.source, 4, s.at - '3 hours'::interval, NULL, NULL
FROM snapshots s WHERE s.at IN (SELECT n.at FROM snapshots n GROUP BY n.at HAVING count(*) = 2)
UNION ALL
SELECT 'golden_fleet', s.at + s.late + '20 minutes', s.source, s.at, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL FROM snapshots s;

SELECT golden.create_meter('golden_fleet', name, aggregate, options::jsonb) FROM (VALUES
	('vm', 'duration', '{"entity": "vm", "starts": "{start}", "stops": "{stop}", "changes": "{resize}", "lateness": "0", "max_lateness": "40 hours"}'),
	('load', 'weighted', '{"starts": "{start}", "stops": "{stop}", "changes": "{resize}", "dimensions": "{zone}", "clock": "source", "lateness": "0", "max_lateness": "30 hours"}'),
	('strict', 'duration', '{"entity": "vm", "starts": "{start}", "stops": "{stop}", "dimensions": "{}", "lateness": "0", "max_lateness": "4 hours"}'),
	('any', 'duration', '{"starts": "{start}", "stops": "{stop}", "dimensions": "{}", "rounding": "none", "clock": "event", "lateness": "30 minutes",
		"max_lateness": "1 day", "period": "1 day", "timezone": "Europe/Berlin"}')
) m (name, aggregate, options);
SELECT meter.set_source('golden_fleet', 'agent', '3 hours');

CALL golden.live('golden_fleet', :fleet_begins, 0, 32, 4);
SELECT * FROM golden.look('golden_fleet', 'ledger', 'totals', 'settled', 'live', 'state', 'held', 'observation', 'found', 'snapshot', 'compared', 'settlement', 'status', 'anomaly');
SELECT * FROM meter.verify('golden_fleet');
SELECT source, at, resource, problem, correction, "time" FROM golden.found WHERE resource IN ('f1', 'f2', 'f3', 'f4', 'f5', 'of both', 'tied') ORDER BY at, source, resource, problem;
-- snapshots that are refused: of the future, with a resource twice, running since later, for no meter, other than it was, empty, with too many stops
SELECT problem, golden.try(format('INSERT INTO golden_fleet.inventory (source, at, resource, entity, since, meter) VALUES %s;
	SELECT count(*) FROM meter.reconcile(''golden_fleet'', ''api'', %L%s)', given, at, options))
FROM (VALUES
	('future', $$('api', '2024-04-01 00:00Z', 'f1', 'vm', NULL, NULL)$$, '2024-04-01 00:00Z', ', dry_run => true'),
	('twice', $$('api', '2024-03-31 13:50Z', 'f1', 'vm', NULL, NULL), ('api', '2024-03-31 13:50Z', 'f1', 'vm', NULL, NULL)$$, '2024-03-31 13:50Z', ', max_stops => 100'),
	('since', $$('api', '2024-03-31 13:50Z', 'f1', 'vm', '2024-03-31 13:51Z', NULL)$$, '2024-03-31 13:50Z', ', max_stops => 100'),
	('meter', $$('api', '2024-03-31 13:50Z', 'f1', 'vm', NULL, 'none')$$, '2024-03-31 13:50Z', ', max_stops => 100'),
	('other', (SELECT format($$('api', %L, 'f99', 'vm', NULL, NULL)$$, max(at)) FROM golden_fleet.snapshot WHERE source = 'api'),
		(SELECT max(at)::text FROM golden_fleet.snapshot WHERE source = 'api'), ', max_stops => 100'),
	('empty', $$('agent', '2024-03-31 13:50Z', 'f1', 'vm', NULL, NULL)$$, '2024-03-31 13:50Z', ''),
	('stops', $$('api', '2024-03-31 13:50Z', 'f1', 'vm', NULL, NULL)$$, '2024-03-31 13:50Z', ', max_stops => 1'),
	('stops', $$('api', '2024-03-31 13:50Z', 'f1', 'vm', NULL, NULL)$$, '2024-03-31 13:50Z', ', max_stops => 100'),
	('none', $$('api', '2024-03-31 13:50Z', 'f1', 'vm', NULL, NULL)$$, '2024-03-31 13:50Z', ', max_stops => 100')) r (problem, given, at, options);
-- another meter is compared with what there is; observations cannot be taken back
SELECT golden.create_meter('golden_fleet', 'new', 'duration', '{"entity": "vm", "starts": "{start}", "stops": "{stop}", "dimensions": "{zone}", "lateness": "0",
	"max_lateness": "3 days"}');
SELECT meter.roll('golden_fleet');
INSERT INTO golden_fleet.event (source, id, "time", resource, action)
SELECT source, id, "time", resource, 'void' FROM golden_fleet.event WHERE action LIKE 'reconciled:%' ORDER BY md5(id || resource), source LIMIT 4;
SELECT count(*) FROM meter.reconcile('golden_fleet', 'api', '2024-03-31 13:00Z', allow_empty => true, dry_run => true);
CALL golden.live('golden_fleet', :fleet_begins, 32, 60, 7);
SELECT meter.release('golden_fleet', 'load'), meter.release('golden_fleet', 'any');
SELECT * FROM golden.look('golden_fleet', 'ledger', 'totals', 'settled', 'live', 'state', 'held', 'observation', 'found', 'snapshot', 'compared', 'settlement', 'status',
	'anomaly', 'explain');
SELECT * FROM meter.verify('golden_fleet');
-- the log forgets its first segment, and snapshots of then; what comes after all is counted, or held
SET meter.now = '2024-04-06 06:30Z';
INSERT INTO golden_fleet.event ("time", resource, action) VALUES ('2024-04-05 06:25Z', 'clock', 'tick');
SELECT meter.heartbeat('golden_fleet', 'api', '2024-04-05 06:00Z'), meter.heartbeat('golden_fleet', 'agent', '2024-04-05 06:10Z');
CALL meter.run('golden_fleet');
SELECT meter.expire('golden_fleet', '2024-04-02 12:00Z');
CALL golden.deliver('golden_fleet', '2024-04-01 18:00Z', 'infinity');
CALL meter.run('golden_fleet');
SELECT * FROM golden.look('golden_fleet', 'ledger', 'totals', 'state', 'held', 'observation', 'snapshot', 'retention', 'retention state', 'expired', 'status', 'anomaly');
SELECT * FROM meter.verify('golden_fleet');

-- ================================================================ what a log forgets
-- The same machines as above and a few meters; segments are rolled, sealed and dropped on the way.
SELECT meter.create_stream('golden_old', '6 hours');
INSERT INTO golden.arriving
SELECT 'golden_old', log, seq, arrives, source, id, "time", end_time, resource, account, entity, action, offering, value, attributes
FROM golden.arriving WHERE stream = 'golden_cloud' AND substr(resource, 2)::int <= 16;
SELECT golden.create_meter('golden_old', name, aggregate, options::jsonb) FROM (VALUES
	('vm', 'duration', '{"starts": "{create,start}", "stops": "{delete,stop}", "changes": "{resize,update}", "lateness": "0", "max_lateness": "12 hours"}'),
	('gb', 'weighted', '{"starts": "{create,start}", "stops": "{delete,stop}", "changes": "{resize}", "dimensions": "{zone}", "period": "6 hours", "unit": "1 hour",
		"lateness": "0", "max_lateness": "20 hours"}')
) m (name, aggregate, options);
CALL golden.live('golden_old', :cloud_begins, 0, 28, 7);
SELECT meter.roll('golden_old');
CALL golden.live('golden_old', :cloud_begins, 28, 56, 7);
SELECT meter.roll('golden_old');
CALL meter.run('golden_old');
CALL golden.live('golden_old', :cloud_begins, 56, 84, 7);
CALL meter.run('golden_old');
SELECT meter.expire('golden_old', '2024-03-31 12:30Z');
SELECT log, segment, state, rows, least_time, greatest_time FROM meter.log_segments('golden_old') ORDER BY 1, 2;
SELECT * FROM golden.look('golden_old', 'ledger', 'totals', 'state', 'retention', 'retention state', 'expired', 'held', 'anomaly', 'status');
SELECT * FROM meter.verify('golden_old');
SELECT meter.drop_meter('golden_old', 'vm');
SELECT golden.create_meter('golden_old', 'vm', 'duration', '{"starts": "{create,start}", "stops": "{delete,stop}", "changes": "{resize,update}", "lateness": "0",
	"max_lateness": "12 hours"}');
CALL golden.live('golden_old', :cloud_begins, 84, 112, 7);
SELECT meter.release('golden_old', 'vm'), meter.resettle('golden_old', 'gb');
CALL meter.run('golden_old');
SELECT * FROM golden.look('golden_old', 'ledger', 'totals', 'settled', 'live', 'state', 'retention', 'retention state', 'held', 'settlement', 'anomaly', 'status', 'explain');
SELECT * FROM meter.verify('golden_old');

-- ================================================================ days that are odd
SELECT meter.create_stream('golden_zones');
CREATE TABLE golden.place (zone text, begins timestamptz, period text, increment text, rounding text, until timestamp);
INSERT INTO golden.place VALUES
	('Europe/Berlin', '2024-03-30 18:00Z', '1 hour', '20 minutes', 'up', '2024-04-02'), ('Europe/Berlin', '2024-10-26 18:00Z', '1 day', '1 hour', 'nearest', '2024-10-30'),
	('America/New_York', '2024-03-09 20:00Z', '1 day', '3 hours', 'down', '2024-03-13'), ('America/New_York', '2024-11-02 20:00Z', '6 hours', '1 hour', 'up', '2024-11-06'),
	('Australia/Lord_Howe', '2024-10-05 04:00Z', '1 hour', '1 hour', 'down', '2024-10-08'), ('Australia/Lord_Howe', '2024-04-06 04:00Z', '1 day', '1 hour', 'up', '2024-04-10'),
	('America/Havana', '2020-10-31 20:00Z', '1 day', '1 minute', 'none', '2020-11-05'), ('America/Sao_Paulo', '2018-11-03 20:00Z', '12 hours', '1 hour', 'up', '2018-11-07'),
	('America/St_Johns', '2006-10-28 20:00Z', '1 week', '1 day', 'up', '2006-11-13'), ('Pacific/Apia', '2011-12-29 20:00Z', '1 day', '1 hour', 'up', '2012-01-02'),
	('Pacific/Apia', '2011-12-28 20:00Z', '3 months', '1 day', 'nearest', '2012-07-01'), ('UTC', '1969-12-31 10:00Z', '1 hour', '5 minutes', 'nearest', '1970-01-03'),
	('Asia/Kolkata', '2024-02-28 12:00Z', '1 month', '30 minutes', 'down', '2024-04-01');
INSERT INTO golden_zones.event ("time", resource, account, action, offering, value)
SELECT golden.moment(k, begins, 54), 'z' || r, golden.pick(k || 'account', NULL, 'A', 'B'), golden.pick(k || 'action', 'start', 'start', 'stop', 'resize') || p,
	golden.pick(k || 'offering', NULL, 's', 'm'), golden.pick(k || 'value', NULL, '1', '2.5', '3')::numeric
FROM (SELECT *, row_number() OVER (ORDER BY begins) AS p FROM golden.place) p, generate_series(1, 10) r, generate_series(1, 9) i, concat('z', p, '.', r, '.', i) k ORDER BY md5(k);
SET meter.now = '2024-12-01';
SET meter.batch_rows = 40;
SELECT golden.create_meter('golden_zones', format('%s %s', zone, begins::date), CASE WHEN rounding = 'none' OR p % 3 = 0 THEN 'weighted' ELSE 'duration' END,
	jsonb_build_object('starts', format('{start%s}', p), 'stops', format('{stop%s}', p), 'changes', format('{resize%s}', p), 'period', period, 'increment', increment,
	'rounding', rounding, 'timezone', zone, 'until', until AT TIME ZONE zone, 'lateness', '0'))
FROM (SELECT *, row_number() OVER (ORDER BY begins) AS p FROM golden.place) p ORDER BY begins;
CALL meter.run('golden_zones');
SELECT * FROM golden.look('golden_zones', 'ledger', 'settled', 'live', 'state', 'status');
SELECT * FROM meter.verify('golden_zones');
SELECT meter, period_start AT TIME ZONE 'Pacific/Apia' AS apia, account, dimensions, quantity FROM golden_zones.usage_total
WHERE meter LIKE 'Pacific%' AND resource = 'z1' ORDER BY meter, period_start, account, dimensions;

-- ================================================================ the same in SQL, without a stream
CREATE TABLE golden.lines AS
SELECT resource, meter.timeline("time", CASE WHEN action IN ('create', 'start') THEN true WHEN action IN ('delete', 'stop') THEN false END, offering, value) AS line,
	meter.timeline("time", CASE WHEN action IN ('create', 'start') THEN true WHEN action IN ('delete', 'stop') THEN false END) AS bare,
	meter.levels("time", value) AS levels, meter.heartbeats("time", '45 minutes') AS beats,
	meter.billed("time", CASE WHEN action IN ('create', 'start') THEN true WHEN action IN ('delete', 'stop') THEN false END, '[2024-03-30 01:10Z, 2024-03-31 07:05Z)', '1 minute') AS billed
FROM golden.arriving WHERE stream = 'golden_cloud' AND log = 'event' AND action IN ('create', 'start', 'delete', 'stop', 'resize') GROUP BY resource;
SELECT what, count(*), md5(string_agg(said, E'\n' ORDER BY resource COLLATE "C", said COLLATE "C")) AS digest
FROM golden.lines l, (VALUES ('[2024-03-30 01:10Z, 2024-03-31 07:05Z)'::tstzrange)) w (during),
LATERAL (
	SELECT 'line', line::text UNION ALL SELECT 'bare', bare::text UNION ALL SELECT 'levels', levels::text UNION ALL SELECT 'heartbeats', beats::text
	UNION ALL SELECT 'billed', billed::text UNION ALL SELECT 'duration', meter.duration(line)::text
	UNION ALL SELECT 'duration in a window', meter.duration(line, during, '8 minutes', r)::text FROM unnest('{up,down,nearest,none}'::text[]) r
	UNION ALL SELECT 'weighted', meter.weighted(line, during, '7 seconds')::text UNION ALL SELECT 'spans', s::text FROM meter.spans(line) s
	UNION ALL SELECT 'periods', p::text FROM unnest('{up,down,nearest,none}'::text[]) r, meter.periods(line, during, '6 hours', '15 minutes', r, 'Europe/Berlin') p
	UNION ALL SELECT 'active', meter.active_at(line, t)::text FROM generate_series('2024-03-30'::timestamptz, '2024-04-01', '5 hours') t) x (what, said)
GROUP BY what ORDER BY what;
SELECT md5(meter.merge(line)::text) AS merged, meter.duration(meter.merge(line)) FROM golden.lines WHERE resource < 'r14';
SELECT line, levels FROM golden.lines WHERE resource = 'r2';

-- ================================================================ what is many
-- Resources of more events than are walked at once: one never stopped, as the log knows it, and a snapshot knows better; two run now and then, of which one is
-- named late, and one never. More small ones than are written at once.
SET meter.batch_rows = 1000000;
SELECT meter.create_stream('golden_many');
\set many_begins '''2024-03-31 00:00+00'''
SELECT golden.create_meter('golden_many', name, aggregate, options::jsonb) FROM (VALUES
	('up', 'duration', '{"entity": "vm", "starts": "{start}", "stops": "{stop}", "changes": "{resize}", "dimensions": "{offering}", "increment": "1 minute", "lateness": "0"}'),
	('gb', 'weighted', '{"entity": "vm", "starts": "{start}", "stops": "{stop}", "changes": "{resize}", "dimensions": "{}", "rounding": "none", "period": "6 hours", "lateness": "0"}'),
	('small', 'duration', '{"entity": "small", "starts": "{start}", "stops": "{stop}", "dimensions": "{}", "period": "12 hours", "unit": "1 hour", "lateness": "0"}'),
	('reading', 'counter', '{"entity": "ctr", "dimensions": "{zone}", "lateness": "0"}')
) m (name, aggregate, options);
INSERT INTO golden_many.event (source, "time", resource, account, entity, action, offering, value)
SELECT 'api', :many_begins::timestamptz + i * '7 seconds'::interval, 'on', 'A', 'vm', CASE i WHEN 0 THEN 'start' ELSE 'resize' END, 'o' || i / 50 % 12, i % 13
FROM generate_series(0, 11999) i WHERE i NOT BETWEEN 5000 AND 5499
UNION ALL
SELECT NULL, :many_begins::timestamptz + i / 11 * 10 * '4 seconds'::interval + least(i % 11, 9) * '4 seconds'::interval, r, CASE WHEN r = 'named' AND i > 9500 AND i % 5 = 0 THEN 'B' END, 'vm',
	CASE WHEN i % 100 = 0 THEN 'start' WHEN i % 100 = 97 THEN 'stop' ELSE 'resize' END, 'o' || i / 30 % 7, i % 17
FROM generate_series(0, 17999) i, unnest('{named,nobody}'::text[]) r
UNION ALL
SELECT NULL, :many_begins::timestamptz + i * '10 seconds'::interval, 's' || i, 'account ' || i % 3, 'small', 'start', NULL, NULL FROM generate_series(1, 2100) i;
-- readings that are taken back, before and after a step has seen it
INSERT INTO golden_many.measure (source, id, start_time, end_time, resource, account, entity, value, attributes)
SELECT 'api', 'm' || i, at, at, CASE WHEN i < 3 THEN 'c1' ELSE 'c2' END, 'A', 'ctr', 100 * i, jsonb_build_object('zone', 'z' || i)
FROM generate_series(1, 4) i, LATERAL (SELECT :many_begins::timestamptz + i * '1 hour'::interval AS at) t;
SET meter.now = '2024-03-31 18:30Z';
CALL meter.run('golden_many');
SELECT * FROM golden.look('golden_many', 'ledger', 'settled', 'live', 'state', 'reading');
INSERT INTO golden_many.event (source, id, "time", resource, entity, action) VALUES ('api', 'm1', '2024-03-31 18:20Z', 'c1', 'ctr', 'void');
CALL meter.run('golden_many');
SELECT * FROM golden.look('golden_many', 'reading');
INSERT INTO golden_many.event (source, id, "time", resource, entity, action) VALUES ('api', 'm3', '2024-03-31 18:20Z', 'c2', 'ctr', 'void');
SELECT meter.resettle('golden_many', 'reading');
SELECT * FROM golden.look('golden_many', 'reading');
INSERT INTO golden_many.measure (source, start_time, end_time, resource, account, entity, value, attributes)
SELECT 'api', '2024-03-31 20:00Z', '2024-03-31 20:00Z', CASE WHEN i < 3 THEN 'c1' ELSE 'c2' END, 'A', 'ctr', 1000, jsonb_build_object('zone', 'z' || i) FROM generate_series(1, 4) i;
INSERT INTO golden_many.inventory (source, at, resource, entity, since) VALUES ('api', '2024-03-31 23:50Z', 'on', 'vm', '2024-03-31 10:30Z');
SET meter.now = '2024-04-01 00:00Z';
SELECT * FROM meter.reconcile('golden_many', 'api', '2024-03-31 23:50Z');
CALL meter.run('golden_many');
-- late, and what runs on
INSERT INTO golden_many.event ("time", resource, account, entity, action, offering, value) VALUES
	('2024-03-31 01:00Z', 'on', 'C', 'vm', 'resize', 's', 2), ('2024-03-31 02:00Z', 'named', NULL, 'vm', 'stop', NULL, NULL);
SET meter.now = '2024-04-01 12:10Z';
CALL meter.run('golden_many');
SELECT * FROM golden.look('golden_many', 'ledger', 'totals', 'settled', 'live', 'state', 'reading', 'settlement', 'status', 'observation');
SELECT * FROM meter.verify('golden_many');
-- what no step has looked at is no fault, whatever its resource
INSERT INTO golden_many.event ("time", resource, entity, action) VALUES ('2024-03-31 00:00:05Z', 's1', 'small', 'start');
INSERT INTO golden_many.measure (start_time, end_time, resource, account, entity, value, attributes) VALUES ('2024-03-31 19:00Z', '2024-03-31 19:00Z', 'c1', 'B', 'ctr', 700, '{"zone": "z2"}');
SELECT * FROM meter.verify('golden_many');

-- ================================================================ what is late, and known before
-- Hours of rows, every fifth of them late by up to a day and a half, some sent again, some taken back; the log is rolled and sealed, snapshots
-- are reconciled, and what is old is expired. States are kept before each period, so that what is late begins at one. After each hour nothing may
-- differ from what all rows come to.
SELECT meter.create_stream('golden_kept', deduplication_window => '90 minutes');
\set kept_begins '''2024-03-29 00:00+00'''
SELECT golden.create_meter('golden_kept', name, aggregate, options::jsonb || '{"max_lateness": "2 days", "lateness": "0"}') FROM (VALUES
	('minutes', 'duration', '{"starts": "{start}", "stops": "{stop}", "changes": "{resize}", "dimensions": "{offering}", "since": "2024-03-29 00:00+00"}'),
	('gb', 'weighted', '{"starts": "{start}", "stops": "{stop}", "changes": "{resize}", "dimensions": "{}", "period": "6 hours", "since": "2024-03-29 00:00+00"}'),
	('read', 'counter', '{"entity": "m", "dimensions": "{zone}", "since": "2024-03-29 00:00+00"}'),
	('bytes', 'sum', '{"entity": "m", "dimensions": "{}", "since": "2024-03-29 00:00+00"}')
) m (name, aggregate, options);
CREATE PROCEDURE golden.hours(begins timestamptz, upto int) LANGUAGE plpgsql AS $$
DECLARE
	h int;
	differs text;
BEGIN
	FOR h IN 1 .. upto LOOP
		PERFORM set_config('meter.now', (begins + make_interval(hours => h))::text, false);
		PERFORM set_config('meter.keep_interval', CASE WHEN h % 7 = 0 THEN '60' ELSE '0' END, false);
		-- of each resource some rows; a row that is sent again has the id of one of the hours before
		INSERT INTO golden_kept.event (source, id, "time", resource, account, action, offering, value)
		SELECT 's', CASE golden.rnd(k || 'id', 6) WHEN 0 THEN NULL WHEN 1 THEN 'e' || golden.rnd(k || 'of', 4) || '.' || h - 1 - golden.rnd(k || 'back', 3) ELSE 'e' || i || '.' || h END,
			begins + make_interval(hours => h - 1, mins => golden.rnd(k || 'at', 60)) - CASE WHEN golden.rnd(k || 'late', 5) = 0 THEN make_interval(mins => golden.rnd(k || 'by', 2100)) ELSE '0' END,
			'r' || r, CASE WHEN r < 7 OR h > 20 THEN golden.pick(k || 'account', NULL, NULL, 'A', 'B') END,
			golden.pick(k || 'action', 'start', 'start', 'stop', 'stop', 'resize'), golden.pick(k || 'offering', NULL, 's', 'm'), golden.rnd(k || 'value', 9)
		FROM generate_series(1, 8) r, generate_series(1, 3) i, LATERAL (SELECT 'k' || r || '.' || i || '.' || h AS k) k WHERE golden.rnd(k || 'any', 3) > 0;
		INSERT INTO golden_kept.event (source, id, "time", resource, action)
		SELECT 's', 'e' || golden.rnd('v' || r || h, 4) || '.' || h - golden.rnd('w' || r || h, 5), begins + make_interval(hours => h), 'r' || r, 'void'
		FROM generate_series(1, 8) r WHERE golden.rnd('void' || r || h, 12) = 0;
		INSERT INTO golden_kept.measure (source, id, start_time, end_time, resource, account, entity, value, attributes)
		SELECT 's', CASE golden.rnd(k || 'id', 5) WHEN 0 THEN NULL WHEN 1 THEN 'm' || golden.rnd(k || 'of', 4) || '.' || h - 1 - golden.rnd(k || 'back', 3) ELSE 'm' || i || '.' || h END, at,
			at + make_interval(mins => golden.rnd(k || 'long', 3) * 40), 'r' || r, golden.pick(k || 'account', NULL, NULL, NULL, 'C'), 'm',
			h * 100 + golden.rnd(k || 'value', 99), jsonb_build_object('zone', golden.pick(k || 'zone', 'x', 'y'))
		FROM generate_series(1, 8) r, generate_series(1, 3) i, LATERAL (SELECT 'l' || r || '.' || i || '.' || h AS k) k,
			LATERAL (SELECT begins + make_interval(hours => h - 1, mins => golden.rnd(k || 'at', 60)) - CASE WHEN golden.rnd(k || 'late', 5) = 0 THEN make_interval(mins => golden.rnd(k || 'by', 2100)) ELSE '0' END AS at) t
		WHERE golden.rnd(k || 'any', 3) > 0;
		INSERT INTO golden_kept.event (source, id, "time", resource, action)
		SELECT 's', 'm' || golden.rnd('v' || r || h, 4) || '.' || h - golden.rnd('w' || r || h, 5), begins + make_interval(hours => h), 'r' || r, 'void'
		FROM generate_series(1, 8) r WHERE golden.rnd('voided' || r || h, 12) = 0;
		-- much that is not looked at, so that rows are looked up by resource
		INSERT INTO golden_kept.event ("time", resource, action) SELECT begins + make_interval(hours => h), 'x' || i, 'ping' FROM generate_series(1, 400) i;
		INSERT INTO golden_kept.measure (start_time, end_time, resource) SELECT begins + make_interval(hours => h - 1), begins + make_interval(hours => h), 'x' || i FROM generate_series(1, 400) i;
		COMMIT;
		IF h % 9 = 0 THEN
			INSERT INTO golden_kept.inventory (source, at, resource, since)
			SELECT 's', begins + make_interval(hours => h, mins => CASE WHEN h % 2 = 0 THEN 0 ELSE -30 END), 'r' || r, CASE golden.rnd('since' || r || h, 3) WHEN 0 THEN begins + make_interval(hours => h - 3) END
			FROM generate_series(1, 8) r WHERE golden.rnd('listed' || r || h, 2) = 0;
			PERFORM meter.reconcile('golden_kept', 's', begins + make_interval(hours => h, mins => CASE WHEN h % 2 = 0 THEN 0 ELSE -30 END));
			COMMIT;
		END IF;
		CALL meter.run('golden_kept');
		IF h % 4 = 0 THEN
			PERFORM meter.roll('golden_kept');
			COMMIT;
			CALL meter.run('golden_kept');
		END IF;
		IF h % 30 = 0 THEN
			PERFORM meter.expire('golden_kept', begins + make_interval(hours => h - 20));
			COMMIT;
		END IF;
		IF h % 3 = 0 THEN
			SELECT string_agg(v::text, E'\n' ORDER BY v::text COLLATE "C") INTO differs FROM (SELECT * FROM meter.verify('golden_kept') ORDER BY meter, resource, period_start LIMIT 3) v;
			IF differs IS NOT NULL THEN
				RAISE WARNING 'after % hours: %', h, differs;
			END IF;
		END IF;
	END LOOP;
END $$;
CALL golden.hours(:kept_begins, 96);
RESET meter.keep_interval;
-- the reading before a late one is a duplicate of the one before
INSERT INTO golden_kept.measure (source, id, start_time, end_time, resource, account, entity, value, attributes)
SELECT 's', id, at, at, 'd', 'A', 'm', value, '{"zone": "x"}' FROM (VALUES (92, 0, 100, 'a'), (93, 0, 150, 'b'), (93, 20, 170, 'b'), (95, 0, 300, 'c')) m (h, m, value, id),
	LATERAL (SELECT :kept_begins::timestamptz + make_interval(hours => h, mins => m) AS at) t;
SELECT meter.roll('golden_kept');
SET meter.now = '2024-04-02 01:00Z';
CALL meter.run('golden_kept');
CALL meter.run('golden_kept');
INSERT INTO golden_kept.measure (start_time, end_time, resource, account, entity, value, attributes)
SELECT at, at, 'd', 'A', 'm', 200, '{"zone": "x"}' FROM (SELECT :kept_begins::timestamptz + '94 hours'::interval AS at) t;
CALL meter.run('golden_kept');
SELECT period_start, quantity, revision FROM golden_kept.usage WHERE meter = 'read' AND resource = 'd' ORDER BY 1, 3;
SELECT * FROM meter.verify('golden_kept');
SELECT * FROM golden.look('golden_kept', 'ledger', 'totals', 'settled', 'live', 'state', 'kept state', 'reading', 'held', 'voided', 'settlement', 'observation', 'retention', 'retention state',
	'retention reading', 'expired');
SELECT * FROM golden.look('golden_kept', 'explain');
SELECT sum(meter.resettle('golden_kept', name, NULL)) FROM meter.meter WHERE stream = 'golden_kept';
SELECT * FROM golden.look('golden_kept', 'state', 'reading');

SELECT meter.drop_stream(s, delete_data => true) FROM unnest('{golden_cloud,golden_net,golden_fleet,golden_old,golden_zones,golden_many,golden_kept}'::text[]) s;
DROP SCHEMA golden CASCADE;
