-- The oracle: what the ledger must say, computed from an event log and a meter's definition by the rules of pairing,
-- billing and the grid, in plain SQL and plpgsql. It uses no function of the extension and shares no code with it; it is
-- written to be read against the rules, and slow.
--
--   SELECT * FROM oracle.usage('cloud.event', oracle.define(starts => '{start}', stops => '{stop}'), '2024-03-05 13:00Z');
--
-- The way through: counting (which rows are events at all) -> listed (those the meter names, in order) -> spans (pairing)
-- -> rounded (billing) -> periods (the grid) -> usage.

SET client_min_messages = warning;
DROP SCHEMA IF EXISTS oracle CASCADE;
CREATE SCHEMA oracle;

CREATE TYPE oracle.meter AS (
	aggregate text, entity text, starts text[], stops text[], changes text[],
	dimensions text[], period interval, increment interval, rounding text,
	unit interval, value_from text, timezone text, since timestamptz);

-- A definition with the defaults of meter.create_meter.
CREATE FUNCTION oracle.define(
	aggregate text DEFAULT 'duration', entity text DEFAULT NULL,
	starts text[] DEFAULT '{start}', stops text[] DEFAULT '{stop}', changes text[] DEFAULT '{}',
	dimensions text[] DEFAULT '{offering}',
	period interval DEFAULT '1 hour', increment interval DEFAULT '1 minute',
	rounding text DEFAULT NULL, unit interval DEFAULT '1 minute',
	value_from text DEFAULT 'value', timezone text DEFAULT 'UTC', since timestamptz DEFAULT NULL)
RETURNS oracle.meter LANGUAGE sql IMMUTABLE AS $$
	SELECT ROW(aggregate, entity, starts, stops, coalesce(changes, '{}'), dimensions, period, increment,
		coalesce(rounding, CASE aggregate WHEN 'weighted' THEN 'none' ELSE 'up' END),
		unit, value_from, timezone, since)::oracle.meter
$$;

-- ---------------------------------------------------------------- the grid

-- Answers of oracle.midnight, kept because they are asked for again and again.
CREATE TABLE oracle.known_midnight (timezone text, day date, begins timestamptz, PRIMARY KEY (timezone, day));

-- Days whose begin is on record: whatever the rules of the zone say now, it counts.
CREATE TABLE oracle.recorded_day (timezone text, day date, begins timestamptz, PRIMARY KEY (timezone, day));

-- Forget what is on record of a zone.
CREATE FUNCTION oracle.forget_days(timezone text) RETURNS void LANGUAGE sql AS $$
	DELETE FROM oracle.recorded_day r WHERE r.timezone = forget_days.timezone;
	DELETE FROM oracle.known_midnight k WHERE k.timezone = forget_days.timezone;
$$;

-- Where a local day begins: on record, or by the rules of the zone, though not before a day on record that precedes it, nor
-- after one that follows. By the rules: the first instant whose local date is that date or a later one. Such an instant is either a
-- moment at which the local clock shows midnight, or one at which the clock is set. Both kinds are listed within 38 hours of
-- the date (no zone is further than 16 hours from UTC), and the first that qualifies is taken.
CREATE FUNCTION oracle.midnight(day date, timezone text) RETURNS timestamptz LANGUAGE plpgsql AS $$
DECLARE
	answer timestamptz;
	clock_set timestamptz[] := '{}';
	lo timestamptz;
	hi timestamptz;
	mid timestamptz;
	h timestamptz;
