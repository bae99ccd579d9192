-- The oracle: what the ledger must say, computed from an event log and a meter's definition by the rules of pairing,
-- billing and the grid, in plain SQL and plpgsql. It uses no function of the extension and shares no code with it; it is
-- written to be read against the rules, and slow.
--
--   SELECT * FROM oracle.usage('cloud.event', oracle.define(starts => '{start}', stops => '{stop}'), '2024-03-05 13:00Z');
--
-- The way through: counting (which rows are events at all) -> listed (what the meter makes of each) -> walk (pairing and names, one resource
-- after the other, event by event) -> pieces (what is billed, cut where owners change) -> spans -> rounded, and surplus -> usage.
-- oracle_duplicates.sql, oracle_measures.sql and oracle_snapshots.sql add what their names say.

SET client_min_messages = warning;
DROP SCHEMA IF EXISTS oracle CASCADE;
CREATE SCHEMA oracle;

CREATE TYPE oracle.meter AS (
	aggregate text, entity text, starts text[], stops text[], changes text[], ends text[],
	dimensions text[], period interval, increment interval, rounding text, rounding_of text, minimum interval, liveness interval,
	unit interval, begins text, modulus numeric, drops text, value_from text, timezone text, since timestamptz);

-- A definition with the defaults of meter.create_meter.
CREATE FUNCTION oracle.define(
	aggregate text DEFAULT 'duration', entity text DEFAULT NULL,
	starts text[] DEFAULT '{start}', stops text[] DEFAULT '{stop}', changes text[] DEFAULT '{}', ends text[] DEFAULT '{}',
	dimensions text[] DEFAULT '{offering}',
	period interval DEFAULT '1 hour', increment interval DEFAULT '1 minute',
	rounding text DEFAULT NULL, rounding_of text DEFAULT 'clock', minimum interval DEFAULT NULL, liveness interval DEFAULT NULL,
	unit interval DEFAULT '1 minute', begins text DEFAULT NULL, modulus numeric DEFAULT NULL, drops text DEFAULT 'reset',
	value_from text DEFAULT 'value', timezone text DEFAULT 'UTC', since timestamptz DEFAULT NULL)
RETURNS oracle.meter LANGUAGE sql IMMUTABLE AS $$
	SELECT ROW(aggregate, entity, starts, stops, coalesce(changes, '{}'), coalesce(ends, '{}'), dimensions, period, increment,
		coalesce(rounding, CASE WHEN rounding_of = 'run' OR aggregate = 'duration' THEN 'up' ELSE 'none' END),
		rounding_of, minimum, liveness, unit, begins, modulus, drops, value_from, timezone, since)::oracle.meter
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

-- The rows of a log, as they are. What counts of a stream's log (oracle_duplicates.sql) is put into a table first.
CREATE FUNCTION oracle.counting(log regclass, before timestamptz)
RETURNS TABLE (source text, id text, "time" timestamptz, sequence bigint, resource text, account text, entity text, action text,
	offering text, value numeric, attributes jsonb) LANGUAGE plpgsql AS $$
BEGIN
	RETURN QUERY EXECUTE format('SELECT source, id, "time", sequence, resource, account, nullif(entity, ''''), action, offering, value, attributes
		FROM %s WHERE "time" < $1 AND action <> ''void'' AND action NOT LIKE ''reconciled:%%''', log) USING before;
END
$$;

-- What the meter makes of them. kind: 1 start, 2 change, 3 stop, 4 end; NULL: no event to it. To a meter with an entity what has none is an event
-- unless it is a start. `account` is whom the row names; it names somebody to a meter without an entity, whatever its own is, and to one with
-- an entity if its own is that or none; the action does not matter. `rank` is the dimensions in their order, NULL first.
CREATE FUNCTION oracle.listed(log regclass, m oracle.meter, before timestamptz)
RETURNS TABLE (resource text, "time" timestamptz, sequence bigint, kind int, source text, account text, dims text[], rank text[], value numeric)
LANGUAGE sql AS $$
	SELECT e.resource, e."time", e.sequence, k.kind, coalesce(e.source, ''), CASE WHEN fits THEN e.account END,
		coalesce(d.dims, '{}'), coalesce(d.rank, '{}'),
		CASE WHEN k.kind < 3 THEN CASE m.value_from WHEN 'value' THEN e.value ELSE (e.attributes ->> m.value_from)::numeric END END
	FROM oracle.counting(log, before) e,
		LATERAL (SELECT m.entity IS NULL OR e.entity IS NULL OR e.entity = m.entity) f (fits),
		LATERAL (SELECT CASE WHEN NOT fits OR (m.entity IS NOT NULL AND e.entity IS NULL AND e.action = ANY (m.starts)) THEN NULL
					WHEN e.action = ANY (m.starts) THEN 1 WHEN e.action = ANY (m.changes) THEN 2
					WHEN e.action = ANY (m.stops) THEN 3 WHEN e.action = ANY (m.ends) THEN 4 END) k (kind),
		LATERAL (SELECT array_agg(field ORDER BY n) AS dims, array_agg(coalesce('=' || field, '') ORDER BY n) AS rank
				 FROM unnest(m.dimensions) WITH ORDINALITY u (name, n),
					LATERAL (SELECT CASE name WHEN 'offering' THEN e.offering WHEN 'source' THEN e.source
								WHEN 'entity' THEN e.entity ELSE e.attributes ->> name END) f (field)) d
	WHERE k.kind IS NOT NULL OR (fits AND e.account IS NOT NULL)
