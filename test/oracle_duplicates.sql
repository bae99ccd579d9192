-- Which rows of a log count, for the oracle (oracle.sql): duplicates, rows that were taken back, rows that are held. In plain
-- SQL, by the rules, and slow.
--
--   CREATE TEMP TABLE counted AS SELECT * FROM oracle.counted('cloud.event', '1 day', '{}');
--   SELECT * FROM oracle.usage('counted', oracle.define(…), '2024-03-05 13:00Z');

-- The columns that name a row, and those in whose order the least of several duplicates is found.
CREATE FUNCTION oracle.counted(log regclass, deduplication_window interval, held bigint[])
RETURNS TABLE (arrival bigint, source text, id text, "time" timestamptz, resource text, account text, entity text, action text,
	offering text, value numeric, attributes jsonb) LANGUAGE plpgsql AS $$
BEGIN
	RETURN QUERY EXECUTE format('
		WITH logged AS MATERIALIZED (
			SELECT e.*, coalesce(e.source, '''') AS key_source,
				ROW(e."time", coalesce(e.value, ''-Infinity''),
					ROW(e.account, e.entity, e.action, e.offering, e.attributes)::text COLLATE "C", e.arrival) AS place
			FROM %s e WHERE e.arrival <> ALL ($2)
		), taken_back AS (
			SELECT DISTINCT resource, key_source, id FROM logged WHERE action = ''void'' AND id IS NOT NULL
		)
		SELECT l.arrival, l.source, l.id, l."time", l.resource, l.account, l.entity, l.action, l.offering, l.value, l.attributes
		FROM logged l
		WHERE l.action <> ''void''
		AND NOT EXISTS (SELECT FROM taken_back t
			WHERE t.resource = l.resource AND t.key_source = l.key_source AND t.id = l.id)
		AND NOT EXISTS (SELECT FROM logged c
			WHERE c.resource = l.resource AND c.key_source = l.key_source AND c.id = l.id AND c.action <> ''void''
			AND c."time" >= l."time" - $1 AND c.place < l.place)', log)
	USING deduplication_window, held;
END
$$;

-- What a meter has settled, compared with the oracle: '' or the first differences. Resources with late rows that the meter has
-- not looked at are left out. Reads one state of things only within one snapshot (REPEATABLE READ).
CREATE FUNCTION oracle.differences(stream text, meter text, definition oracle.meter) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	m record;
	held bigint[];
	differs text;
BEGIN
	SELECT s.deduplication_window, t.watermark, p."position" INTO STRICT m FROM meter.meter t JOIN meter.stream s ON s.name = t.stream
	JOIN meter.log_progress p ON (p.stream, p.meter, p.log) = (t.stream, t.name, 'event')
	WHERE t.stream = differences.stream AND t.name = differences.meter;
	IF m.watermark IS NULL THEN
		RETURN '';
	END IF;
	EXECUTE format('SELECT coalesce(array_agg(arrival), ''{}'') FROM %I.held WHERE meter = $1', stream) INTO held USING meter;
	DROP TABLE IF EXISTS pg_temp.counted, pg_temp.late;
	EXECUTE format('CREATE TEMP TABLE counted AS SELECT * FROM oracle.counted(''%I.event'', %L, %L)', stream, m.deduplication_window, held);
	EXECUTE format('CREATE TEMP TABLE late AS SELECT DISTINCT resource FROM %I.event
		WHERE arrival > %s AND arrival <> ALL (%L) AND ("time" < %L OR action = ''void'')', stream, m."position", held, m.watermark);
	DELETE FROM pg_temp.counted WHERE resource IN (SELECT resource FROM pg_temp.late);
	ANALYZE pg_temp.counted;
	EXECUTE format('SELECT string_agg(format(''%%s %%s %%s %%s: ledger %%s, oracle %%s'', period_start, resource, account, dimensions,
			coalesce(l.quantity, 0), coalesce(o.quantity, 0)), ''; '' ORDER BY period_start, resource)
		FROM (SELECT period_start, resource, account, dimensions, sum(quantity) AS quantity FROM %I.usage
			WHERE meter = $1 AND resource NOT IN (SELECT resource FROM pg_temp.late)
			GROUP BY 1, 2, 3, 4 HAVING sum(quantity) <> 0) l
		FULL JOIN oracle.usage(''pg_temp.counted'', $2, $3) o USING (period_start, resource, account, dimensions)
		WHERE l.quantity IS DISTINCT FROM o.quantity', stream) INTO differs USING meter, definition, m.watermark;
	RETURN coalesce(left(differs, 2000), '');
END
$$;
