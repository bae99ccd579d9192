-- Snapshots, for the oracle (oracle.sql): what follows from them, by the rules, from the log and the inventory alone. Nothing of what
-- the engine has made of them is looked at.
--
--   SET oracle.stream = 'cloud'; SET oracle.meter = 'vm';       -- whose snapshots; without, there are none
--   CREATE TEMP TABLE counted AS SELECT * FROM oracle.counted('cloud.event', '1 day', '{}') WHERE action NOT LIKE 'reconciled:%';
--   SELECT * FROM oracle.usage('counted', oracle.define(…), '2024-03-05 13:00Z');

-- The snapshots that were reconciled, and what they say of a resource to a meter (nothing: it did not run).
CREATE OR REPLACE FUNCTION oracle.said(resource text, m oracle.meter)
RETURNS TABLE (source text, at timestamptz, tolerance interval, held boolean, account text, dims text[], value numeric, since timestamptz)
LANGUAGE plpgsql AS $$
BEGIN
	IF coalesce(current_setting('oracle.stream', true), '') = '' THEN
		RETURN;
	END IF;
	RETURN QUERY EXECUTE format('
		SELECT s.source, s.at, s.tolerance, i.resource IS NOT NULL, nullif(i.account, ''''),
			(SELECT coalesce(array_agg(CASE name WHEN ''offering'' THEN i.offering WHEN ''source'' THEN NULL
					WHEN ''entity'' THEN nullif(i.entity, '''') ELSE i.attributes ->> name END ORDER BY n), ''{}'')
			 FROM unnest($2) WITH ORDINALITY u (name, n)),
			i.value, i.since
		FROM %1$I.snapshot s
		LEFT JOIN LATERAL (SELECT * FROM %1$I.inventory i
			WHERE i.source = s.source AND i.at = s.at AND i.resource = $1
			AND coalesce(nullif(i.entity, '''') = $3, true) AND coalesce(i.meter = $4, true)
			ORDER BY i.meter NULLS LAST LIMIT 1) i ON true
		ORDER BY s.at, s.source COLLATE "C"', current_setting('oracle.stream'))
	USING resource, m.dimensions, m.entity, current_setting('oracle.meter');
END
$$;

-- The resources that are in any snapshot.
CREATE OR REPLACE FUNCTION oracle.inventoried() RETURNS TABLE (resource text) LANGUAGE plpgsql AS $$
BEGIN
	IF coalesce(current_setting('oracle.stream', true), '') <> '' THEN
		RETURN QUERY EXECUTE format('SELECT DISTINCT i.resource FROM %I.inventory i', current_setting('oracle.stream'));
	END IF;
END
$$;