$$;

-- What reconciled snapshots say of a resource to a meter, and the resources that are in any: nothing, without oracle_snapshots.sql.
CREATE FUNCTION oracle.said(resource text, m oracle.meter)
RETURNS TABLE (source text, at timestamptz, tolerance interval, held boolean, account text, dims text[], value numeric, since timestamptz)
LANGUAGE sql AS $$
	SELECT '', now(), interval '0', false, '', '{}'::text[], 0::numeric, now() WHERE false
$$;

CREATE FUNCTION oracle.inventoried() RETURNS TABLE (resource text) LANGUAGE sql AS $$
	SELECT '' WHERE false
$$;

-- ---------------------------------------------------------------- pairing and names

-- A stretch of a run within which nothing happens. A run: its attributes are those after all that its first instant says, its signs of life are
-- its start and every later start or change. A name: who owns the resource from then on; '' nobody.
CREATE TYPE oracle.stretch AS (run int, begins timestamptz, ends timestamptz, dims text[], value numeric);
CREATE TYPE oracle.run AS (begins timestamptz, ends timestamptz, dims text[], value numeric, signs timestamptz[]);
CREATE TYPE oracle.name AS (at timestamptz, account text);

-- The attributes after what is said at once, and those of them that changes name; `what`: change, other, or snapshot, of what that says of
-- something that does not run.
CREATE TYPE oracle.moment AS (at timestamptz, what text, dims text[], value numeric, named_dims text[], named_value numeric);

-- Stretches without what of a run lies in [cut_begins, cut_ends); what comes after that is of another run.
CREATE FUNCTION oracle.without(stretches oracle.stretch[], of_run int, cut_begins timestamptz, cut_ends timestamptz, then_run int)
RETURNS oracle.stretch[] LANGUAGE sql AS $$
	SELECT coalesce(array_agg(ROW(r.run, r.begins, r.ends, s.dims, s.value)::oracle.stretch ORDER BY r.begins), '{}')
	FROM unnest(stretches) s,
		LATERAL (SELECT s.run, s.begins, s.ends WHERE s.run <> of_run
				 UNION ALL SELECT s.run, s.begins, least(s.ends, cut_begins) WHERE s.run = of_run
				 UNION ALL SELECT then_run, greatest(s.begins, cut_ends), s.ends WHERE s.run = of_run) r (run, begins, ends)
	WHERE r.begins < r.ends
$$;

-- Who owns a resource at an instant by names, in their order; NULL: nobody has been named. '' before the first says nothing.
CREATE FUNCTION oracle.owner_by(names oracle.name[], at timestamptz) RETURNS text LANGUAGE plpgsql IMMUTABLE AS $$
DECLARE
	n oracle.name;
	owner text;
BEGIN
	FOREACH n IN ARRAY coalesce(names, '{}') LOOP
		EXIT WHEN n.at > owner_by.at;
		owner := CASE WHEN owner IS NULL THEN nullif(n.account, '') ELSE n.account END;
	END LOOP;
	RETURN owner;
END
$$;

-- The same, where time before the first name belongs to that one, and nobody is ''.
CREATE FUNCTION oracle.owner(names oracle.name[], at timestamptz) RETURNS text LANGUAGE plpgsql IMMUTABLE AS $$
DECLARE
	n oracle.name;
	owner text := oracle.owner_by(names, at);
