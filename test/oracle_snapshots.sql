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
			(SELECT array_agg(CASE name WHEN ''offering'' THEN i.offering WHEN ''source'' THEN i.source
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

-- As oracle.pieces in oracle.sql, with snapshots. An instant has events, snapshots, or both; snapshots come last. What they say may
-- change what was before, so all are looked at, whatever `before` is.
CREATE OR REPLACE FUNCTION oracle.pieces(log regclass, m oracle.meter, before timestamptz)
RETURNS TABLE (resource text, begins timestamptz, ends timestamptz, account text, dims text[], value numeric)
LANGUAGE plpgsql AS $$
DECLARE
	i record;							-- one instant of one resource
	e jsonb;							-- one event of it
	s record;							-- what one snapshot says then
	done oracle.piece[];				-- what ran, but for what runs on
	running boolean;
	started timestamptz;				-- of the run that is open
	alive timestamptz[];				-- moments at which that is known to have been going
	absent timestamptz;					-- the last moment known not running
	owner text;
	last_alive timestamptz;
	p oracle.piece;
	listed record;
BEGIN
	DROP TABLE IF EXISTS pg_temp.oracle_listed;
	CREATE TEMP TABLE oracle_listed AS
		SELECT l.*, o.source FROM (SELECT x.*, row_number() OVER (PARTITION BY x.resource, x."time" ORDER BY x.kind) AS n FROM oracle.listed(log, m, 'infinity') x) l,
			LATERAL (SELECT max(coalesce(c.source, '') COLLATE "C") AS source FROM oracle.counting(log, 'infinity') c
				WHERE c.resource = l.resource AND c."time" = l."time" AND (m.entity IS NULL OR c.entity = m.entity)
				AND c.action = ANY (m.starts || m.stops || m.changes)) o;
	FOR resource IN
		SELECT l.resource FROM pg_temp.oracle_listed l UNION SELECT h.resource FROM oracle.inventoried() h ORDER BY 1
	LOOP
		done := '{}';
		running := false;
		started := NULL;
		alive := '{}';
		absent := NULL;
		owner := NULL;
		account := NULL;
		dims := array_fill(NULL::text, ARRAY[cardinality(m.dimensions)]);
		value := NULL;
		FOR i IN
			SELECT t."time", g.starts, g.stops, g.changes, g.events, g.source
			FROM (SELECT l."time" FROM pg_temp.oracle_listed l WHERE l.resource = pieces.resource
				  UNION SELECT d.at FROM oracle.said(pieces.resource, m) d) t
			LEFT JOIN (SELECT l."time", bool_or(l.kind = 1) AS starts, bool_or(l.kind = 3) AS stops, bool_or(l.kind = 2) AS changes,
					jsonb_agg(to_jsonb(l) ORDER BY l.kind, l.account COLLATE "C" NULLS FIRST, l.rank COLLATE "C", l.value NULLS FIRST) AS events,
					max(l.source COLLATE "C") AS source
				  FROM pg_temp.oracle_listed l WHERE l.resource = pieces.resource GROUP BY 1) g USING ("time")
			ORDER BY 1
		LOOP
			-- what ran up to here, and on with whatever happens now
			IF running AND begins < i."time" THEN
				done := done || ROW(begins, i."time", account, dims, value)::oracle.piece;
				begins := i."time";
			END IF;

			IF i.events IS NOT NULL THEN
				FOR e IN SELECT * FROM jsonb_array_elements(i.events) LOOP
					IF (e ->> 'kind')::int < 3 THEN
						account := coalesce(e ->> 'account', account);
						value := coalesce((e ->> 'value')::numeric, value);
						FOR d IN 1 .. cardinality(m.dimensions) LOOP
							dims[d] := coalesce(e -> 'dims' ->> (d - 1), dims[d]);
						END LOOP;
					ELSE
						account := coalesce(account, e ->> 'account');
					END IF;
				END LOOP;
				owner := i.source;
				IF i.starts AND NOT i.stops AND NOT running THEN
					running := true;
					begins := i."time";
					started := i."time";
					alive := '{}';
				ELSIF i.starts AND i.stops AND running THEN
					-- a restart: who is asked since when it has run will name it
					started := i."time";
					alive := '{}';
				ELSIF i.stops AND NOT i.starts THEN
					running := false;
				END IF;
				IF running AND (i.starts OR i.changes) THEN
					alive := alive || i."time";
				ELSIF NOT running AND i.stops THEN
					absent := i."time";
				END IF;
			END IF;

			FOR s IN SELECT * FROM oracle.said(resource, m) d WHERE d.at = i."time" ORDER BY d.source COLLATE "C" LOOP
				IF owner IS NULL AND s.held THEN
					owner := s.source;
				END IF;
				CONTINUE WHEN owner IS DISTINCT FROM s.source;
				IF NOT s.held THEN
					-- nothing after the last moment it is known to have been going
					IF running THEN
						SELECT max(a) INTO last_alive FROM unnest(alive || started) a;
						done := oracle.without(done, last_alive, 'infinity');
						running := false;
					END IF;
					absent := s.at;
					CONTINUE;
				END IF;

				IF running AND s.since > started + s.tolerance THEN
					-- another run than we know of: the first one went on to where it was last seen
					SELECT max(a) INTO last_alive FROM unnest(alive || started) a WHERE a < s.since;
					done := oracle.without(done, last_alive, s.since);
					started := s.since;
					SELECT coalesce(array_agg(a), '{}') INTO alive FROM unnest(alive) a WHERE a >= s.since;
				END IF;
				account := coalesce(s.account, account);
				value := coalesce(s.value, value);
				FOR d IN 1 .. cardinality(m.dimensions) LOOP
					dims[d] := coalesce(s.dims[d], dims[d]);
				END LOOP;
				IF NOT running THEN
					running := true;
					started := CASE WHEN s.since >= absent OR (s.since IS NOT NULL AND absent IS NULL) THEN s.since ELSE s.at END;
					alive := '{}';
					IF started < s.at THEN
						done := done || ROW(started, s.at, account, dims, value)::oracle.piece;
					END IF;
					begins := s.at;
				END IF;
				alive := alive || s.at;
			END LOOP;
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
