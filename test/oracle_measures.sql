-- What the ledger of a meter of measures must say, for the oracle (oracle.sql, oracle_duplicates.sql): one measure after the
-- other, by the rules, and slow. A definition is one of oracle.define.
--
--   SELECT * FROM oracle.measure_usage('cloud', oracle.define(aggregate => 'sum'), '2024-03-05 13:00Z', '1 day', '{}', '{}');

-- The measures that count: the least of duplicates within the deduplication window, and none that was taken back or is held. Two of a
-- resource with one source and id are duplicates. `at` is the time of a measure: its start, of a counter's readings its end, then the start.
-- `place` is its place in the order of duplicates. Voids are events.
CREATE FUNCTION oracle.counted_measures(stream text, deduplication_window interval, held bigint[], held_events bigint[], readings boolean)
RETURNS TABLE (arrival bigint, source text, id text, at timestamptz, start_time timestamptz, end_time timestamptz, resource text, account text,
	entity text, value numeric, attributes jsonb, place bigint) LANGUAGE plpgsql AS $$
BEGIN
	RETURN QUERY EXECUTE format('
		WITH logged AS MATERIALIZED (
			SELECT m.*, t.at, coalesce(m.source, '''') AS key_source, row_number() OVER (ORDER BY t.at, t.other_end, m.value NULLS FIRST,
				m.account COLLATE "C" NULLS FIRST, m.entity COLLATE "C" NULLS FIRST, m.attributes::text COLLATE "C" NULLS FIRST,
				m.source COLLATE "C" NULLS FIRST, m.value::text COLLATE "C", m.arrival) AS place
			FROM %1$I.measure m, LATERAL (SELECT CASE WHEN $4 THEN m.end_time ELSE m.start_time END, CASE WHEN $4 THEN m.start_time ELSE m.end_time END)
				t (at, other_end) WHERE m.arrival <> ALL ($2)
		)
		SELECT l.arrival, l.source, l.id, l.at, l.start_time, l.end_time, l.resource, l.account, nullif(l.entity, ''''), l.value, l.attributes, l.place
		FROM logged l
		WHERE NOT EXISTS (SELECT FROM %1$I.event v WHERE v.action = ''void'' AND v.arrival <> ALL ($3) AND v.resource = l.resource
			AND coalesce(v.source, '''') = l.key_source AND v.id = l.id AND oracle.apart(v."time", l.at) <= $1)
		AND NOT EXISTS (SELECT FROM logged c
			WHERE c.resource = l.resource AND c.key_source = l.key_source AND c.id = l.id
			AND oracle.apart(c.at, l.at) <= $1 AND c.place < l.place)', stream)
	USING extract(epoch FROM deduplication_window), held, held_events, readings;
END
$$;

-- Who owns what measures are of, by pg_temp.naming (entity, resource, names): for a measure of an entity those count that are of that or of none.
CREATE FUNCTION oracle.owner_of(of_resource text, of_entity text, at timestamptz) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
	RETURN oracle.owner((SELECT n.names FROM pg_temp.naming n WHERE n.resource = of_resource AND n.entity IS NOT DISTINCT FROM of_entity), at);
END
$$;

-- What of a value, spread over [from_time, to_time), falls before t: truncated toward zero in the value's own scale.
CREATE FUNCTION oracle.cumulated(value numeric, from_time timestamptz, to_time timestamptz, t timestamptz) RETURNS numeric LANGUAGE sql AS $$
	SELECT div(value * ('1e' || scale(value))::numeric * oracle.microseconds(t - from_time), oracle.microseconds(to_time - from_time))
		* ('1e-' || scale(value))::numeric
$$;

-- What the readings of a counter count with, in pg_temp.taken; one series after the other.
CREATE FUNCTION oracle.read_counter(m oracle.meter) RETURNS TABLE (at timestamptz, resource text, account text, dims jsonb, increase numeric)
LANGUAGE plpgsql AS $$
DECLARE
	r record;
	last_at timestamptz;				-- of the reading that counted last
	last_value numeric;
	known_start timestamptz;			-- the start of the last that counted and had one before its end
	of_series text;
BEGIN
	FOR r IN
		SELECT t.*, ROW(t.resource, t.dims)::text AS series, t.start_time < t.at AS starts FROM pg_temp.taken t WHERE t.value IS NOT NULL
		ORDER BY t.resource COLLATE "C", t.dims, t.at, t.value DESC, t.place DESC
	LOOP
		IF r.series IS DISTINCT FROM of_series THEN
			of_series := r.series;
			last_at := NULL;
			last_value := NULL;
			known_start := NULL;
		END IF;

		-- one counts of those of an instant; what is passed over is as if it were not there
		CONTINUE WHEN r.at = last_at;
		CONTINUE WHEN r.value < 0 OR r.value >= m.modulus;
		CONTINUE WHEN m.begins = 'start' AND r.start_time < known_start - interval '1 second';
		IF last_at IS NULL THEN
			increase := CASE WHEN m.begins = 'zero' THEN r.value
				WHEN m.begins = 'start' AND r.starts AND (r.start_time >= m.since OR m.since IS NULL) THEN r.value ELSE 0 END;
		ELSIF m.begins = 'start' AND r.starts AND r.start_time > last_at THEN
			increase := r.value;
		ELSIF r.value >= last_value THEN
			increase := r.value - last_value;
		ELSIF r.value + m.modulus - last_value < m.modulus / 2 THEN
			increase := r.value + m.modulus - last_value;
		ELSIF m.drops = 'ignore' THEN
			CONTINUE;
		ELSE
			increase := r.value;
		END IF;
		last_at := r.at;
		last_value := r.value;
		known_start := CASE WHEN r.starts THEN r.start_time ELSE known_start END;
		at := r.at;
		resource := r.resource;
		account := r.account;
		dims := r.dims;
		RETURN NEXT;
	END LOOP;
END
$$;

-- The usage rows of a meter whose watermark is given. Rows of quantity 0 are left out, but for min, max and latest.
CREATE FUNCTION oracle.measure_usage(stream text, m oracle.meter, watermark timestamptz, deduplication_window interval,
	held bigint[], held_events bigint[])
RETURNS TABLE (period_start timestamptz, resource text, account text, dimensions jsonb, quantity numeric) LANGUAGE plpgsql AS $$
DECLARE
	e record;
	from_time timestamptz;
	till timestamptz;
	slice record;
	next_name timestamptz;
BEGIN
	DROP TABLE IF EXISTS pg_temp.naming_log, pg_temp.measured, pg_temp.naming, pg_temp.taken;
	CREATE TEMP TABLE naming_log AS SELECT * FROM oracle.counted(format('%I.event', stream)::regclass, deduplication_window, held_events);
	CREATE TEMP TABLE measured AS SELECT * FROM oracle.counted_measures(stream, deduplication_window, held, held_events, m.aggregate = 'counter') c
		WHERE (m.entity IS NULL OR c.entity = m.entity) AND c.at < watermark;
	CREATE TEMP TABLE naming AS
		SELECT x.entity, w.resource, array_agg(ROW(w.begins, w.account)::oracle.name ORDER BY w.n) AS names
		FROM (SELECT DISTINCT c.entity FROM pg_temp.measured c) x,
			LATERAL (SELECT *, row_number() OVER () AS n
				FROM oracle.walk('pg_temp.naming_log', oracle.define(entity => x.entity, starts => '{}', stops => '{}', dimensions => '{}'), watermark)) w
		WHERE w.what = 'name' AND w.begins < watermark GROUP BY 1, 2;
	CREATE TEMP TABLE taken (resource text, account text, dims jsonb, at timestamptz, start_time timestamptz, value numeric, said text, place bigint);

	FOR e IN
		SELECT c.*, (SELECT coalesce(jsonb_object_agg(d, CASE d WHEN 'source' THEN c.source WHEN 'entity' THEN c.entity
				ELSE c.attributes ->> d END), '{}') FROM unnest(m.dimensions) d) AS dims,
			CASE m.value_from WHEN 'value' THEN c.value::text ELSE c.attributes ->> m.value_from END AS word,
			CASE m.value_from WHEN 'value' THEN c.value ELSE CASE WHEN m.aggregate <> 'unique' OR jsonb_typeof(c.attributes -> m.value_from) = 'number'
				THEN (c.attributes ->> m.value_from)::numeric END END AS number
		FROM pg_temp.measured c
	LOOP
		IF m.aggregate <> 'sum' OR e.start_time = e.end_time THEN
			INSERT INTO pg_temp.taken VALUES (e.resource, coalesce(e.account, oracle.owner_of(e.resource, e.entity, e.at)), e.dims, e.at, e.start_time, e.number,
				coalesce(trim_scale(e.number)::text, e.word), e.place);
			CONTINUE;
		END IF;
		from_time := e.start_time;
		WHILE from_time < least(e.end_time, watermark) LOOP
			slice := oracle.slice_of(from_time, m.period, m.timezone);
			SELECT min(c.at) INTO next_name FROM pg_temp.naming n, unnest(n.names) c
				WHERE n.resource = e.resource AND n.entity IS NOT DISTINCT FROM e.entity AND c.at > from_time;
			till := least(e.end_time, slice.ends, next_name, watermark);
			INSERT INTO pg_temp.taken VALUES (e.resource, coalesce(e.account, oracle.owner_of(e.resource, e.entity, from_time)), e.dims, from_time, e.start_time,
				oracle.cumulated(e.number, e.start_time, e.end_time, till) - oracle.cumulated(e.number, e.start_time, e.end_time, from_time));
			from_time := till;
		END LOOP;
	END LOOP;

	IF m.aggregate = 'counter' THEN
		RETURN QUERY
		SELECT p.period_start, c.resource, c.account, c.dims, sum(c.increase)
		FROM oracle.read_counter(m) c, LATERAL (SELECT oracle.slice_begin(c.at, m.period, m.timezone)) p (period_start)
		WHERE p.period_start >= m.since OR m.since IS NULL
		GROUP BY 1, 2, 3, 4 HAVING sum(c.increase) <> 0;
		RETURN;
	END IF;
	RETURN QUERY
	SELECT g.* FROM (
		SELECT p.period_start, t.resource, t.account, t.dims, CASE m.aggregate
			WHEN 'sum' THEN sum(t.value)
			WHEN 'count' THEN count(*)
			WHEN 'min' THEN min(t.value)
			WHEN 'max' THEN max(t.value)
			WHEN 'latest' THEN (array_agg(t.value ORDER BY t.at DESC, t.value DESC) FILTER (WHERE t.value IS NOT NULL))[1]
			WHEN 'unique' THEN count(DISTINCT t.said) END AS quantity
		FROM pg_temp.taken t, LATERAL (SELECT oracle.slice_begin(t.at, m.period, m.timezone)) p (period_start)
		WHERE p.period_start >= m.since OR m.since IS NULL
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
