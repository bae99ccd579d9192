-- Promise: a counter's readings count by their end, as its options say; what is passed over leaves no trace, whenever it came.
SET timezone = 'UTC';
SET datestyle = 'ISO';
\set SHOW_CONTEXT never
SET meter.segment_rows = 0;

-- ---------------------------------------------------------------- what comes up in the field
-- Each case is a meter of its own over the readings of its resources.
SELECT meter.create_stream('counters_field');
CREATE FUNCTION pg_temp.field(name text, options text, readings text) RETURNS numeric LANGUAGE plpgsql AS $$
BEGIN
	EXECUTE format('INSERT INTO counters_field.measure (source, entity, start_time, end_time, resource, account, value, attributes)
		SELECT ''field'', %1$L, ''2024-03-05''::date + at::interval, ''2024-03-05''::date + at::interval, resource, ''alice'', value,
			jsonb_build_object(''pod'', pod) FROM (VALUES %2$s) v (at, resource, value, pod)', name, readings);
	EXECUTE format('SELECT meter.create_meter(''counters_field'', %1$L, aggregate => ''counter'', entity => %1$L, lateness => ''0'', %2$s)', name, options);
	PERFORM meter.advance('counters_field', name) FROM generate_series(1, 3);
	RETURN (SELECT sum(quantity) FROM counters_field.usage WHERE meter = name);
END $$;
SET meter.now = '2024-03-06 00:00';
SELECT * FROM (VALUES
	('a register that goes round at 1000', 13.37, pg_temp.field('g02', $$dimensions => '{}', modulus => 1000$$,
		$$('09:00', 'w', 999.93, NULL), ('09:30', 'w', 13.30, NULL)$$)),
	('a poll that failed reads 0', 500, pg_temp.field('n02', $$dimensions => '{}', drops => 'ignore'$$,
		$$('10:00', 'port-1', 1000000, NULL), ('10:05', 'port-1', 0, NULL), ('10:10', 'port-1', 1000500, NULL)$$)),
	('a transaction begins at 0, its first reading comes later', 1400, pg_temp.field('o04', $$dimensions => '{}', begins => 'zero'$$,
		$$('10:05', 'tx-1', 400, NULL), ('10:10', 'tx-1', 900, NULL), ('11:05', 'tx-2', 500, NULL)$$)),
	('a pod and the next one', 40, pg_temp.field('p01', $$dimensions => '{pod}', begins => 'zero'$$,
		$$('10:00:15', 'web', 3, 'a'), ('10:00:30', 'web', 8, 'a'), ('10:00:45', 'web', 15, 'a'), ('10:01:00', 'web', 21, 'a'),
		('10:05:15', 'web', 8, 'b'), ('10:05:30', 'web', 9, 'b'), ('10:05:45', 'web', 13, 'b'), ('10:06:00', 'web', 19, 'b')$$)),
	('octets in 32 bits', 1000, pg_temp.field('r01', $$dimensions => '{}', modulus => 4294967296$$,
		$$('10:00', 'sess-1', 4294967000, NULL), ('10:10', 'sess-1', 704, NULL)$$)),
	('a low word that went round before the high word was raised', 21, pg_temp.field('r02', $$dimensions => '{}', drops => 'ignore'$$,
		$$('10:00', 'sess-1', 4294967290, NULL), ('10:10', 'sess-1', 5, NULL), ('10:20', 'sess-1', 4294967311, NULL)$$)),
	('an interim after the stop that is stale', 2000, pg_temp.field('r04', $$dimensions => '{}', drops => 'ignore'$$,
		$$('10:00', 'sess-1', 0, NULL), ('10:10', 'sess-1', 1000, NULL), ('10:20', 'sess-1', 2000, NULL), ('10:20:01', 'sess-1', 1900, NULL)$$))
) f (field, should, does);
SELECT * FROM meter.verify('counters_field');

-- What was passed over is an anomaly, and what dropped says what was added.
SELECT class, meter, resource, "time", detail FROM meter.anomalies('counters_field') WHERE class IN ('passed over', 'counter drop') ORDER BY 1, 2, 4;

-- ---------------------------------------------------------------- all small sets of readings, with all options
-- What a counter must say, instant by instant, from the table readings: of several at one instant the greatest that is not passed over.
CREATE TEMP TABLE readings (resource text COLLATE "C", slot int, start_time timestamptz, end_time timestamptz, value numeric);
CREATE FUNCTION pg_temp.expected(begins text, modulus numeric, drops text, since timestamptz)
RETURNS TABLE (resource text, period_start timestamptz, quantity numeric) LANGUAGE plpgsql AS $$
DECLARE
	r record;
	last readings;
	begun timestamptz;           -- the start of the last reading that counted and said one
	done timestamptz;            -- the instant that has its reading
	added numeric;
BEGIN
	last := NULL;
	FOR r IN SELECT * FROM readings x ORDER BY x.resource, x.end_time, x.value DESC, x.start_time DESC LOOP
		IF last.resource IS DISTINCT FROM r.resource THEN
			last := NULL; begun := NULL;
		END IF;
		CONTINUE WHEN last.resource IS NOT NULL AND last.end_time = r.end_time;
		CONTINUE WHEN r.value < 0 OR r.value >= modulus;
		IF last.resource IS NULL THEN
			added := CASE WHEN begins = 'zero' OR (begins = 'start' AND r.start_time < r.end_time
				AND (since IS NULL OR r.start_time >= since)) THEN r.value END;
		ELSIF begins = 'start' AND r.start_time + interval '1 second' < begun THEN
			CONTINUE;
		ELSIF begins = 'start' AND r.start_time > last.end_time AND r.start_time < r.end_time THEN
			added := r.value;
		ELSIF r.value >= last.value THEN
			added := r.value - last.value;
		ELSIF r.value + modulus - last.value < modulus / 2 THEN
			added := r.value + modulus - last.value;
		ELSIF drops = 'ignore' THEN
			CONTINUE;
		ELSE
			added := r.value;
		END IF;
		last := r;
		IF r.start_time < r.end_time THEN
			begun := r.start_time;
		END IF;
		IF added <> 0 AND (since IS NULL OR r.end_time >= since) THEN
			resource := r.resource; period_start := date_trunc('hour', r.end_time); quantity := added;
			RETURN NEXT;
		END IF;
	END LOOP;
END $$;

-- The meters, and what the ledger says that it should not, or the other way round.
CREATE TEMP TABLE options (meter text, begins text, modulus numeric, drops text, since timestamptz);
CREATE FUNCTION pg_temp.create_meters(stream text) RETURNS bigint LANGUAGE sql AS $$
	SELECT count(meter.create_meter(stream, meter, aggregate => 'counter', entity => 'port', dimensions => '{}', lateness => '0', begins => begins,
		modulus => modulus, drops => drops, since => since)) FROM options
$$;
CREATE FUNCTION pg_temp.differs(stream text) RETURNS TABLE (meter text, resource text, period_start timestamptz, ledger numeric, expected numeric)
LANGUAGE plpgsql AS $$
BEGIN
	RETURN QUERY EXECUTE format('SELECT coalesce(u.meter, e.meter), coalesce(u.resource, e.resource), coalesce(u.period_start, e.period_start), u.quantity, e.quantity
		FROM (SELECT meter, resource, period_start, sum(quantity) AS quantity FROM %I.usage GROUP BY 1, 2, 3 HAVING sum(quantity) <> 0) u
		FULL JOIN (SELECT o.meter, e.resource, e.period_start, sum(e.quantity) AS quantity
			FROM options o, pg_temp.expected(o.begins, o.modulus, o.drops, o.since) e GROUP BY 1, 2, 3) e
		ON u.meter = e.meter AND u.resource = e.resource AND u.period_start = e.period_start
		WHERE u.quantity IS DISTINCT FROM e.quantity LIMIT 5', stream);
END $$;
-- Logs the readings of some slots.
CREATE FUNCTION pg_temp.log(stream text, VARIADIC slots int[]) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	EXECUTE format('INSERT INTO %I.measure (source, id, entity, start_time, end_time, resource, account, value)
		SELECT ''leaf'', r.slot, ''port'', r.start_time, r.end_time, r.resource, ''alice'', r.value FROM readings r WHERE r.slot = ANY ($1) ORDER BY random()', stream)
	USING slots;
END $$;

-- Up to four readings, two of them at one instant on a period's boundary: nothing, or one of these values.
INSERT INTO readings SELECT format('%s/%s/%s/%s', a, b, c, d), s.slot, s.at, s.at, s.value
FROM unnest('{-1,3,9,12,NULL}'::int[]) a, unnest('{-1,0,7,12,NULL}'::int[]) b, unnest('{3,9,12,NULL}'::int[]) c, unnest('{0,3,7,NULL}'::int[]) d,
	LATERAL (VALUES (1, '2024-03-05 10:30'::timestamptz, a), (2, '2024-03-05 11:00', b),
		(3, '2024-03-05 11:00', c), (4, '2024-03-05 12:30', d)) s (slot, at, value)
WHERE s.value IS NOT NULL;
INSERT INTO options VALUES ('base', NULL, NULL, 'reset', NULL), ('ignore', NULL, NULL, 'ignore', NULL), ('modulus', NULL, 10, 'reset', NULL),
	('modulus ignore', NULL, 10, 'ignore', NULL), ('zero', 'zero', NULL, 'reset', NULL), ('zero since', 'zero', 10, 'ignore', '2024-03-05 11:00');

-- In time, with a cut after each hour.
SELECT meter.create_stream('counters_cut');
SELECT pg_temp.log('counters_cut', 1, 2, 3, 4);
SET meter.now = '2024-03-05 11:00';
SELECT pg_temp.create_meters('counters_cut');
CALL meter.run('counters_cut');
SET meter.now = '2024-03-05 12:00';
CALL meter.run('counters_cut');
SET meter.now = '2024-03-05 13:00';
CALL meter.run('counters_cut');
SELECT * FROM pg_temp.differs('counters_cut');
SELECT * FROM meter.verify('counters_cut');
SELECT meter, count(*), sum(quantity) FROM counters_cut.usage GROUP BY 1 ORDER BY 1;

-- What comes late: settled with what the fourth says, then with the others, one by one.
SELECT meter.create_stream('counters_late');
SELECT pg_temp.log('counters_late', 4);
SET meter.now = '2024-03-05 14:00';
SELECT pg_temp.create_meters('counters_late');
CALL meter.run('counters_late');
SELECT pg_temp.log('counters_late', 2);
CALL meter.run('counters_late');
SELECT pg_temp.log('counters_late', 1);
CALL meter.run('counters_late');
SELECT pg_temp.log('counters_late', 3);
CALL meter.run('counters_late');
SELECT * FROM pg_temp.differs('counters_late');
SELECT * FROM meter.verify('counters_late');

-- What is taken back was never there. In sealed segments with many other rows, readings are looked up, and no further than they have to be.
CREATE FUNCTION pg_temp.seal(stream text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	EXECUTE format('INSERT INTO %I.measure (entity, start_time, end_time, resource, value)
		SELECT ''other'', ''2024-03-05 10:00'', ''2024-03-05 10:00'', ''other-'' || i %% 1000, i FROM generate_series(1, 60000) i', stream);
	PERFORM meter.roll(stream);
END $$;
CREATE FUNCTION pg_temp.take_back(stream text, of_slot int) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	EXECUTE format('INSERT INTO %I.event (source, id, "time", resource, action) SELECT ''leaf'', slot, end_time, resource, ''void'' FROM readings WHERE slot = $1', stream)
	USING of_slot;
	DELETE FROM readings WHERE slot = of_slot;
END $$;
CREATE TEMP TABLE all_readings AS TABLE readings;
SELECT pg_temp.seal('counters_cut');
CALL meter.run('counters_cut');
SELECT DISTINCT state FROM meter.log_segments('counters_cut') WHERE log = 'measure' AND segment = 0;
SELECT pg_temp.take_back('counters_cut', 2);
CALL meter.run('counters_cut');
SELECT * FROM pg_temp.differs('counters_cut');
SELECT pg_temp.take_back('counters_cut', 4);
CALL meter.run('counters_cut');
SELECT * FROM pg_temp.differs('counters_cut');
SELECT * FROM meter.verify('counters_cut');

-- Late in sealed segments: the first, the second of the boundary, and the third.
SELECT meter.create_stream('counters_sealed');
TRUNCATE readings;
INSERT INTO readings TABLE all_readings;
SELECT pg_temp.log('counters_sealed', 2, 4);
SELECT pg_temp.create_meters('counters_sealed');
CALL meter.run('counters_sealed');
SELECT pg_temp.seal('counters_sealed');
CALL meter.run('counters_sealed');
SELECT pg_temp.log('counters_sealed', 1);
CALL meter.run('counters_sealed');
SELECT pg_temp.log('counters_sealed', 3);
CALL meter.run('counters_sealed');
SELECT * FROM pg_temp.differs('counters_sealed');
SELECT * FROM meter.verify('counters_sealed');

-- Counters that say when they were 0: up to three readings, with the start of the counter or none (it is the end).
TRUNCATE readings;
INSERT INTO readings SELECT format('%s,%s/%s,%s/%s,%s', a.start, a.value, b.start, b.value, c.start, c.value), s.slot,
	least(coalesce(('2024-03-05 ' || s.start)::timestamptz, s.at), s.at), s.at, s.value
FROM (SELECT * FROM unnest('{09:00,10:15,NULL}'::text[]) start, unnest('{2,7}'::int[]) value UNION ALL SELECT NULL, NULL) a,
	(SELECT * FROM unnest('{09:00:00.5,09:00,10:45,11:15,NULL}'::text[]) start, unnest('{2,7}'::int[]) value UNION ALL SELECT NULL, NULL) b,
	(SELECT * FROM unnest('{09:00,09:00:01.5,10:45,11:15,12:15,NULL}'::text[]) start, unnest('{2,7}'::int[]) value) c,
	LATERAL (VALUES (1, '2024-03-05 10:30'::timestamptz, a.start, a.value), (2, '2024-03-05 11:30', b.start, b.value),
		(3, '2024-03-05 12:30', c.start, c.value)) s (slot, at, start, value)
WHERE s.value IS NOT NULL;
TRUNCATE options;
INSERT INTO options VALUES ('start', 'start', NULL, 'reset', NULL), ('start since', 'start', NULL, 'ignore', '2024-03-05 10:00'), ('start modulus', 'start', 10, 'ignore', NULL);
SELECT meter.create_stream('counters_start');
SELECT pg_temp.log('counters_start', 1, 2, 3);
SET meter.now = '2024-03-05 11:00';
SELECT pg_temp.create_meters('counters_start');
CALL meter.run('counters_start');
SET meter.now = '2024-03-05 12:00';
CALL meter.run('counters_start');
SET meter.now = '2024-03-05 14:00';
CALL meter.run('counters_start');
SELECT * FROM pg_temp.differs('counters_start');
SELECT * FROM meter.verify('counters_start');
SELECT meter, count(*), sum(quantity) FROM counters_start.usage GROUP BY 1 ORDER BY 1;
SELECT meter.create_stream('counters_start_late');
SELECT pg_temp.log('counters_start_late', 3);
SELECT pg_temp.create_meters('counters_start_late');
CALL meter.run('counters_start_late');
SELECT pg_temp.log('counters_start_late', 1);
CALL meter.run('counters_start_late');
SELECT pg_temp.log('counters_start_late', 2);
CALL meter.run('counters_start_late');
SELECT * FROM pg_temp.differs('counters_start_late');
SELECT pg_temp.take_back('counters_start_late', 1);
CALL meter.run('counters_start_late');
SELECT * FROM pg_temp.differs('counters_start_late');
SELECT * FROM meter.verify('counters_start_late');

-- ---------------------------------------------------------------- the time of a reading is its end
-- OTLP's cumulative sums: each says since when it counts, two weeks ago. None is late or held for that, nor are two of one id that end two
-- days apart duplicates; the meter begins with the period of the first end.
SELECT meter.create_stream('counters_otlp');
INSERT INTO counters_otlp.measure (source, id, start_time, end_time, resource, account, value) VALUES
	('otel', 'a', '2024-02-20 10:00', '2024-03-05 10:30', 'api', 'alice', 1000), ('otel', 'a', '2024-02-20 10:00', '2024-03-07 10:30', 'api', 'alice', 1500),
	('otel', 'b', '2024-02-20 10:00', '2024-03-07 11:30', 'api', 'alice', 1700);
SET meter.now = '2024-03-07 11:00';
SELECT * FROM meter.preview_meter('counters_otlp', 'requests', aggregate => 'counter', dimensions => '{}', begins => 'start', clock => 'event', lateness => '0', max_lateness => '1 day', drops => 'ignore');
SELECT meter.create_meter('counters_otlp', 'requests', aggregate => 'counter', dimensions => '{}', begins => 'start', lateness => '0', max_lateness => '1 day', drops => 'ignore');
CALL meter.run('counters_otlp');
CREATE FUNCTION pg_temp.otlp() RETURNS TABLE (period_start timestamptz, quantity numeric) LANGUAGE sql AS $$
	SELECT period_start, sum(quantity) FROM counters_otlp.usage WHERE resource = 'api' GROUP BY 1 ORDER BY 1
$$;
SELECT * FROM pg_temp.otlp();
SET meter.now = '2024-03-07 11:45';
SELECT resource, period_start, quantity, settled FROM counters_otlp.current_usage WHERE NOT settled;
SET meter.now = '2024-03-07 14:00';
CALL meter.run('counters_otlp');
-- The process starts again, and one that is stopping still sends what it counted: its start is older.
INSERT INTO counters_otlp.measure (source, id, start_time, end_time, resource, account, value) VALUES
	('otel', 'c', '2024-03-07 13:55', '2024-03-07 14:10', 'api', 'alice', 40), ('otel', 'd', '2024-02-20 10:00', '2024-03-07 14:20', 'api', 'alice', 1790),
	('otel', 'e', '2024-03-07 13:55', '2024-03-07 14:40', 'api', 'alice', 90),
	-- late by its end, and too late
	('otel', 'f', '2024-02-20 10:00', '2024-03-07 12:30', 'api', 'alice', 1720), ('otel', 'g', '2024-02-20 10:00', '2024-03-05 09:30', 'api', 'alice', 900);
SET meter.now = '2024-03-07 15:00';
CALL meter.run('counters_otlp');
SELECT * FROM pg_temp.otlp();
SELECT class, resource, "time", arrival, regexp_replace(detail, 'held since [^:]*:[^:]*:[^:]*: ', '') AS detail FROM counters_otlp.anomaly ORDER BY 1, 2, 3;
SELECT e."time", e.until, e.quantity, e.explanation FROM counters_otlp.usage u, meter.explain('counters_otlp', u.transaction_id) e
WHERE u.period_start = '2024-03-07 14:00' AND part IN ('measure', 'total') ORDER BY e."time", e.until;
-- What was held counts when it is released: the first reading is another one.
SELECT meter.release('counters_otlp', 'requests');
SELECT * FROM pg_temp.otlp();
-- A void has the time of the end.
INSERT INTO counters_otlp.event (source, id, "time", resource, action) VALUES ('otel', 'e', '2024-03-07 14:40', 'api', 'void');
CALL meter.run('counters_otlp');
SELECT * FROM pg_temp.otlp();
SELECT * FROM meter.verify('counters_otlp');
-- What a segment had is known from the reading at the retention boundary, which says since when it counts.
SELECT meter.roll('counters_otlp');
SET meter.now = '2024-03-20 10:00';
INSERT INTO counters_otlp.measure (source, id, start_time, end_time, resource, account, value) VALUES
	('otel', 'h', '2024-02-20 10:00', '2024-03-20 08:10', 'api', 'alice', 1800), ('otel', 'i', '2024-03-07 13:55', '2024-03-20 09:10', 'api', 'alice', 100);
CALL meter.run('counters_otlp');
SELECT meter.expire('counters_otlp', '2024-03-15') > 0 AS expired;
SELECT "time", value, start_time FROM counters_otlp._retention_reading;
SELECT * FROM meter.verify('counters_otlp');
SELECT meter.resettle('counters_otlp', 'requests', NULL);
SELECT class, resource, "time" FROM meter.anomalies('counters_otlp', class => 'passed over');
SELECT period_start, sum(quantity) FROM counters_otlp.usage WHERE period_start >= '2024-03-20' GROUP BY 1 ORDER BY 1;

-- ---------------------------------------------------------------- what is said of several readings of one instant, and why
SELECT meter.create_stream('counters_tie');
INSERT INTO counters_tie.measure (start_time, end_time, resource, account, value) VALUES
	('2024-03-05 10:00', '2024-03-05 10:00', 'port', 'alice', 990), ('2024-03-05 10:30', '2024-03-05 10:30', 'port', 'alice', 5),
	('2024-03-05 10:40', '2024-03-05 10:40', 'port', 'alice', 1000), ('2024-03-05 10:40', '2024-03-05 10:40', 'port', NULL, 15),
	('2024-03-05 10:40', '2024-03-05 10:40', 'port', 'bob', 15), ('2024-03-05 10:40', '2024-03-05 10:40', 'port', 'bob', -3),
	('2024-03-05 10:50', '2024-03-05 10:50', 'port', 'alice', 600), ('2024-03-05 10:55', '2024-03-05 10:55', 'port', 'alice', 400);
SELECT meter.create_meter('counters_tie', 'octets', aggregate => 'counter', dimensions => '{}', lateness => '0', modulus => 1000, since => '2024-03-05 10:00');
SET meter.now = '2024-03-05 12:00';
CALL meter.run('counters_tie');
SELECT account, quantity FROM counters_tie.usage ORDER BY 1;
SELECT account, explanation, quantity FROM meter.explain('counters_tie', (SELECT transaction_id FROM counters_tie.usage WHERE account = 'alice')) WHERE part IN ('measure', 'total');
SELECT class, "time", detail FROM meter.anomalies('counters_tie', resource => 'port') ORDER BY "time", arrival;
SELECT class, "time", detail FROM meter.anomalies('counters_tie', class => 'passed over', during => '[2024-03-05 10:50, 2024-03-05 11:00)');

-- ---------------------------------------------------------------- a late reading costs as much as its neighbours
SELECT meter.create_stream('counters_long');
SELECT meter.create_meter('counters_long', 'octets', aggregate => 'counter', dimensions => '{}', lateness => '0', since => '2024-03-01');
INSERT INTO counters_long.measure (start_time, end_time, resource, account, value)
	SELECT t, t, 'port', 'alice', 10 * i FROM (SELECT i, '2024-03-01'::timestamptz + i * interval '1 min' AS t FROM generate_series(0, 9999) i) r;
SELECT meter.roll('counters_long');
SET meter.now = '2024-03-09 00:00';
CALL meter.run('counters_long');
INSERT INTO counters_long.measure (start_time, end_time, resource, account, value) VALUES
	('2024-03-04 12:00:30', '2024-03-04 12:00:30', 'port', 'bob', 50404);
CALL meter.run('counters_long');
SELECT account, period_start, sum(quantity) FROM counters_long.usage WHERE period_start = '2024-03-04 12:00' GROUP BY 1, 2 ORDER BY 1;
SELECT max(rows) < 200 AS few FROM meter.last_step('counters_long', 'octets');
SELECT "time", value FROM counters_long._counter_state;
SELECT * FROM meter.verify('counters_long');

-- ---------------------------------------------------------------- a reading without an account is the owner's, one with '' nobody's
SELECT meter.create_stream('counters_nobody');
SELECT meter.create_meter('counters_nobody', 'octets', aggregate => 'counter', dimensions => '{}', lateness => '0');
INSERT INTO counters_nobody.event ("time", resource, account, action) VALUES ('2024-03-05 10:00', 'port', 'acme', 'buy');
INSERT INTO counters_nobody.measure (start_time, end_time, resource, account, value) VALUES
	('2024-03-05 10:10', '2024-03-05 10:10', 'port', NULL, 10), ('2024-03-05 10:20', '2024-03-05 10:20', 'port', '', 30), ('2024-03-05 10:30', '2024-03-05 10:30', 'port', NULL, 60);
SET meter.now = '2024-03-05 12:00';
CALL meter.run('counters_nobody');
SELECT account, quantity FROM counters_nobody.usage ORDER BY 1;

-- A reading next to a late one that is a duplicate bounds nothing: the ones beyond it count.
SELECT meter.create_stream('counters_copies');
SELECT meter.create_meter('counters_copies', 'octets', aggregate => 'counter', entity => 'port', dimensions => '{}', lateness => '0');
INSERT INTO counters_copies.measure (source, id, entity, start_time, end_time, resource, account, value) VALUES
	('leaf', 'a', 'port', '2024-03-05 08:30', '2024-03-05 08:30', 'port', 'alice', 10), ('leaf', 'a', 'port', '2024-03-05 09:45', '2024-03-05 09:45', 'port', 'alice', 20),
	('leaf', 'b', 'port', '2024-03-05 10:30', '2024-03-05 10:30', 'port', 'alice', 40);
SELECT pg_temp.seal('counters_copies');
CALL meter.run('counters_copies');
INSERT INTO counters_copies.measure (source, id, entity, start_time, end_time, resource, account, value) VALUES ('leaf', 'c', 'port', '2024-03-05 09:15', '2024-03-05 09:15', 'port', 'alice', 25);
CALL meter.run('counters_copies');
SELECT period_start, sum(quantity) FROM counters_copies.usage GROUP BY 1 ORDER BY 1;
SELECT * FROM meter.verify('counters_copies');

-- Of duplicates the one that ends first counts, whenever it starts; a void reaches a reading by its end, however long ago it starts.
SELECT meter.create_stream('counters_ends');
SELECT meter.create_meter('counters_ends', 'octets', aggregate => 'counter', dimensions => '{}', begins => 'zero', lateness => '0');
INSERT INTO counters_ends.measure (source, id, start_time, end_time, resource, account, value) VALUES
	('leaf', 'a', '2024-03-05 09:00', '2024-03-05 11:00', 'port-1', 'alice', 20), ('leaf', 'a', '2024-03-05 10:00', '2024-03-05 10:30', 'port-1', 'alice', 10),
	('leaf', 'b', '2024-02-20 09:00', '2024-03-05 10:30', 'port-2', 'alice', 5), ('leaf', 'c', '2024-02-20 09:00', '2024-03-05 11:30', 'port-2', 'alice', 7);
INSERT INTO counters_ends.event (source, id, "time", resource, action) VALUES ('leaf', 'b', '2024-03-05 10:30', 'port-2', 'void');
SET meter.now = '2024-03-05 13:00';
CALL meter.run('counters_ends');
SELECT resource, period_start, quantity FROM counters_ends.usage ORDER BY 1, 2;
SELECT * FROM meter.verify('counters_ends');

-- A counter that begins where its last reading ended goes on; one that begins later counts whole.
SELECT meter.create_stream('counters_next');
SELECT meter.create_meter('counters_next', 'octets', aggregate => 'counter', dimensions => '{}', begins => 'start', lateness => '0', since => '2024-03-05 10:00');
INSERT INTO counters_next.measure (start_time, end_time, resource, account, value) VALUES
	('2024-03-05 10:00', '2024-03-05 10:30', 'port', 'alice', 5), ('2024-03-05 10:30', '2024-03-05 11:30', 'port', 'alice', 7), ('2024-03-05 11:30:00.000001', '2024-03-05 12:30', 'port', 'alice', 8);
CALL meter.run('counters_next');
SELECT period_start, quantity FROM counters_next.usage ORDER BY 1;
-- What was passed over before the meter begins is none of its anomalies.
INSERT INTO counters_next.measure (start_time, end_time, resource, account, value) VALUES ('2024-03-05 09:30', '2024-03-05 09:30', 'before', 'alice', -1);
CALL meter.run('counters_next');
SELECT count(*) FROM meter.anomalies('counters_next', class => 'passed over');