BEGIN
	SELECT k.begins INTO answer FROM oracle.known_midnight k WHERE k.timezone = midnight.timezone AND k.day = midnight.day;
	IF FOUND THEN
		RETURN answer;
	END IF;
	SELECT r.begins INTO answer FROM oracle.recorded_day r WHERE r.timezone = midnight.timezone AND r.day = midnight.day;
	IF FOUND THEN
		RETURN answer;
	END IF;

	FOR h IN SELECT generate_series((day::timestamp AT TIME ZONE 'UTC') - interval '38 hours',
			(day::timestamp AT TIME ZONE 'UTC') + interval '38 hours', '1 hour')
	LOOP
		lo := h;
		hi := h + interval '1 hour';
		IF oracle.utc_offset(lo, timezone) <> oracle.utc_offset(hi, timezone) THEN
			WHILE hi - lo > interval '1 second' LOOP
				mid := date_trunc('second', lo + (hi - lo) / 2);
				IF oracle.utc_offset(mid, timezone) = oracle.utc_offset(lo, timezone) THEN
					lo := mid;
				ELSE
					hi := mid;
				END IF;
			END LOOP;
			clock_set := clock_set || hi;
		END IF;
	END LOOP;

	SELECT min(candidate) INTO STRICT answer
	FROM (SELECT (day::timestamp - o) AT TIME ZONE 'UTC'
		  FROM (SELECT DISTINCT oracle.utc_offset(s, timezone)
				FROM generate_series((day::timestamp AT TIME ZONE 'UTC') - interval '38 hours',
					(day::timestamp AT TIME ZONE 'UTC') + interval '38 hours', '1 hour') s) offsets (o)
		  UNION ALL
		  SELECT unnest(clock_set)) candidates (candidate)
	WHERE (candidate AT TIME ZONE timezone)::date >= day;

	SELECT least(greatest(answer, max(r.begins) FILTER (WHERE r.day < midnight.day)), min(r.begins) FILTER (WHERE r.day > midnight.day))
		INTO answer FROM oracle.recorded_day r WHERE r.timezone = midnight.timezone;
	INSERT INTO oracle.known_midnight VALUES (timezone, day, answer);
	RETURN answer;
END
$$;

CREATE FUNCTION oracle.utc_offset(t timestamptz, timezone text) RETURNS interval LANGUAGE sql STABLE AS $$
	SELECT (t AT TIME ZONE timezone) - (t AT TIME ZONE 'UTC')
$$;

-- The local day that holds an instant: the last one that has begun.
CREATE FUNCTION oracle.day_of(t timestamptz, timezone text) RETURNS date LANGUAGE plpgsql AS $$
DECLARE
	-- no day on record is off by two days
	day date := (t AT TIME ZONE timezone)::date + 3;
BEGIN
	WHILE oracle.midnight(day, timezone) > t LOOP
		day := day - 1;
	END LOOP;
	RETURN day;
END
$$;

-- Put days on record as rules would have had them that were off by some time; none begins before the one before it.
CREATE FUNCTION oracle.record_days(timezone text, first date, last date, off interval) RETURNS void LANGUAGE sql AS $$
	INSERT INTO oracle.recorded_day
		SELECT record_days.timezone, d::date, oracle.midnight(d::date, record_days.timezone) + off
		FROM generate_series(first::timestamp, last::timestamp, '1 day') d
		ON CONFLICT DO NOTHING;
	UPDATE oracle.recorded_day r SET begins = (SELECT max(e.begins) FROM oracle.recorded_day e WHERE e.timezone = r.timezone AND e.day <= r.day)
		WHERE r.timezone = record_days.timezone;
	DELETE FROM oracle.known_midnight k WHERE k.timezone = record_days.timezone;
$$;

CREATE FUNCTION oracle.microseconds(i interval) RETURNS numeric LANGUAGE sql IMMUTABLE AS $$
	SELECT trunc(extract(epoch FROM i) * 1000000)
$$;

-- The slice of `width` that holds t. Up to 24 hours: counted in elapsed time from the local midnight, the last of a day
-- ends with the day. Days, weeks and months: from local midnight to local midnight; weeks from Monday, months from January.
CREATE FUNCTION oracle.slice_of(t timestamptz, width interval, timezone text,
	OUT begins timestamptz, OUT ends timestamptz) LANGUAGE plpgsql AS $$
DECLARE
	day date := oracle.day_of(t, timezone);
	months int := extract(year FROM width) * 12 + extract(month FROM width);
	days int := extract(day FROM width);
	n int;