BEGIN
	IF owner IS NULL THEN
		FOREACH n IN ARRAY coalesce(names, '{}') LOOP
			owner := n.account;
			EXIT WHEN owner <> '';
		END LOOP;
	END IF;
	RETURN coalesce(owner, '');
END
$$;

-- What is said of an attribute agrees if it is among what the instant passes through: an array of "number of attribute:value".
CREATE FUNCTION oracle.passes(passed text[], attribute int, said text, now text) RETURNS boolean LANGUAGE sql IMMUTABLE AS $$
	SELECT coalesce(said = now, false) OR coalesce((attribute || ':' || said) = ANY (passed), false)
$$;

-- The attributes of a state, as oracle.passes has them.
CREATE FUNCTION oracle.attributes_of(dims text[], value numeric) RETURNS text[] LANGUAGE sql IMMUTABLE AS $$
	SELECT coalesce(array_agg(d || ':' || dims[d]) FILTER (WHERE dims[d] IS NOT NULL), '{}') || coalesce('0:' || trim_scale(value), '')
	FROM generate_subscripts(dims, 1) d
$$;

-- What is said over what was: each dimension by itself.
CREATE FUNCTION oracle.over(said text[], was text[]) RETURNS text[] LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
	FOR d IN 1 .. cardinality(was) LOOP
		was[d] := coalesce(said[d], was[d]);
	END LOOP;
	RETURN was;
END
$$;

-- What happened to each resource, in order: by time, by sequence, and the snapshots of an instant after its events. Answers in three kinds of
-- rows: names (begins, account), runs (run, begins, ends, attributes at the begin, signs of life) and their stretches (run, begins, ends,
-- attributes). What is open ends at NULL. Where snapshots are asked, all is looked at, whatever `before` is: they may say what was before.
CREATE FUNCTION oracle.walk(log regclass, m oracle.meter, before timestamptz)
RETURNS TABLE (resource text, what text, run int, begins timestamptz, ends timestamptz, account text, dims text[], value numeric, signs timestamptz[])
LANGUAGE plpgsql AS $$
DECLARE
	r record;							-- what is said at one (time, sequence), or by the snapshots of an instant
	e jsonb;
	k int;
	snapshots boolean := coalesce(current_setting('oracle.stream', true), '') <> '';	-- are asked
	nobody text[] := array_fill(NULL::text, ARRAY[cardinality(m.dimensions)]);	-- no dimension is known
	of_resource text;
	now timestamptz;					-- the instant that is looked at
	names oracle.name[];
	runs oracle.run[];
	stretches oracle.stretch[];
	moments oracle.moment[];
	running boolean;
	ended boolean;
	stretch_begins timestamptz;			-- of the run that is open
	run_since timestamptz;
	alive timestamptz[];				-- moments at which that is known to have been going
	last_alive timestamptz;
	absent timestamptz;					-- the last moment known not running
	is_dims text[];
	is_value numeric;
	-- whose the resource is
	belongs_to text;
	ever_started boolean;
	holder text;						-- whose snapshot held it last since it was started, if that has not been without it since
	start_source text;					-- the greatest of the instant's starts,
	event_source text;					-- and of its events
	-- what the instant passes through
	passed text[];
	passed_open boolean;
	passed_closed boolean;
	passed_owner text[];
	-- what its snapshots say
	said_account text;
	said_dims text[];
	said_value numeric;
	said_since timestamptz;
	said_tolerance interval;
	since_source text;
	greatest_source text;
	opened_at timestamptz;				-- a run was opened by them, back to this
	starts boolean;
	named_dims text[];
	named_value numeric;
	was oracle.moment;
