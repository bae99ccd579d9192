-- Snapshots, for the oracle (oracle.sql): what follows from them, by the rules, from the log and the inventory alone. Nothing of what
-- the engine has made of them is looked at.
--
--   SET oracle.stream = 'cloud'; SET oracle.meter = 'vm';       -- whose snapshots; without, there are none
--   CREATE TEMP TABLE counted AS SELECT * FROM oracle.counted('cloud.event', '1 day', '{}') WHERE action NOT LIKE 'reconciled:%';
--   SELECT * FROM oracle.usage('counted', oracle.define(…), '2024-03-05 13:00Z');

CREATE TYPE oracle.piece AS (begins timestamptz, ends timestamptz, account text, dims text[], value numeric);

-- Pieces without what lies in [cut_begins, cut_ends).
CREATE FUNCTION oracle.without(pieces oracle.piece[], cut_begins timestamptz, cut_ends timestamptz) RETURNS oracle.piece[] LANGUAGE sql AS $$
	SELECT array_agg(ROW(r.begins, r.ends, p.account, p.dims, p.value)::oracle.piece ORDER BY r.begins)
	FROM unnest(pieces) p,
		LATERAL (VALUES (p.begins, least(p.ends, cut_begins)), (greatest(p.begins, cut_ends), p.ends)) r (begins, ends)
	WHERE r.begins < r.ends
$$;