BEGIN
	IF months > 0 THEN
		n := extract(year FROM day) * 12 + extract(month FROM day) - 1;
		n := n - n % months;
		begins := oracle.midnight(make_date(n / 12, n % 12 + 1, 1), timezone);
		n := n + months;
		ends := oracle.midnight(make_date(n / 12, n % 12 + 1, 1), timezone);
	ELSIF days = 7 THEN
		day := day - (extract(isodow FROM day)::int - 1);
		begins := oracle.midnight(day, timezone);
		ends := oracle.midnight(day + 7, timezone);
	ELSIF days = 1 THEN
		begins := oracle.midnight(day, timezone);
		ends := oracle.midnight(day + 1, timezone);
	ELSIF days = 0 THEN
		begins := oracle.midnight(day, timezone);
		begins := begins + div(oracle.microseconds(t - begins), oracle.microseconds(width))::bigint * width;
		ends := least(begins + width, oracle.midnight(day + 1, timezone));
	ELSE
		RAISE EXCEPTION 'the grid has no slices of %', width;
	END IF;
	IF NOT (begins <= t AND t < ends) THEN
		RAISE EXCEPTION 'slice [%, %) does not hold %', begins, ends, t;
	END IF;
END
$$;

CREATE FUNCTION oracle.slice_begin(t timestamptz, width interval, timezone text) RETURNS timestamptz LANGUAGE sql AS $$
	SELECT (oracle.slice_of(t, width, timezone)).begins
$$;

-- ---------------------------------------------------------------- which rows are events

-- The rows of a log that count. Duplicates by (source, id), `void` and reconciled snapshots belong here; until then all do.
CREATE FUNCTION oracle.counting(log regclass, before timestamptz)
RETURNS TABLE (source text, id text, "time" timestamptz, resource text, account text, entity text, action text,
	offering text, value numeric, attributes jsonb) LANGUAGE plpgsql AS $$