BEGIN
	FOR r IN
		WITH mine AS MATERIALIZED (
			SELECT * FROM oracle.listed(log, m, CASE WHEN snapshots THEN 'infinity' ELSE before END)
		), tie AS (
			SELECT l.resource, l."time", l.sequence, coalesce(bool_or(l.kind = 1), false) AS starts, coalesce(bool_or(l.kind = 2), false) AS changes,
				coalesce(bool_or(l.kind = 3), false) AS stops, coalesce(bool_or(l.kind = 4), false) AS finishes, max(l.account COLLATE "C") AS name,
				coalesce(jsonb_agg(jsonb_build_object('kind', l.kind, 'dims', l.dims, 'value', l.value)
					ORDER BY l.kind, l.rank COLLATE "C", l.value NULLS FIRST) FILTER (WHERE l.kind < 3), '[]') AS events,
				max(l.source COLLATE "C") FILTER (WHERE l.kind = 1) AS start_source, max(l.source COLLATE "C") FILTER (WHERE l.kind > 1) AS other_source
			FROM mine l GROUP BY 1, 2, 3
		), observation AS (
			SELECT i.resource, s.at, jsonb_agg(to_jsonb(s) ORDER BY s.source COLLATE "C") AS snapshots
			FROM (SELECT l.resource FROM mine l UNION SELECT * FROM oracle.inventoried()) i (resource), oracle.said(i.resource, m) s
			GROUP BY 1, 2
		), said AS (
			SELECT t.*, NULL::jsonb AS snapshots FROM tie t
			UNION ALL
			SELECT o.resource, o.at, NULL, false, false, false, false, NULL, NULL, NULL, NULL, o.snapshots FROM observation o
			UNION ALL
			SELECT NULL, NULL, NULL, false, false, false, false, NULL, NULL, NULL, NULL, NULL		-- the end
		)
		SELECT * FROM said ORDER BY said.resource COLLATE "C" NULLS LAST, said."time", said.snapshots IS NOT NULL, said.sequence NULLS FIRST
	LOOP
		IF r.resource IS DISTINCT FROM of_resource OR r."time" IS DISTINCT FROM now THEN
			-- runs that began at the instant that is over have its attributes
			FOR k IN 1 .. coalesce(cardinality(runs), 0) LOOP
				IF runs[k].begins = now AND runs[k].dims IS NULL THEN
					runs[k].dims := is_dims;
					runs[k].value := is_value;
				END IF;
			END LOOP;
		END IF;

		IF r.resource IS DISTINCT FROM of_resource THEN
			IF running THEN
				stretches := stretches || ROW(cardinality(runs), stretch_begins, NULL, is_dims, is_value)::oracle.stretch;
			END IF;
			RETURN QUERY SELECT of_resource, 'name', NULL::int, n.at, NULL::timestamptz, n.account, NULL::text[], NULL::numeric, NULL::timestamptz[] FROM unnest(names) n;
			RETURN QUERY SELECT of_resource, 'run', o::int, u.begins, u.ends, NULL::text, u.dims, u.value, u.signs
				FROM unnest(runs) WITH ORDINALITY u (begins, ends, dims, value, signs, o);
			RETURN QUERY SELECT of_resource, 'stretch', s.run, s.begins, s.ends, NULL::text, s.dims, s.value, NULL::timestamptz[] FROM unnest(stretches) s;
			of_resource := r.resource;
			now := NULL;
			names := '{}';
			runs := '{}';
			stretches := '{}';
			moments := '{}';
			running := false;
			ended := false;
			alive := '{}';
			absent := NULL;
			is_dims := nobody;
			is_value := NULL;
			belongs_to := NULL;
			ever_started := false;
			holder := NULL;
		END IF;

		IF r."time" IS DISTINCT FROM now THEN
			now := r."time";
			IF running THEN
				stretches := stretches || ROW(cardinality(runs), stretch_begins, now, is_dims, is_value)::oracle.stretch;
				stretch_begins := now;
			END IF;
			passed := '{}';
			passed_open := running;
			passed_closed := NOT running;
			IF snapshots THEN
				passed_owner := ARRAY[oracle.owner_by(names, now)];
			END IF;
			start_source := NULL;
			event_source := NULL;
		END IF;

		IF r.snapshots IS NULL THEN
			-- who is named, the greatest of those that are named at once
			IF r.name IS NOT NULL THEN
				names := names || ROW(now, r.name)::oracle.name;
				IF snapshots THEN
					passed_owner := passed_owner || oracle.owner_by(names, now);
				END IF;
			END IF;
			CONTINUE WHEN NOT (r.starts OR r.changes OR r.stops OR r.finishes);

			-- attributes: of starts, but for those that are ignored after an end, then of changes
			starts := r.starts AND NOT ended;
			IF snapshots THEN
				passed := passed || oracle.attributes_of(is_dims, is_value);
			END IF;
			named_dims := nobody;
			named_value := NULL;
			FOR e IN SELECT * FROM jsonb_array_elements(r.events) LOOP
				CONTINUE WHEN (e ->> 'kind')::int = 1 AND NOT starts;
				is_dims := oracle.over(ARRAY(SELECT jsonb_array_elements_text(e -> 'dims')), is_dims);
				is_value := coalesce((e ->> 'value')::numeric, is_value);
				CONTINUE WHEN NOT snapshots;
				passed := passed || oracle.attributes_of(is_dims, is_value);
				IF (e ->> 'kind')::int = 2 THEN
					named_dims := oracle.over(ARRAY(SELECT jsonb_array_elements_text(e -> 'dims')), named_dims);
					named_value := coalesce((e ->> 'value')::numeric, named_value);
				END IF;
			END LOOP;
			IF snapshots THEN
				moments := moments || ROW(now, CASE WHEN r.changes THEN 'change' ELSE 'other' END, is_dims, is_value, named_dims, named_value)::oracle.moment;
			END IF;

			-- whose it is: what started it last says so, or else what happened last
			start_source := greatest(start_source, CASE WHEN starts THEN r.start_source END COLLATE "C");
			event_source := greatest(event_source, CASE WHEN starts THEN r.start_source END COLLATE "C", r.other_source COLLATE "C");
			IF starts THEN
				belongs_to := start_source;
				ever_started := true;
				holder := NULL;
			ELSIF NOT ever_started THEN
				belongs_to := coalesce(event_source, belongs_to);
			END IF;

			-- open and closed; an end is the last of all
			passed_open := passed_open OR starts;
			passed_closed := passed_closed OR r.stops OR r.finishes;
			IF starts AND r.stops THEN
				-- what is open is restarted; what is closed has a run of no length
				IF running THEN
					runs[cardinality(runs)].ends := now;
				END IF;
				runs := runs || ROW(now, CASE WHEN running THEN NULL ELSE now END, NULL, NULL, ARRAY[now])::oracle.run;
				run_since := now;
				alive := '{}';
			ELSIF starts AND NOT running THEN
				running := true;
				runs := runs || ROW(now, NULL, NULL, NULL, ARRAY[now])::oracle.run;
				stretch_begins := now;
				run_since := now;
				alive := '{}';
			ELSIF r.stops AND running THEN
				running := false;
				runs[cardinality(runs)].ends := now;
			END IF;
			IF r.finishes THEN
				IF running THEN
					running := false;
					runs[cardinality(runs)].ends := now;
				END IF;
				ended := true;
			END IF;
			IF running AND (starts OR r.changes) THEN
				alive := alive || now;
				runs[cardinality(runs)].signs := runs[cardinality(runs)].signs || now;
			ELSIF NOT running AND (r.stops OR r.finishes) THEN
				absent := now;
			END IF;
			CONTINUE;
		END IF;

		-- The snapshots of the instant. Nobody has it: that counts for whose it is, and for who held it last.
		IF NOT EXISTS (SELECT FROM jsonb_array_elements(r.snapshots) s WHERE (s ->> 'held')::boolean) THEN
			IF EXISTS (SELECT FROM jsonb_array_elements(r.snapshots) s WHERE s ->> 'source' = holder) THEN
				holder := NULL;
			END IF;
			CONTINUE WHEN NOT EXISTS (SELECT FROM jsonb_array_elements(r.snapshots) s WHERE s ->> 'source' = belongs_to) OR (running AND passed_closed);
			IF running AND holder <> belongs_to THEN
				belongs_to := holder;
				CONTINUE;
			END IF;
			IF running THEN
				-- nothing after the last moment it is known to have been going
				SELECT max(a) INTO last_alive FROM unnest(alive || run_since) a;
				stretches := oracle.without(stretches, cardinality(runs), last_alive, 'infinity', NULL);
				runs[cardinality(runs)].ends := last_alive;
				running := false;
			END IF;
			absent := now;
			CONTINUE;
		END IF;

		-- What those that have it say, each attribute as the greatest source that says it.
		said_account := NULL;
		said_dims := nobody;
		said_value := NULL;
		said_since := NULL;
		FOR e IN SELECT * FROM jsonb_array_elements(r.snapshots) s WHERE (s ->> 'held')::boolean LOOP
			greatest_source := e ->> 'source';
			said_account := coalesce(e ->> 'account', said_account);
			said_dims := oracle.over(ARRAY(SELECT jsonb_array_elements_text(e -> 'dims')), said_dims);
			said_value := coalesce((e ->> 'value')::numeric, said_value);
			IF e ->> 'since' IS NOT NULL THEN
				said_since := e ->> 'since';
				said_tolerance := e ->> 'tolerance';
				since_source := e ->> 'source';
			END IF;
		END LOOP;

		opened_at := NULL;
		IF m.starts = '{}' THEN
			NULL;						-- only names are asked for
		ELSIF running AND said_since > run_since + said_tolerance THEN
			-- another run than we know of: the first one went on to where it was last seen
			SELECT max(a) INTO last_alive FROM unnest(alive || run_since) a WHERE a < said_since;
			stretches := oracle.without(stretches, cardinality(runs), last_alive, said_since, cardinality(runs) + 1);
			runs := runs || ROW(said_since, NULL, NULL, NULL, said_since || ARRAY(SELECT a FROM unnest(runs[cardinality(runs)].signs) a WHERE a > said_since))::oracle.run;
			k := cardinality(runs);
			runs[k - 1].ends := last_alive;
			runs[k - 1].signs := ARRAY(SELECT a FROM unnest(runs[k - 1].signs) a WHERE a < said_since);
			SELECT s.dims, s.value INTO named_dims, named_value FROM unnest(stretches) s WHERE s.run = k ORDER BY s.begins LIMIT 1;
			runs[k].dims := named_dims;
			runs[k].value := named_value;
			run_since := said_since;
			alive := ARRAY(SELECT a FROM unnest(alive) a WHERE a >= said_since);
			belongs_to := since_source;
			holder := NULL;
		ELSIF NOT running AND NOT passed_open THEN
			running := true;
			ended := false;
			alive := '{}';
			opened_at := CASE WHEN said_since >= coalesce(absent, '-infinity') THEN said_since ELSE now END;
			run_since := opened_at;
			stretch_begins := opened_at;
			belongs_to := greatest_source;
			ever_started := true;
			holder := NULL;
			runs := runs || ROW(opened_at, NULL, NULL, NULL, ARRAY[opened_at])::oracle.run;
			IF said_since = opened_at THEN
				-- what the row says from then on, and the changes from there to here at their times; of the rest what was known
				named_dims := nobody;
				named_value := NULL;
				is_dims := nobody;
				is_value := NULL;
				FOREACH was IN ARRAY moments LOOP
					EXIT WHEN was.at >= opened_at;
					is_dims := was.dims;
					is_value := was.value;
				END LOOP;
				is_dims := oracle.over(said_dims, is_dims);
				is_value := coalesce(said_value, is_value);
				FOREACH was IN ARRAY moments LOOP
					CONTINUE WHEN was.at < opened_at;
					IF stretch_begins < was.at THEN
						stretches := stretches || ROW(cardinality(runs), stretch_begins, was.at, is_dims, is_value)::oracle.stretch;
						IF runs[cardinality(runs)].dims IS NULL THEN
							runs[cardinality(runs)].dims := is_dims;
							runs[cardinality(runs)].value := is_value;
						END IF;
						stretch_begins := was.at;
					END IF;
					IF was.at = now THEN
						passed := passed || oracle.attributes_of(is_dims, is_value);
					END IF;
					named_dims := oracle.over(was.named_dims, named_dims);
					named_value := coalesce(was.named_value, named_value);
					is_dims := oracle.over(named_dims, oracle.over(said_dims, was.dims));
					is_value := coalesce(named_value, said_value, was.value);
					IF was.what <> 'other' THEN
						alive := alive || was.at;
					END IF;
					IF was.what = 'change' THEN
						runs[cardinality(runs)].signs := runs[cardinality(runs)].signs || was.at;
					END IF;
				END LOOP;
				IF stretch_begins < now THEN
					stretches := stretches || ROW(cardinality(runs), stretch_begins, now, is_dims, is_value)::oracle.stretch;
					IF runs[cardinality(runs)].dims IS NULL THEN
						runs[cardinality(runs)].dims := is_dims;
						runs[cardinality(runs)].value := is_value;
					END IF;
					stretch_begins := now;
				END IF;
			END IF;
		END IF;

		-- Who owns it, where that is another than by names: from where the run was opened, unless anybody is named from there to here; else from
		-- here on.
		IF coalesce(said_account <> ALL (array_remove(passed_owner, NULL)), false) THEN
			IF opened_at < now AND NOT EXISTS (SELECT FROM unnest(names) n WHERE n.at >= opened_at) THEN
				names := names || ROW(opened_at, said_account)::oracle.name;
			ELSE
				names := names || ROW(now, said_account)::oracle.name;
			END IF;
		END IF;

		-- Each attribute by itself.
		named_dims := nobody;
		named_value := NULL;
		IF said_value IS NOT NULL AND NOT oracle.passes(passed, 0, trim_scale(said_value)::text, trim_scale(is_value)::text) THEN
			is_value := said_value;
			named_value := said_value;
		END IF;
		FOR d IN 1 .. cardinality(m.dimensions) LOOP
			IF said_dims[d] IS NOT NULL AND NOT oracle.passes(passed, d, said_dims[d], is_dims[d]) THEN
				is_dims[d] := said_dims[d];
				named_dims[d] := said_dims[d];
			END IF;
		END LOOP;
		IF running THEN
			alive := alive || now;
			holder := greatest_source;
		ELSE
			-- it did no more: what the row says is known from here on
			moments := moments || ROW(now, 'snapshot', is_dims, is_value, named_dims, named_value)::oracle.moment;
		END IF;
	END LOOP;