-- The snapshots that were reconciled, and what they say of a resource to a meter (nothing: it did not run).
CREATE FUNCTION oracle.said(resource text, m oracle.meter)
RETURNS TABLE (source text, at timestamptz, tolerance interval, held boolean, account text, dims text[], value numeric, since timestamptz)
LANGUAGE plpgsql AS $$
BEGIN
	IF coalesce(current_setting('oracle.stream', true), '') = '' THEN
		RETURN;
	END IF;
	RETURN QUERY EXECUTE format('
		SELECT s.source, s.at, s.tolerance, i.resource IS NOT NULL, nullif(i.account, ''''),
			(SELECT array_agg(CASE name WHEN ''offering'' THEN i.offering WHEN ''source'' THEN NULL
					WHEN ''entity'' THEN i.entity ELSE i.attributes ->> name END ORDER BY n)
			 FROM unnest($2) WITH ORDINALITY u (name, n)),
			i.value, i.since
		FROM %1$I.snapshot s
		LEFT JOIN LATERAL (SELECT * FROM %1$I.inventory i
			WHERE i.source = s.source AND i.at = s.at AND i.resource = $1
			AND CASE WHEN i.meter IS NULL THEN i.entity = $3 OR $3 IS NULL
				ELSE i.meter = $4 AND coalesce(i.entity = $3, true) END
			ORDER BY i.meter NULLS LAST LIMIT 1) i ON true
		ORDER BY s.at, s.source COLLATE "C"', current_setting('oracle.stream'))
	USING resource, m.dimensions, m.entity, current_setting('oracle.meter');
END
$$;

-- What is said of an attribute agrees if it is among what the instant passes through: an array of "number of attribute:value".
CREATE FUNCTION oracle.passes(passed text[], attribute int, said text, now text) RETURNS boolean LANGUAGE sql IMMUTABLE AS $$
	SELECT coalesce(said = now, false) OR coalesce((attribute || ':' || said) = ANY (passed), false)
$$;

-- As oracle.pieces in oracle.sql, with snapshots. An instant has events, snapshots, or both; snapshots come last, all of them at once. What
-- they say may change what was before, so all are looked at, whatever `before` is.
CREATE OR REPLACE FUNCTION oracle.pieces(log regclass, m oracle.meter, before timestamptz)
RETURNS TABLE (resource text, begins timestamptz, ends timestamptz, account text, dims text[], value numeric)
LANGUAGE plpgsql AS $$
DECLARE
	i record;							-- one instant of one resource
	e jsonb;							-- one event of it
	s record;							-- what one snapshot says then
	done oracle.piece[];				-- what ran, but for what runs on
	running boolean;
	run_since timestamptz;				-- of the run that is open
	alive timestamptz[];				-- moments at which that is known to have been going
	absent timestamptz;					-- the last moment known not running
	belongs_to text;
	ever_started boolean;
	holder text;						-- whose snapshot held it last since it was started, if that has not been without it since
	was oracle.piece;					-- what was known just before the changes of an instant,
	named oracle.piece;					-- and what those name
	was_then oracle.piece[];			-- the same of each instant with changes while it did not run
	named_then oracle.piece[];
	passed text[];						-- see oracle.passes
	passed_open boolean;
	passed_closed boolean;
	said oracle.piece;					-- what the snapshots of an instant say, each attribute as the greatest source that names it
	said_since timestamptz;
	said_tolerance interval;
	since_source text;
	greatest_source text;
	last_alive timestamptz;
	p oracle.piece;
BEGIN
	DROP TABLE IF EXISTS pg_temp.oracle_listed;
	CREATE TEMP TABLE oracle_listed AS
		SELECT l.*, o.source, o.start_source FROM (SELECT x.*, row_number() OVER (PARTITION BY x.resource, x."time" ORDER BY x.kind) AS n FROM oracle.listed(log, m, 'infinity') x) l,
			LATERAL (SELECT max(coalesce(c.source, '') COLLATE "C") AS source,
				max(coalesce(c.source, '') COLLATE "C") FILTER (WHERE c.action = ANY (m.starts)) AS start_source FROM oracle.counting(log, 'infinity') c
				WHERE c.resource = l.resource AND c."time" = l."time" AND (m.entity IS NULL OR c.entity = m.entity)
				AND c.action = ANY (m.starts || m.stops || m.changes)) o;
	FOR resource IN
		SELECT l.resource FROM pg_temp.oracle_listed l UNION SELECT h.resource FROM oracle.inventoried() h ORDER BY 1
	LOOP
		done := '{}';
		running := false;
		run_since := NULL;
		alive := '{}';
		absent := NULL;
		belongs_to := NULL;
		ever_started := false;
		holder := NULL;
		was_then := '{}';
		named_then := '{}';
		account := NULL;
		dims := array_fill(NULL::text, ARRAY[cardinality(m.dimensions)]);
		value := NULL;
		FOR i IN
			SELECT t."time", g.starts, g.stops, g.changes, g.events, g.source, g.start_source
			FROM (SELECT l."time" FROM pg_temp.oracle_listed l WHERE l.resource = pieces.resource
				  UNION SELECT d.at FROM oracle.said(pieces.resource, m) d) t
			LEFT JOIN (SELECT l."time", bool_or(l.kind = 1) AS starts, bool_or(l.kind = 3) AS stops, bool_or(l.kind = 2) AS changes,
					jsonb_agg(to_jsonb(l) ORDER BY l.kind, l.account COLLATE "C" NULLS FIRST, l.rank COLLATE "C", l.value NULLS FIRST) AS events,
					max(l.source COLLATE "C") AS source, max(l.start_source COLLATE "C") AS start_source
				  FROM pg_temp.oracle_listed l WHERE l.resource = pieces.resource GROUP BY 1) g USING ("time")
			ORDER BY 1
		LOOP
			-- what ran up to here, and on with whatever happens now
			IF running AND begins < i."time" THEN
				done := done || ROW(begins, i."time", account, dims, value)::oracle.piece;
				begins := i."time";
			END IF;

			passed := '{}';
			passed_open := running;
			passed_closed := NOT running;
			IF i.events IS NOT NULL THEN
				passed_open := running OR i.starts;
				passed_closed := NOT running OR i.stops;
				passed := passed || ('0:' || account) || ('-1:' || trim_scale(value));
				FOR d IN 1 .. cardinality(m.dimensions) LOOP
					passed := passed || (d || ':' || dims[d]);
				END LOOP;
				was := NULL;
				named := ROW(i."time", NULL, NULL, array_fill(NULL::text, ARRAY[cardinality(m.dimensions)]), NULL)::oracle.piece;
				FOR e IN SELECT * FROM jsonb_array_elements(i.events) LOOP
					IF (e ->> 'kind')::int = 2 AND was IS NULL THEN
						was := ROW(i."time", NULL, account, dims, value)::oracle.piece;
					END IF;
					IF (e ->> 'kind')::int < 3 THEN
						account := coalesce(e ->> 'account', account);
						value := coalesce((e ->> 'value')::numeric, value);
						passed := passed || ('-1:' || trim_scale((e ->> 'value')::numeric));
						FOR d IN 1 .. cardinality(m.dimensions) LOOP
							dims[d] := coalesce(e -> 'dims' ->> (d - 1), dims[d]);
							passed := passed || (d || ':' || (e -> 'dims' ->> (d - 1)));
						END LOOP;
					ELSE
						account := coalesce(account, e ->> 'account');
					END IF;
					IF (e ->> 'kind')::int = 2 THEN
						named.account := coalesce(e ->> 'account', named.account);
						named.value := coalesce((e ->> 'value')::numeric, named.value);
						FOR d IN 1 .. cardinality(m.dimensions) LOOP
							named.dims[d] := coalesce(e -> 'dims' ->> (d - 1), named.dims[d]);
						END LOOP;
					END IF;
				END LOOP;
				IF i.starts THEN
					belongs_to := i.start_source;
					ever_started := true;
					holder := NULL;
				ELSIF NOT ever_started THEN
					belongs_to := i.source;
				END IF;
				IF i.starts AND NOT i.stops AND NOT running THEN
					running := true;
					begins := i."time";
					run_since := i."time";
					alive := '{}';
				ELSIF i.starts AND i.stops AND running THEN
					-- a restart: who is asked since when it has run will name it
					run_since := i."time";
					alive := '{}';
				ELSIF i.stops AND NOT i.starts THEN
					running := false;
				END IF;
				IF running AND (i.starts OR i.changes) THEN
					alive := alive || i."time";
				ELSIF NOT running AND i.stops THEN
					absent := i."time";
				END IF;
				IF i.changes THEN
					was_then := was_then || was;
					named_then := named_then || named;
				END IF;
			END IF;

			CONTINUE WHEN NOT EXISTS (SELECT FROM oracle.said(resource, m) d WHERE d.at = i."time");
			IF NOT EXISTS (SELECT FROM oracle.said(resource, m) d WHERE d.at = i."time" AND d.held) THEN
				-- nobody has it: that counts for whose it is, and for who held it last
				FOR s IN SELECT * FROM oracle.said(resource, m) d WHERE d.at = i."time" LOOP
					IF s.source = holder THEN
						holder := NULL;
					END IF;
				END LOOP;
				CONTINUE WHEN NOT EXISTS (SELECT FROM oracle.said(resource, m) d WHERE d.at = i."time" AND d.source = belongs_to)
					OR (running AND passed_closed);
				IF running AND holder <> belongs_to THEN
					belongs_to := holder;
					CONTINUE;
				END IF;
				IF running THEN
					-- nothing after the last moment it is known to have been going
					SELECT max(a) INTO last_alive FROM unnest(alive || run_since) a;
					done := oracle.without(done, last_alive, 'infinity');
					running := false;
				END IF;
				absent := i."time";
				CONTINUE;
			END IF;

			said := ROW(i."time", NULL, NULL, array_fill(NULL::text, ARRAY[cardinality(m.dimensions)]), NULL)::oracle.piece;
			said_since := NULL;
			FOR s IN SELECT * FROM oracle.said(resource, m) d WHERE d.at = i."time" AND d.held ORDER BY d.source COLLATE "C" LOOP
				greatest_source := s.source;
				said.account := coalesce(s.account, said.account);
				said.value := coalesce(s.value, said.value);
				FOR d IN 1 .. cardinality(m.dimensions) LOOP
					said.dims[d] := coalesce(s.dims[d], said.dims[d]);
				END LOOP;
				IF s.since IS NOT NULL THEN
					said_since := s.since;
					said_tolerance := s.tolerance;
					since_source := s.source;
				END IF;
			END LOOP;

			IF running AND said_since > run_since + said_tolerance THEN
				-- another run than we know of: the first one went on to where it was last seen
				SELECT max(a) INTO last_alive FROM unnest(alive || run_since) a WHERE a < said_since;
				done := oracle.without(done, last_alive, said_since);
				run_since := said_since;
				SELECT coalesce(array_agg(a), '{}') INTO alive FROM unnest(alive) a WHERE a >= said_since;
				belongs_to := since_source;
				holder := NULL;
			ELSIF NOT running AND NOT passed_open THEN
				running := true;
				alive := '{}';
				run_since := i."time";
				begins := i."time";
				belongs_to := greatest_source;
				ever_started := true;
				holder := NULL;
				IF said_since >= coalesce(absent, '-infinity') THEN
					-- the row's attributes from then on, and the changes in between at their times
					run_since := said_since;
					begins := said_since;
					FOR n IN 1 .. cardinality(was_then) LOOP
						CONTINUE WHEN was_then[n].begins < said_since;
						account := was_then[n].account;
						dims := was_then[n].dims;
						value := was_then[n].value;
						EXIT;
					END LOOP;
					account := coalesce(said.account, account);
					value := coalesce(said.value, value);
					FOR d IN 1 .. cardinality(m.dimensions) LOOP
						dims[d] := coalesce(said.dims[d], dims[d]);
					END LOOP;
					FOR n IN 1 .. cardinality(named_then) LOOP
						CONTINUE WHEN named_then[n].begins < said_since;
						IF begins < named_then[n].begins THEN
							done := done || ROW(begins, named_then[n].begins, account, dims, value)::oracle.piece;
							begins := named_then[n].begins;
						END IF;
						IF named_then[n].begins = i."time" THEN
							passed := passed || ('0:' || account) || ('-1:' || trim_scale(value));
							FOR d IN 1 .. cardinality(m.dimensions) LOOP
								passed := passed || (d || ':' || dims[d]);
							END LOOP;
						END IF;
						account := coalesce(named_then[n].account, account);
						value := coalesce(named_then[n].value, value);
						FOR d IN 1 .. cardinality(m.dimensions) LOOP
							dims[d] := coalesce(named_then[n].dims[d], dims[d]);
						END LOOP;
						alive := alive || named_then[n].begins;
					END LOOP;
					IF begins < i."time" THEN
						done := done || ROW(begins, i."time", account, dims, value)::oracle.piece;
						begins := i."time";
					END IF;
				END IF;
			END IF;

			-- each attribute by itself
			was := ROW(i."time", NULL, account, dims, value)::oracle.piece;
			named := ROW(i."time", NULL, NULL, array_fill(NULL::text, ARRAY[cardinality(m.dimensions)]), NULL)::oracle.piece;
			IF said.account IS NOT NULL AND NOT oracle.passes(passed, 0, said.account, account) THEN
				account := said.account;
				named.account := account;
			END IF;
			IF said.value IS NOT NULL AND NOT oracle.passes(passed, -1, trim_scale(said.value)::text, trim_scale(value)::text) THEN
				value := said.value;
				named.value := value;
			END IF;
			FOR d IN 1 .. cardinality(m.dimensions) LOOP
				IF said.dims[d] IS NOT NULL AND NOT oracle.passes(passed, d, said.dims[d], dims[d]) THEN
					dims[d] := said.dims[d];
					named.dims[d] := dims[d];
				END IF;
			END LOOP;
			IF running THEN
				alive := alive || i."time";
				holder := greatest_source;
			ELSE
				-- it did no more: what the row says is known from here on
				was_then := was_then || was;
				named_then := named_then || named;
			END IF;
		END LOOP;

		IF running THEN
			done := done || ROW(begins, NULL, account, dims, value)::oracle.piece;
		END IF;
		FOREACH p IN ARRAY coalesce(done, '{}') LOOP
			begins := p.begins;
			ends := p.ends;
			account := p.account;
			dims := p.dims;
			value := p.value;
			RETURN NEXT;
		END LOOP;
	END LOOP;
END
$$;

-- The resources that are in any snapshot.
CREATE FUNCTION oracle.inventoried() RETURNS TABLE (resource text) LANGUAGE plpgsql AS $$
BEGIN
	IF coalesce(current_setting('oracle.stream', true), '') <> '' THEN
		RETURN QUERY EXECUTE format('SELECT DISTINCT i.resource FROM %I.inventory i', current_setting('oracle.stream'));
	END IF;
END
$$;
