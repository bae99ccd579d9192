-- What the ledger of a meter of measures must say, for the oracle (oracle.sql, oracle_duplicates.sql): one measure after the
-- other, by the rules, and slow. A definition is one of oracle.define.
--
--   SELECT * FROM oracle.measure_usage('cloud', oracle.define(aggregate => 'sum'), '2024-03-05 13:00Z', '1 day', '{}', '{}');

-- The measures that count: the least of duplicates within the deduplication window, and none that was taken back or is held. The time of a
-- measure is its start; two of a resource with one source and id are duplicates. Voids are events.
CREATE FUNCTION oracle.counted_measures(stream text, deduplication_window interval, held bigint[], held_events bigint[])
RETURNS TABLE (arrival bigint, source text, id text, start_time timestamptz, end_time timestamptz, resource text, account text,
	entity text, value numeric, attributes jsonb) LANGUAGE plpgsql AS $$
BEGIN
	RETURN QUERY EXECUTE format('
		WITH logged AS MATERIALIZED (
			SELECT m.*, coalesce(m.source, '''') AS key_source, row_number() OVER (ORDER BY m.start_time, m.end_time, m.value NULLS FIRST,
				m.account COLLATE "C" NULLS FIRST, m.entity COLLATE "C" NULLS FIRST, m.attributes::text COLLATE "C" NULLS FIRST,
				m.source COLLATE "C" NULLS FIRST, m.value::text COLLATE "C", m.arrival) AS place
			FROM %1$I.measure m WHERE m.arrival <> ALL ($2)
		)
		SELECT l.arrival, l.source, l.id, l.start_time, l.end_time, l.resource, l.account, l.entity, l.value, l.attributes
		FROM logged l
		WHERE NOT EXISTS (SELECT FROM %1$I.event v WHERE v.action = ''void'' AND v.arrival <> ALL ($3) AND v.resource = l.resource
			AND coalesce(v.source, '''') = l.key_source AND v.id = l.id AND oracle.apart(v."time", l.start_time) <= $1)
		AND NOT EXISTS (SELECT FROM logged c
			WHERE c.resource = l.resource AND c.key_source = l.key_source AND c.id = l.id
			AND oracle.apart(c.start_time, l.start_time) <= $1 AND c.place < l.place)', stream)
	USING extract(epoch FROM deduplication_window), held, held_events;
END
$$;

-- Who owns a resource at an instant, by pg_temp.naming (resource, time, account): who was named last, the greatest of those named at
-- once; before the first name, the first.
CREATE FUNCTION oracle.owner(of_resource text, at timestamptz) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
	RETURN coalesce(
		(SELECT n.account FROM pg_temp.naming n WHERE n.resource = of_resource AND n."time" <= at
			ORDER BY n."time" DESC, n.account COLLATE "C" DESC LIMIT 1),
		(SELECT n.account FROM pg_temp.naming n WHERE n.resource = of_resource ORDER BY n."time", n.account COLLATE "C" DESC LIMIT 1),
		'');
END
$$;

-- What of a value, spread over [from_time, to_time), falls before t: truncated toward zero in the value's own scale.
CREATE FUNCTION oracle.cumulated(value numeric, from_time timestamptz, to_time timestamptz, t timestamptz) RETURNS numeric LANGUAGE sql AS $$
	SELECT div(value * ('1e' || scale(value))::numeric * oracle.microseconds(t - from_time), oracle.microseconds(to_time - from_time))
		* ('1e-' || scale(value))::numeric
$$;

-- The usage rows of a meter whose watermark is given. Rows of quantity 0 are left out, but for min, max and latest.
CREATE FUNCTION oracle.measure_usage(stream text, m oracle.meter, watermark timestamptz, deduplication_window interval,
	held bigint[], held_events bigint[])
RETURNS TABLE (period_start timestamptz, resource text, account text, dimensions jsonb, quantity numeric) LANGUAGE plpgsql AS $$
DECLARE
	e record;
	at timestamptz;
	till timestamptz;
	slice record;
	next_name timestamptz;
	payer text;
	said text;
BEGIN
	DROP TABLE IF EXISTS pg_temp.naming, pg_temp.taken;
	CREATE TEMP TABLE naming AS
		SELECT c.resource, c."time", c.account FROM oracle.counted(format('%I.event', stream)::regclass, deduplication_window, held_events) c
		WHERE c.account <> '' AND c.action NOT LIKE 'reconciled:%' AND c."time" < watermark;
	CREATE TEMP TABLE taken (period_start timestamptz, resource text, account text, dims jsonb, start_time timestamptz, value numeric, said text);

	FOR e IN
		SELECT c.*, (SELECT coalesce(jsonb_object_agg(d, CASE d WHEN 'source' THEN c.source WHEN 'entity' THEN c.entity
				ELSE c.attributes ->> d END), '{}') FROM unnest(m.dimensions) d) AS dims,
			CASE m.value_from WHEN 'value' THEN c.value::text ELSE c.attributes ->> m.value_from END AS word,
			CASE m.value_from WHEN 'value' THEN c.value ELSE CASE WHEN m.aggregate <> 'unique' OR jsonb_typeof(c.attributes -> m.value_from) = 'number'
				THEN (c.attributes ->> m.value_from)::numeric END END AS number
		FROM oracle.counted_measures(stream, deduplication_window, held, held_events) c
		WHERE (m.entity IS NULL OR c.entity = m.entity) AND c.start_time < watermark
	LOOP
		IF m.aggregate <> 'sum' OR e.start_time = e.end_time THEN
			INSERT INTO pg_temp.taken VALUES (oracle.slice_begin(e.start_time, m.period, m.timezone), e.resource,
				coalesce(nullif(e.account, ''), oracle.owner(e.resource, e.start_time)), e.dims, e.start_time, e.number,
				coalesce(trim_scale(e.number)::text, e.word));
			CONTINUE;
		END IF;
		at := e.start_time;
		WHILE at < least(e.end_time, watermark) LOOP
			slice := oracle.slice_of(at, m.period, m.timezone);
			SELECT min(n."time") INTO next_name FROM pg_temp.naming n WHERE n.resource = e.resource AND n."time" > at;
			till := least(e.end_time, slice.ends, next_name, watermark);
			INSERT INTO pg_temp.taken VALUES (slice.begins, e.resource, coalesce(nullif(e.account, ''), oracle.owner(e.resource, at)), e.dims, at,
				oracle.cumulated(e.number, e.start_time, e.end_time, till) - oracle.cumulated(e.number, e.start_time, e.end_time, at));
			at := till;
		END LOOP;
	END LOOP;

	IF m.aggregate = 'counter' THEN
		RETURN QUERY
		WITH reading AS (
			SELECT DISTINCT ON (t.resource, t.dims, t.start_time) t.* FROM pg_temp.taken t WHERE t.value IS NOT NULL
			ORDER BY t.resource, t.dims, t.start_time, t.value DESC, t.account COLLATE "C" DESC
		), increase AS (
			SELECT r.*, (SELECT p.value FROM reading p WHERE p.resource = r.resource AND p.dims = r.dims AND p.start_time < r.start_time
				ORDER BY p.start_time DESC LIMIT 1) AS before
			FROM reading r
		)
		SELECT i.period_start, i.resource, i.account, i.dims, sum(CASE WHEN i.value >= i.before THEN i.value - i.before ELSE i.value END)
		FROM increase i WHERE i.before IS NOT NULL AND (i.period_start >= m.since OR m.since IS NULL)
		GROUP BY 1, 2, 3, 4 HAVING sum(CASE WHEN i.value >= i.before THEN i.value - i.before ELSE i.value END) <> 0;
		RETURN;
	END IF;
	RETURN QUERY
	SELECT g.* FROM (
		SELECT t.period_start, t.resource, t.account, t.dims, CASE m.aggregate
			WHEN 'sum' THEN sum(t.value)
			WHEN 'count' THEN count(*)
			WHEN 'min' THEN min(t.value)
			WHEN 'max' THEN max(t.value)
			WHEN 'latest' THEN (array_agg(t.value ORDER BY t.start_time DESC, t.value DESC) FILTER (WHERE t.value IS NOT NULL))[1]
			WHEN 'unique' THEN count(DISTINCT t.said) END AS quantity
		FROM pg_temp.taken t WHERE t.period_start >= m.since OR m.since IS NULL
		GROUP BY 1, 2, 3, 4) g
	WHERE g.quantity <> 0 OR m.aggregate IN ('min', 'max', 'latest');
END
$$;

-- What a meter of measures has settled, compared with the oracle: '' or the first differences; with `live`, what current_usage
-- says up to that instant. All late rows must have been looked at.
CREATE FUNCTION oracle.measure_differences(stream text, meter text, definition oracle.meter, live timestamptz DEFAULT NULL)
RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	m record;
	held bigint[];
	held_events bigint[];
	aside text[];
	differs text;
BEGIN
	SELECT s.deduplication_window, t.* INTO STRICT m FROM meter.meter t JOIN meter.stream s ON s.name = t.stream
	WHERE t.stream = measure_differences.stream AND t.name = measure_differences.meter;
	IF m.last_error IS NOT NULL THEN
		RETURN 'error: ' || m.last_error;
	END IF;
	IF m.watermark IS NULL THEN
		RETURN '';
	END IF;
	EXECUTE format('SELECT coalesce(array_agg(arrival) FILTER (WHERE log = ''measure''), ''{}''),
		coalesce(array_agg(arrival) FILTER (WHERE log = ''event''), ''{}'') FROM %I.held WHERE meter = $1', stream)
		INTO held, held_events USING meter;
	-- of what is set aside, nothing is said
	EXECUTE format('SELECT coalesce(array_agg(resource), ''{}'') FROM %I.quarantine WHERE meter = $1', stream) INTO aside USING meter;
	EXECUTE format('SELECT string_agg(format(''%%s %%s %%s %%s: ledger %%s, oracle %%s'', period_start, resource, account, dimensions,
			l.quantity, o.quantity), ''; '' ORDER BY period_start, resource)
		FROM (SELECT period_start, resource, account, dimensions, sum(quantity) AS quantity FROM %I.%I
			WHERE meter = $1 AND (period_start >= $8 OR $8 IS NULL) GROUP BY 1, 2, 3, 4) l
		FULL JOIN (SELECT * FROM oracle.measure_usage($2, $3, $4, $5, $6, $7) WHERE period_start >= $8 OR $8 IS NULL) o USING (period_start, resource, account, dimensions)
		WHERE (coalesce(l.quantity, 0) <> coalesce(o.quantity, 0) OR (o.quantity IS NOT NULL AND l.quantity IS NULL)) AND resource <> ALL ($9)',
		stream, CASE WHEN live IS NULL THEN 'usage' ELSE 'current_usage' END)
	INTO differs USING meter, stream, definition, coalesce(live, m.watermark), m.deduplication_window, held, held_events,
		CASE WHEN live IS NOT NULL THEN m.watermark END, aside;
	RETURN coalesce(left(differs, 2000), '');
END
$$;