END
$$;

-- What is billed of the runs that begin before an instant: their stretches, cut where the owner changes, without gaps: from the last sign of life
-- and `liveness` on nothing is billed until the next sign. What happens at or after the instant is not known: there a run is open (NULL).
CREATE FUNCTION oracle.pieces(log regclass, m oracle.meter, before timestamptz)
RETURNS TABLE (resource text, run int, begins timestamptz, ends timestamptz, account text, dims text[], value numeric)
LANGUAGE sql AS $$
	WITH walked AS MATERIALIZED (
		SELECT * FROM oracle.walk(log, m, before) w WHERE w.begins < before
	), named AS (
		SELECT w.resource, array_agg(ROW(w.begins, w.account)::oracle.name ORDER BY w.n) AS names
		FROM (SELECT *, row_number() OVER () AS n FROM walked) w WHERE w.what = 'name' GROUP BY 1
	), living AS (				-- from a sign of life to the next, or as long as it lasts
		SELECT w.resource, w.run, s.sign AS begins,
			least(s.sign + m.liveness, lead(s.sign, 1, 'infinity') OVER (PARTITION BY w.resource, w.run ORDER BY s.sign)) AS ends
		FROM walked w, LATERAL (SELECT DISTINCT u FROM unnest(w.signs) u WHERE u < before) s (sign) WHERE w.what = 'run'
	), stretch AS (
		SELECT w.resource, w.run, w.begins, CASE WHEN w.ends < before THEN w.ends ELSE 'infinity' END AS ends, w.dims, w.value, n.names
		FROM walked w LEFT JOIN named n USING (resource) WHERE w.what = 'stretch'
	), part AS (
		SELECT s.resource, s.run, s.dims, s.value, s.names, greatest(s.begins, l.begins) AS begins, least(s.ends, l.ends) AS ends
		FROM stretch s JOIN living l USING (resource, run) WHERE m.liveness IS NOT NULL
		UNION ALL
		SELECT s.resource, s.run, s.dims, s.value, s.names, s.begins, s.ends FROM stretch s WHERE m.liveness IS NULL
	)
	SELECT p.resource, p.run, c.begins, nullif(c.ends, 'infinity'), oracle.owner(p.names, c.begins), p.dims, p.value
	FROM part p,
		LATERAL (SELECT b.at AS begins, lead(b.at, 1, p.ends) OVER (ORDER BY b.at) AS ends
				 FROM (SELECT p.begins UNION SELECT n.at FROM unnest(p.names) n WHERE n.at > p.begins AND n.at < p.ends) b (at)) c
	WHERE p.begins < p.ends AND c.begins < before
