-- Which rows of a log count, for the oracle (oracle.sql): duplicates, rows that were taken back, rows that are held. In plain
-- SQL, by the rules, and slow.
--
--   CREATE TEMP TABLE counted AS SELECT * FROM oracle.counted('cloud.event', '1 day', '{}');
--   SELECT * FROM oracle.usage('counted', oracle.define(…), '2024-03-05 13:00Z');

-- How far two instants are apart, in seconds: elapsed time, whatever the days are that lie between.
CREATE FUNCTION oracle.apart(a timestamptz, b timestamptz) RETURNS numeric LANGUAGE sql IMMUTABLE AS $$
	SELECT abs(extract(epoch FROM a) - extract(epoch FROM b))
$$;

-- Rows of a resource are named by source ('' where there is none), id and action; the least of one name comes first in `place`: by
-- time, value, account, entity, offering, sequence, attributes, source, the value as it is written, arrival. A row counts if no lesser one of
-- its name is at most the window before it. A void takes back what has its source and id and is at most the window away from it, but
-- for other voids and what snapshots have left.
CREATE FUNCTION oracle.counted(log regclass, deduplication_window interval, held bigint[])
RETURNS TABLE (arrival bigint, source text, id text, "time" timestamptz, sequence bigint, resource text, account text, entity text, action text,
	offering text, value numeric, attributes jsonb) LANGUAGE plpgsql AS $$
BEGIN
	RETURN QUERY EXECUTE format('
		WITH logged AS MATERIALIZED (
			SELECT e.*, coalesce(e.source, '''') AS key_source, row_number() OVER (ORDER BY e."time", e.value NULLS FIRST,
				e.account COLLATE "C" NULLS FIRST, e.entity COLLATE "C" NULLS FIRST, e.offering COLLATE "C" NULLS FIRST,
				e.sequence NULLS FIRST, e.attributes::text COLLATE "C" NULLS FIRST, e.source COLLATE "C" NULLS FIRST, e.value::text COLLATE "C", e.arrival) AS place
			FROM %s e WHERE e.arrival <> ALL ($2)
		), void AS MATERIALIZED (
			SELECT DISTINCT resource, key_source, id, "time" FROM logged WHERE action = ''void'' AND id IS NOT NULL
		)
		SELECT l.arrival, l.source, l.id, l."time", l.sequence, l.resource, l.account, l.entity, l.action, l.offering, l.value, l.attributes
		FROM logged l
		WHERE l.action <> ''void''
		AND (l.action LIKE ''reconciled:%%'' OR NOT EXISTS (SELECT FROM void v
			WHERE v.resource = l.resource AND v.key_source = l.key_source AND v.id = l.id AND oracle.apart(v."time", l."time") <= $1))
		AND NOT EXISTS (SELECT FROM logged c
			WHERE c.resource = l.resource AND c.key_source = l.key_source AND c.id = l.id AND c.action = l.action
			AND oracle.apart(c."time", l."time") <= $1 AND c.place < l.place)', log)
	USING extract(epoch FROM deduplication_window), held;
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
		WHERE arrival > %s AND arrival <> ALL (%L) AND ("time" < %L OR (action = ''void'' AND oracle.apart("time", %L) < %s))',
		stream, m."position", held, m.watermark, m.watermark, extract(epoch FROM m.deduplication_window));
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