BEGIN
	RETURN QUERY EXECUTE format('SELECT source, id, "time", resource, account, entity, action, offering, value, attributes
		FROM %s WHERE "time" < $1', log) USING before;
END
$$;

-- What the meter makes of them. kind: 1 start, 2 change, 3 stop, which is also the order in which the events of one instant
-- speak. `rank` is the dimensions in their order, NULL first. The account '' is that of nobody: it names none.
CREATE FUNCTION oracle.listed(log regclass, m oracle.meter, before timestamptz)
RETURNS TABLE (resource text, "time" timestamptz, kind int, account text, dims text[], rank text[], value numeric)
LANGUAGE sql AS $$
	SELECT e.resource, e."time",
		CASE WHEN e.action = ANY (m.starts) THEN 1 WHEN e.action = ANY (m.changes) THEN 2 ELSE 3 END,
		nullif(e.account, ''), coalesce(d.dims, '{}'), coalesce(d.rank, '{}'),
		CASE m.value_from WHEN 'value' THEN e.value ELSE (e.attributes ->> m.value_from)::numeric END
	FROM oracle.counting(log, before) e,
		LATERAL (SELECT array_agg(field ORDER BY n) AS dims, array_agg(coalesce('=' || field, '') ORDER BY n) AS rank
				 FROM unnest(m.dimensions) WITH ORDINALITY u (name, n),
					LATERAL (SELECT CASE name WHEN 'offering' THEN e.offering WHEN 'source' THEN e.source
								WHEN 'entity' THEN e.entity ELSE e.attributes ->> name END) f (field)) d
	WHERE (m.entity IS NULL OR e.entity = m.entity)
	  AND e.action = ANY (m.starts || m.stops || m.changes)
$$;

-- ---------------------------------------------------------------- pairing

-- The runs of every resource, cut at each instant that has events; an open run ends at NULL, an account that nobody has
-- named so far is NULL.
CREATE FUNCTION oracle.pieces(log regclass, m oracle.meter, before timestamptz)
RETURNS TABLE (resource text, begins timestamptz, ends timestamptz, account text, dims text[], value numeric)
LANGUAGE plpgsql AS $$
DECLARE
	e record;							-- one instant of one resource, with all its events
	said jsonb;							-- one event of it
	running boolean := false;
BEGIN
	FOR e IN
		SELECT l.resource, l."time", bool_or(l.kind = 1) AS starts, bool_or(l.kind = 3) AS stops,
			jsonb_agg(to_jsonb(l) ORDER BY l.kind, l.account COLLATE "C" NULLS FIRST, l.rank COLLATE "C", l.value NULLS FIRST) AS events
		FROM oracle.listed(log, m, before) l
		GROUP BY l.resource, l."time" ORDER BY l.resource COLLATE "C", l."time"
	LOOP
		IF e.resource IS DISTINCT FROM resource THEN
			IF running THEN
				ends := NULL;
				RETURN NEXT;
			END IF;
			resource := e.resource;
			running := false;
			account := NULL;
			dims := array_fill(NULL::text, ARRAY[cardinality(m.dimensions)]);
			value := NULL;
		END IF;

		IF running THEN
			ends := e."time";
			RETURN NEXT;
		END IF;

		FOR said IN SELECT * FROM jsonb_array_elements(e.events) LOOP
			IF (said ->> 'kind')::int < 3 THEN
				account := coalesce(said ->> 'account', account);
				value := coalesce((said ->> 'value')::numeric, value);
				FOR d IN 1 .. cardinality(m.dimensions) LOOP
					dims[d] := coalesce(said -> 'dims' ->> (d - 1), dims[d]);
				END LOOP;
			ELSE
				account := coalesce(account, said ->> 'account');
			END IF;
		END LOOP;

		running := CASE WHEN e.starts AND e.stops THEN running WHEN e.starts THEN true WHEN e.stops THEN false ELSE running END;
		begins := e."time";
	END LOOP;
	IF running THEN
		ends := NULL;
		RETURN NEXT;
	END IF;
END
$$;

-- Timelines: spans by (account, dimensions, value), neighbours that are equal joined; without values where the meter is not
-- about them. The time before the first name belongs to it; a resource that nobody has named belongs to ''.
CREATE FUNCTION oracle.spans(log regclass, m oracle.meter, before timestamptz, by_value boolean)
RETURNS TABLE (resource text, begins timestamptz, ends timestamptz, account text, dims text[], value numeric)
LANGUAGE sql AS $$
	WITH named AS (
		SELECT p.resource, p.begins, p.ends, coalesce(p.account, first.account, '') AS account, p.dims,
			CASE WHEN by_value THEN trim_scale(p.value) END AS value
		FROM oracle.pieces(log, m, before) p
		LEFT JOIN (SELECT DISTINCT ON (l.resource) l.resource, l.account
				   FROM oracle.listed(log, m, before) l WHERE l.account IS NOT NULL
				   ORDER BY l.resource, l."time", l.kind, l.account COLLATE "C") first USING (resource)
	), marked AS (
		SELECT *, lag(ends) OVER w IS DISTINCT FROM begins
				OR ROW(lag(account) OVER w, lag(dims) OVER w, lag(value) OVER w) IS DISTINCT FROM ROW(account, dims, value) AS new
		FROM named WINDOW w AS (PARTITION BY named.resource ORDER BY begins)
	), numbered AS (
		SELECT *, count(*) FILTER (WHERE new) OVER (PARTITION BY marked.resource ORDER BY begins) AS n FROM marked
	)
	SELECT s.resource, min(s.begins), CASE WHEN bool_or(s.ends IS NULL) THEN NULL ELSE max(s.ends) END, s.account, s.dims, s.value
	FROM numbered s
	GROUP BY s.resource, s.n, s.account, s.dims, s.value
$$;

-- ---------------------------------------------------------------- billing

-- Spans as they are billed up to the watermark (or any other instant: it cuts what is rounded, and so does not end a run that is
-- open). Only the two ends of a span need rounding: what lies between is whole units.
CREATE FUNCTION oracle.rounded(log regclass, m oracle.meter, watermark timestamptz)
RETURNS TABLE (resource text, begins timestamptz, ends timestamptz, account text, dims text[], value numeric)
LANGUAGE plpgsql AS $$
DECLARE
	s record;
	first_unit record;					-- the unit of increment that holds the begin of the span
	last_unit record;					-- and the one that holds its end (the next one, where it ends on the grid)
	taken timestamptz;					-- `up`: units before this have been billed to an earlier span
BEGIN
	FOR s IN
		SELECT p.*, coalesce(p.ends, (oracle.slice_of(watermark, m.increment, m.timezone)).ends) AS till
		FROM oracle.spans(log, m, watermark, m.aggregate = 'weighted') p
		ORDER BY p.resource COLLATE "C", p.begins
	LOOP
		IF s.resource IS DISTINCT FROM resource THEN
			taken := '-infinity';
		END IF;
		resource := s.resource;
		account := s.account;
		dims := s.dims;
		value := s.value;
		begins := s.begins;
		ends := s.till;

		IF m.rounding <> 'none' THEN
			first_unit := oracle.slice_of(s.begins, m.increment, m.timezone);
			last_unit := oracle.slice_of(s.till, m.increment, m.timezone);
			IF m.rounding = 'up' THEN
				begins := greatest(first_unit.begins, taken);
				ends := CASE WHEN last_unit.begins = s.till THEN s.till ELSE last_unit.ends END;
				taken := ends;
			ELSIF m.rounding = 'down' THEN
				begins := CASE WHEN first_unit.begins = s.begins THEN s.begins ELSE first_unit.ends END;
				ends := last_unit.begins;
			ELSIF m.rounding = 'nearest' THEN
				begins := CASE WHEN s.begins - first_unit.begins < first_unit.ends - s.begins
					THEN first_unit.begins ELSE first_unit.ends END;
				ends := CASE WHEN s.till - last_unit.begins < last_unit.ends - s.till
					THEN last_unit.begins ELSE last_unit.ends END;
			END IF;
		END IF;
		ends := least(ends, watermark);
		IF begins < ends THEN
			RETURN NEXT;
		END IF;
	END LOOP;
END
$$;

-- a / b: exact where that is a finite decimal, else rounded half away from zero at the 12th digit.
CREATE FUNCTION oracle.quotient(a numeric, b numeric) RETURNS numeric LANGUAGE plpgsql IMMUTABLE AS $$
DECLARE
	n numeric := trunc(abs(a) * ('1e' || scale(a))::numeric);	-- both as whole numbers
	d numeric := trunc(b * ('1e' || scale(a))::numeric);
	rest numeric := div(d, gcd(n, d));
	digits int := 12;
BEGIN
	WHILE rest % 2 = 0 LOOP rest := div(rest, 2); END LOOP;
	WHILE rest % 5 = 0 LOOP rest := div(rest, 5); END LOOP;
	IF rest = 1 THEN
		digits := 60;						-- finite, and no longer than this
	END IF;
	-- half away from zero is floor(x + 1/2) on the absolute value
	RETURN sign(a) * trim_scale(div(2 * n * ('1e' || digits)::numeric + d, 2 * d) * ('1e-' || digits)::numeric);
END
$$;

-- The usage rows of a meter whose watermark is given, with their whole quantity. Rows of quantity 0 are left out.
CREATE FUNCTION oracle.usage(log regclass, m oracle.meter, watermark timestamptz)
RETURNS TABLE (period_start timestamptz, resource text, account text, dimensions jsonb, quantity numeric)
LANGUAGE plpgsql AS $$
BEGIN
	RETURN QUERY
	WITH RECURSIVE billed AS MATERIALIZED (
		SELECT r.resource, r.account, r.dims, r.value, greatest(r.begins, m.since) AS begins, r.ends
		FROM oracle.rounded(log, m, watermark) r
		WHERE r.ends > m.since OR m.since IS NULL
	), period AS (
		SELECT p.begins, p.ends
		FROM (SELECT min(billed.begins) FROM billed HAVING count(*) > 0) f (t), oracle.slice_of(f.t, m.period, m.timezone) p
		UNION ALL
		SELECT n.begins, n.ends
		FROM period p, oracle.slice_of(p.ends, m.period, m.timezone) n
		WHERE p.ends < watermark
	), summed AS (
		SELECT p.begins AS period_start, b.resource, b.account, b.dims,
			oracle.quotient(
				sum(oracle.microseconds(least(b.ends, p.ends) - greatest(b.begins, p.begins))
					* CASE m.aggregate WHEN 'weighted' THEN coalesce(b.value, 0) ELSE 1 END),
				oracle.microseconds(m.unit)) AS quantity
		FROM billed b JOIN period p ON b.begins < p.ends AND p.begins < b.ends
		GROUP BY p.begins, b.resource, b.account, b.dims
	)
	SELECT s.period_start, s.resource, s.account,
		(SELECT coalesce(jsonb_object_agg(m.dimensions[k], s.dims[k]), '{}') FROM generate_subscripts(m.dimensions, 1) k),
		s.quantity
	FROM summed s WHERE s.quantity <> 0;
END
$$;