$$;

-- Timelines: spans by (account, dimensions, value), neighbours that are equal joined; without values where the meter is not
-- about them.
CREATE FUNCTION oracle.spans(log regclass, m oracle.meter, before timestamptz, by_value boolean)
RETURNS TABLE (resource text, begins timestamptz, ends timestamptz, account text, dims text[], value numeric)
LANGUAGE sql AS $$
	WITH piece AS (
		SELECT p.resource, p.begins, p.ends, p.account, p.dims, CASE WHEN by_value THEN trim_scale(p.value) END AS value
		FROM oracle.pieces(log, m, before) p
	), marked AS (
		SELECT *, lag(ends) OVER w IS DISTINCT FROM begins
				OR ROW(lag(account) OVER w, lag(dims) OVER w, lag(value) OVER w) IS DISTINCT FROM ROW(account, dims, value) AS new
		FROM piece WINDOW w AS (PARTITION BY piece.resource ORDER BY begins)
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

		IF m.rounding <> 'none' AND m.rounding_of = 'clock' THEN
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

-- What is missing to a whole number of increments, or to the minimum, at the end of each run that has ended by then, in microseconds: owed by
-- whom, and with the attributes with which, its last instant was billed. A run that is open or of no length owes none.
CREATE FUNCTION oracle.surplus(log regclass, m oracle.meter, watermark timestamptz)
RETURNS TABLE (resource text, at timestamptz, account text, dims text[], value numeric, microseconds numeric) LANGUAGE sql AS $$
	SELECT t.resource, t.at, t.account, t.dims, t.value, greatest(
			CASE WHEN m.rounding_of = 'run' THEN ceil(t.length / oracle.microseconds(m.increment)) * oracle.microseconds(m.increment) END,
			oracle.microseconds(m.minimum), t.length) - t.length
	FROM (SELECT r.resource, r.ends AS at, sum(oracle.microseconds(p.ends - p.begins)) AS length, (array_agg(p.account ORDER BY p.begins DESC))[1] AS account,
			(array_agg(to_jsonb(p.dims) ORDER BY p.begins DESC))[1] AS last, (array_agg(p.value ORDER BY p.begins DESC))[1] AS value
		  FROM oracle.walk(log, m, watermark) r JOIN oracle.pieces(log, m, watermark) p USING (resource, run)
		  WHERE r.what = 'run' AND r.ends < watermark AND r.ends > r.begins
		  GROUP BY r.resource, r.run, r.ends) x,
		LATERAL (SELECT x.resource, x.at, x.account, ARRAY(SELECT jsonb_array_elements_text(x.last)), x.value, x.length) t (resource, at, account, dims, value, length)
	WHERE m.rounding_of = 'run' OR m.minimum IS NOT NULL
$$;

-- The runs that began before the watermark, for the owner and with the attributes at that instant.
CREATE FUNCTION oracle.begun(log regclass, m oracle.meter, watermark timestamptz)
RETURNS TABLE (resource text, at timestamptz, account text, dims text[]) LANGUAGE sql AS $$
	WITH walked AS MATERIALIZED (
		SELECT w.*, row_number() OVER () AS n FROM oracle.walk(log, m, watermark) w WHERE w.begins < watermark
	)
	SELECT r.resource, r.begins, oracle.owner((SELECT array_agg(ROW(w.begins, w.account)::oracle.name ORDER BY w.n)
		FROM walked w WHERE w.what = 'name' AND w.resource = r.resource), r.begins), r.dims
	FROM walked r WHERE r.what = 'run'
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
		WHERE m.aggregate <> 'runs' AND (r.ends > m.since OR m.since IS NULL)
	), period AS (
		SELECT p.begins, p.ends
		FROM (SELECT min(billed.begins) FROM billed HAVING count(*) > 0) f (t), oracle.slice_of(f.t, m.period, m.timezone) p
		UNION ALL
		SELECT n.begins, n.ends
		FROM period p, oracle.slice_of(p.ends, m.period, m.timezone) n
		WHERE p.ends < watermark
	), owed AS (
		SELECT p.begins AS period_start, b.resource, b.account, b.dims, b.value, oracle.microseconds(least(b.ends, p.ends) - greatest(b.begins, p.begins)) AS amount
		FROM billed b JOIN period p ON b.begins < p.ends AND p.begins < b.ends
		UNION ALL
		SELECT oracle.slice_begin(s.at, m.period, m.timezone), s.resource, s.account, s.dims, s.value, s.microseconds
		FROM oracle.surplus(log, m, watermark) s WHERE m.aggregate <> 'runs' AND (s.at >= m.since OR m.since IS NULL)
		UNION ALL
		SELECT oracle.slice_begin(s.at, m.period, m.timezone), s.resource, s.account, s.dims, NULL, 1
		FROM oracle.begun(log, m, watermark) s WHERE m.aggregate = 'runs' AND (s.at >= m.since OR m.since IS NULL)
	), summed AS (
		SELECT o.period_start, o.resource, o.account, o.dims,
			CASE m.aggregate WHEN 'runs' THEN sum(o.amount)
				WHEN 'weighted' THEN oracle.quotient(sum(o.amount * coalesce(o.value, 0)), oracle.microseconds(m.unit))
				ELSE oracle.quotient(sum(o.amount), oracle.microseconds(m.unit)) END AS quantity
		FROM owed o GROUP BY 1, 2, 3, 4
	)
	SELECT s.period_start, s.resource, s.account,
		(SELECT coalesce(jsonb_object_agg(m.dimensions[k], s.dims[k]), '{}') FROM generate_subscripts(m.dimensions, 1) k),
		s.quantity
	FROM summed s WHERE s.quantity <> 0;
END
$$;
