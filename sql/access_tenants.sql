-- Promise: in a stream that isolates tenants a role sees the usage of the accounts that are mapped to it, and of no others, by
-- whatever table, view or function it asks, and in whatever way it tries.
SET timezone = 'UTC';
SET client_min_messages = warning;
CREATE ROLE regress_atenants_owner;
CREATE ROLE regress_atenants_a;
CREATE ROLE regress_atenants_b;
CREATE ROLE regress_atenants_user IN ROLE regress_atenants_a;
CREATE ROLE regress_atenants_heir NOINHERIT IN ROLE regress_atenants_b;
CREATE ROLE regress_atenants_analyst;
CREATE ROLE regress_atenants_consumer;
CREATE ROLE regress_atenants_plain;
CREATE ROLE regress_atenants_stranger;
SELECT format('GRANT CREATE ON DATABASE %I TO regress_atenants_owner, regress_atenants_a', current_database()) \gexec
SET ROLE regress_atenants_owner;
SELECT meter.create_stream('access_flats');
SELECT meter.create_meter('access_flats', 'vm', starts => '{start}', stops => '{stop}', changes => '{resize}', dimensions => '{offering}', lateness => '0', since => '2024-03-05');
SELECT meter.create_meter('access_flats', 'bytes', 'sum', dimensions => '{}', lateness => '0', since => '2024-03-05');
SELECT meter.create_meter('access_flats', 'reads', 'counter', entity => 'disk', dimensions => '{}', lateness => '0', since => '2024-03-05');
SELECT meter.create_consumer('access_flats', 'invoices', from_start => true);
INSERT INTO access_flats.event (source, id, "time", resource, account, action, offering) VALUES
	('s', '1', '2024-03-05 10:00', 'vm-a', 'acme', 'start', 'small'),
	('s', '2', '2024-03-05 10:00', 'vm-b', 'bolt', 'start', 'large'),
	('s', '3', '2024-03-05 10:15', 'vm-b', NULL, 'resize', 'secret'),
	-- of a resource that goes from one to another, and on to a third
	('s', '4', '2024-03-05 10:00', 'vm-moved', 'bolt', 'start', 'small'),
	('s', '5', '2024-03-05 10:10', 'vm-moved', NULL, 'resize', 'secret'),
	('s', '6', '2024-03-05 10:20', 'vm-moved', 'acme', 'resize', 'medium'),
	('s', '7', '2024-03-05 10:30', 'vm-moved', NULL, 'resize', 'large'),
	('s', '8', '2024-03-05 10:40', 'vm-moved', 'coil', 'resize', 'secret'),
	('s', '9', '2024-03-05 10:50', 'vm-moved', NULL, 'stop', NULL),
	('s', '10', '2024-03-05 11:20', 'vm-c', 'coil', 'start', 'small');
INSERT INTO access_flats.measure (source, id, start_time, end_time, resource, account, entity, value) VALUES
	('s', '1', '2024-03-05 10:00', '2024-03-05 10:10', 'ip-a', 'acme', NULL, 10),
	('s', '2', '2024-03-05 10:00', '2024-03-05 10:10', 'ip-b', 'bolt', NULL, 20),
	('s', '3', '2024-03-05 10:10', '2024-03-05 10:30', 'vm-moved', NULL, NULL, 200),
	('s', '4', '2024-03-05 10:40', '2024-03-05 10:50', 'vm-moved', NULL, NULL, 77),
	('s', '5', '2024-03-05 10:15', '2024-03-05 10:15', 'vm-moved', NULL, 'disk', 100),
	('s', '6', '2024-03-05 10:25', '2024-03-05 10:25', 'vm-moved', NULL, 'disk', 130),
	('s', '7', '2024-03-05 10:45', '2024-03-05 10:45', 'vm-moved', NULL, 'disk', 190);
RESET ROLE;
SET meter.now = '2024-03-05 11:30';
CALL meter.run('access_flats');
SELECT meter.grant_access('access_flats', 'regress_atenants_analyst', 'analyst');
GRANT USAGE ON SCHEMA access_flats TO regress_atenants_plain;
GRANT SELECT ON access_flats.usage, access_flats.account_usage, access_flats.usage_total, access_flats.current_usage, access_flats.anomaly TO regress_atenants_plain;
GRANT UPDATE ON access_flats._consumer TO regress_atenants_plain;

-- A role that could see everything is not made a tenant.
SELECT meter.map_account('access_flats', 'regress_atenants_a', 'acme');
SELECT meter.isolate_tenants('access_flats', NULL);
SET ROLE regress_atenants_owner;
SELECT meter.isolate_tenants('access_flats');
SELECT meter.isolate_tenants('access_flats');
SELECT meter.map_account('access_flats', 'regress_atenants_a', 'acme');
SELECT meter.map_account('access_flats', 'regress_atenants_a', 'acme');
SELECT meter.map_account('access_flats', 'regress_atenants_b', 'bolt');
SELECT meter.map_account('access_flats', 'regress_atenants_nobody', 'bolt');
SELECT meter.map_account('access_flats', 'regress_atenants_b', NULL);
SELECT meter.unmap_account('access_flats', 'regress_atenants_b', 'acme');
SELECT meter.grant_access('access_flats', 'regress_atenants_consumer', 'consumer');
RESET ROLE;

-- What each sees, by every table and view.
CREATE FUNCTION pg_temp.sees(OUT what text, OUT accounts text) RETURNS SETOF record LANGUAGE plpgsql AS $$
BEGIN
	FOREACH what IN ARRAY ARRAY['access_flats.usage', 'access_flats.account_usage', 'access_flats.usage_total', 'access_flats.current_usage', 'meter.live_usage(''access_flats'')', 'meter.live_usage(''access_flats'', resource => ''vm-moved'')',
		'meter.live_usage(''access_flats'', ''acme'')', 'meter.live_usage(''access_flats'', ''bolt'')', 'meter.live_usage(''access_flats'', ''nobody'')', 'meter.live_usage(''access_flats'', ''acme'', ''vm-moved'')'] LOOP
		BEGIN
			EXECUTE format('SELECT string_agg(DISTINCT account || %s, '' '') FROM %s', CASE WHEN what LIKE '%live_usage' OR what LIKE '%current_usage' OR what LIKE 'meter.%' THEN 'CASE WHEN settled THEN '''' ELSE '' (live)'' END' ELSE '''''' END, what) INTO accounts;
		EXCEPTION WHEN insufficient_privilege THEN
			accounts := SQLERRM;
		END;
		RETURN NEXT;
	END LOOP;
END
$$;
SET ROLE regress_atenants_owner;
SELECT * FROM pg_temp.sees();
SET ROLE regress_atenants_analyst;
SELECT * FROM pg_temp.sees();
SET ROLE regress_atenants_a;
SELECT * FROM pg_temp.sees();
SET ROLE regress_atenants_user;
SELECT * FROM pg_temp.sees();
SET ROLE regress_atenants_heir;
SELECT * FROM pg_temp.sees();
SET ROLE regress_atenants_plain;
SELECT * FROM pg_temp.sees();
SET ROLE regress_atenants_stranger;
SELECT count(*) FROM pg_temp.sees() WHERE accounts NOT LIKE 'permission denied%';
-- A hint says who can help.
SET ROLE regress_atenants_a;
SELECT * FROM meter.live_usage('access_flats', 'bolt');
SET ROLE regress_atenants_plain;
SELECT * FROM access_flats.current_usage;
SELECT * FROM meter.next_batch('access_flats', 'invoices');
SELECT * FROM access_flats.anomaly;

-- What a tenant sees is right.
SET ROLE regress_atenants_a;
SELECT meter, resource, dimensions, period_start, quantity, settled FROM access_flats.current_usage ORDER BY 1, 2, 3::text, 4;
SELECT meter, resource, dimensions, period_start, quantity, settled FROM meter.live_usage('access_flats') ORDER BY 1, 2, 3::text, 4;
SELECT meter, resource, dimensions, period_start, quantity, settled FROM meter.live_usage('access_flats', resource => 'vm-moved') ORDER BY 1, 2, 3::text, 4;
SELECT count(*) FROM meter.live_usage('access_flats', resource => 'vm-b');
-- Its rows are explained, but not what others did with the same resource before and after.
SELECT u.meter, u.dimensions, x.part, x."time", x.until, x.id, x.action, x.account, x.dimensions AS of, x.value, x.quantity FROM access_flats.usage u, meter.explain('access_flats', u.transaction_id) x
WHERE u.resource = 'vm-moved' ORDER BY u.meter, u.dimensions::text, x.part, x."time";
RESET ROLE;
SELECT transaction_id AS other FROM access_flats.usage WHERE resource = 'vm-b' LIMIT 1 \gset
SET ROLE regress_atenants_analyst;
SELECT count(*) > 0 AS explained FROM meter.explain('access_flats', :'other');
SET ROLE regress_atenants_a;
-- That of somebody else is none.
\set VERBOSITY sqlstate
SELECT * FROM meter.explain('access_flats', :'other');
SELECT * FROM meter.explain('access_flats', gen_random_uuid());
\set VERBOSITY default

-- A report is of what the tenant sees, and of another account it is empty.
RESET ROLE;
CREATE FUNCTION pg_temp.report_has(account text) RETURNS text[] LANGUAGE sql AS $$
	SELECT array_agg(x ORDER BY x) FROM unnest('{vm-a,vm-b,vm-moved,ip-a,ip-b,secret}'::text[]) x
	WHERE meter.report_html('access_flats', account, '[2024-03-05, 2024-03-06)') ~ ('\m' || x || '\M')
$$;
SET ROLE regress_atenants_a;
SELECT pg_temp.report_has('acme'), pg_temp.report_has('bolt');
SET ROLE regress_atenants_plain;
SELECT pg_temp.report_has('acme'), pg_temp.report_has('bolt');
SET ROLE regress_atenants_analyst;
SELECT pg_temp.report_has('acme'), pg_temp.report_has('bolt');
SET ROLE regress_atenants_a;

-- Ways around it: other functions and views of the stream, and its catalog.
SELECT * FROM meter.anomalies('access_flats');
SELECT * FROM access_flats.anomaly;
SELECT * FROM meter.verify('access_flats');
SELECT * FROM meter.last_step('access_flats', 'vm');
SELECT * FROM meter.next_batch('access_flats', 'invoices');
SELECT * FROM meter.log_segments('access_flats');
SELECT count(*) FROM meter.status WHERE stream = 'access_flats';
SELECT count(*) FROM meter.source_status WHERE stream = 'access_flats';
SELECT count(*) FROM meter.consumer_status WHERE stream = 'access_flats';
SELECT count(*) FROM meter.progress WHERE stream = 'access_flats';
SELECT meter_internal.late_backlog('access_flats', 'vm') AS late, meter_internal.held_rows('access_flats', 'vm') AS held, meter_internal.consumer_backlog('access_flats', 'invoices') AS consumer;
SELECT * FROM meter_internal.anomalies('access_flats', gen_random_uuid(), NULL, NULL, NULL, NULL);
SELECT DISTINCT account FROM meter_internal.open_usage('access_flats', NULL);
SELECT meter_internal.own_accounts('access_flats');
SELECT * FROM access_flats.event;
SELECT * FROM access_flats.settlement;
SELECT * FROM access_flats._tenant;
SELECT * FROM access_flats._view_key;
SELECT * FROM access_flats._account_resource;
SELECT * FROM access_flats._usage_2024_03;
UPDATE access_flats._tenant SET account = 'bolt';
UPDATE access_flats.usage SET account = 'acme';
ALTER TABLE access_flats.usage DISABLE ROW LEVEL SECURITY;
SELECT meter.map_account('access_flats', 'regress_atenants_a', 'bolt');
SELECT meter.isolate_tenants('access_flats', false);
SET row_security = off;
SELECT count(*) FROM access_flats.usage;
SELECT DISTINCT account FROM access_flats.usage_total;
RESET row_security;
COPY (SELECT DISTINCT account FROM access_flats.usage) TO stdout;
COPY (SELECT DISTINCT account FROM access_flats.current_usage) TO stdout;
SELECT DISTINCT tableoid::regclass, account FROM access_flats.account_usage;

CREATE SCHEMA access_flats_door;
-- A function that tells what it is called with, cheap enough to be called first; and one that is an operator with an estimator.
CREATE FUNCTION access_flats_door.tells(account text) RETURNS boolean LANGUAGE plpgsql IMMUTABLE COST 0.0001 AS $$
BEGIN
	IF account <> 'acme' THEN RAISE WARNING 'account %', account; END IF;
	RETURN true;
END
$$;
CREATE FUNCTION access_flats_door.tells_equal(text, text) RETURNS boolean LANGUAGE plpgsql IMMUTABLE COST 0.0001 AS $$
BEGIN
	IF $1 <> 'acme' THEN RAISE WARNING 'account %', $1; END IF;
	RETURN true;
END
$$;
CREATE OPERATOR access_flats_door.=== (LEFTARG = text, RIGHTARG = text, FUNCTION = access_flats_door.tells_equal, RESTRICT = eqsel, JOIN = eqjoinsel);
RESET ROLE;
ANALYZE access_flats.usage, access_flats.account_usage;
SET ROLE regress_atenants_a;
SELECT DISTINCT account FROM access_flats.usage WHERE access_flats_door.tells(account);
SELECT DISTINCT account FROM access_flats.account_usage WHERE access_flats_door.tells(account);
SELECT DISTINCT account FROM access_flats.usage_total WHERE access_flats_door.tells(account);
SELECT DISTINCT account FROM access_flats.current_usage WHERE access_flats_door.tells(account);
SELECT DISTINCT account FROM access_flats.usage WHERE account OPERATOR(access_flats_door.===) 'bolt';
SELECT DISTINCT account FROM access_flats.account_usage WHERE account OPERATOR(access_flats_door.===) 'bolt';
SELECT DISTINCT account FROM access_flats.usage_total WHERE account OPERATOR(access_flats_door.===) 'bolt';
SELECT DISTINCT account FROM access_flats.current_usage WHERE account OPERATOR(access_flats_door.===) 'bolt';
SELECT DISTINCT u.account FROM access_flats.usage u JOIN access_flats.usage_total t ON t.account OPERATOR(access_flats_door.===) u.account;
SELECT count(*) FROM pg_stats WHERE schemaname = 'access_flats' AND attname = 'account';
-- A division by zero that happens for others' rows only.
SELECT count(*) FROM access_flats.usage WHERE 1 / (CASE account WHEN 'acme' THEN 1 ELSE 0 END) = 1;
SELECT count(*) FROM access_flats.usage_total WHERE 1 / (CASE account WHEN 'acme' THEN 1 ELSE 0 END) = 1;

-- A view of the tenant's, read by an accomplice, and by the owner; a function that runs as the tenant; another role; a cursor.
CREATE VIEW access_flats_door.usage AS SELECT * FROM access_flats.usage;
CREATE VIEW access_flats_door.usage_total AS SELECT * FROM access_flats.usage_total;
CREATE VIEW access_flats_door.current_usage AS SELECT * FROM access_flats.current_usage;
CREATE FUNCTION access_flats_door.mine() RETURNS SETOF text LANGUAGE sql SECURITY DEFINER AS 'SELECT DISTINCT account FROM access_flats.current_usage';
GRANT USAGE ON SCHEMA access_flats_door TO PUBLIC;
GRANT SELECT ON ALL TABLES IN SCHEMA access_flats_door TO PUBLIC;
SET ROLE regress_atenants_stranger;
SELECT DISTINCT account FROM access_flats_door.usage;
SELECT DISTINCT account FROM access_flats_door.usage_total;
SELECT DISTINCT account FROM access_flats_door.current_usage;
SELECT * FROM access_flats_door.mine();
SET ROLE regress_atenants_b;
SELECT DISTINCT account FROM access_flats_door.usage;
SELECT DISTINCT account FROM access_flats_door.usage_total;
SELECT DISTINCT account FROM access_flats_door.current_usage;
SET ROLE regress_atenants_user;
PREPARE mine AS SELECT DISTINCT account FROM access_flats.usage;
EXECUTE mine;
SET ROLE regress_atenants_b;
EXECUTE mine;
DEALLOCATE mine;
RESET ROLE;
-- Months: nobody reads them but through the ledger, whatever was granted; nor those that are made later, or are attached again.
GRANT SELECT ON ALL TABLES IN SCHEMA access_flats TO regress_atenants_plain;
SET meter.now = '2024-07-02';
CALL meter.run('access_flats');
GRANT SELECT ON ALL TABLES IN SCHEMA access_flats TO regress_atenants_plain;
SELECT c.relname FROM pg_class c WHERE c.relnamespace = 'access_flats'::regnamespace AND c.relname ~ '^_(account_)?usage_' AND c.relkind IN ('r', 'p') AND NOT c.relrowsecurity;
SET ROLE regress_atenants_plain;
SELECT count(*) FROM access_flats._usage_2024_03;
SELECT count(*) FROM access_flats._usage_2024_06;
SELECT count(*) FROM access_flats._account_usage_2024_06;
SET ROLE regress_atenants_a;
SELECT DISTINCT account FROM access_flats.usage WHERE period_start >= '2024-06-01';
RESET ROLE;
SELECT meter.alter_meter('access_flats', m, max_lateness => '1 day') FROM unnest(ARRAY['vm', 'bytes', 'reads']) m;
SELECT meter.drop_consumer('access_flats', 'invoices');
SET meter.now = '2024-07-03';
CALL meter.run('access_flats');
SELECT * FROM meter.detach_usage('access_flats', '2024-04-01');
SET ROLE regress_atenants_plain;
SELECT count(*) FROM access_flats.usage_2024_03;
RESET ROLE;
SELECT meter.attach_usage('access_flats', '2024-03-01');
SET ROLE regress_atenants_plain;
SELECT count(*) FROM access_flats._usage_2024_03;
RESET ROLE;
REVOKE ALL ON ALL TABLES IN SCHEMA access_flats FROM regress_atenants_plain;

-- The totals of a tenant are found by an index.
SET enable_seqscan = off;
CREATE FUNCTION pg_temp.plan_of(query text, what text) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
	line text;
	found boolean := false;
BEGIN
	FOR line IN EXECUTE 'EXPLAIN ' || query LOOP found := found OR line LIKE what; END LOOP;
	RETURN found;
END
$$;
SET ROLE regress_atenants_a;
SELECT pg_temp.plan_of('SELECT * FROM access_flats.account_usage WHERE period_start >= ''2024-06-01''', '%Index Cond: ((account = ANY %) AND (period_start >=%');
SELECT pg_temp.plan_of('SELECT * FROM access_flats.account_usage WHERE meter = ''vm''', '%Index Cond: %meter = ''vm''%account = ANY%');
RESET ROLE;
RESET enable_seqscan;

-- A consumer that the owner granted reads the ledger as it is, and the engine, too.
SELECT meter.create_consumer('access_flats', 'again', from_start => true);
SET ROLE regress_atenants_consumer;
SELECT count(DISTINCT account) FROM meter.next_batch('access_flats', 'again');
RESET ROLE;
SELECT * FROM meter.verify('access_flats');

-- What is not mapped any more is gone; a role that is made anew under the name of another one has nothing of its.
SELECT meter.map_account('access_flats', 'regress_atenants_a', 'coil');
SELECT meter.unmap_account('access_flats', 'regress_atenants_a', 'acme');
SET ROLE regress_atenants_a;
SELECT DISTINCT account FROM access_flats.current_usage;
RESET ROLE;
-- Who is an analyst, too, sees all, as long as that lasts; being a tenant no more takes nothing of that.
SELECT meter.grant_access('access_flats', 'regress_atenants_a', 'analyst');
SET ROLE regress_atenants_user;
SELECT count(DISTINCT account) FROM access_flats.usage;
SELECT count(DISTINCT account) FROM access_flats.current_usage;
RESET ROLE;
SELECT meter.revoke_access('access_flats', 'regress_atenants_a');
SET ROLE regress_atenants_user;
SELECT DISTINCT account FROM access_flats.usage;
SELECT DISTINCT account FROM access_flats.current_usage;
RESET ROLE;
SELECT meter.grant_access('access_flats', 'regress_atenants_a', 'analyst');
SELECT meter.unmap_account('access_flats', 'regress_atenants_a');
SET ROLE regress_atenants_a;
SELECT count(DISTINCT account) FROM access_flats.current_usage;
RESET ROLE;
SELECT meter.revoke_access('access_flats', 'regress_atenants_a', 'analyst');
SELECT meter.map_account('access_flats', 'regress_atenants_a', 'coil');
SELECT meter.unmap_account('access_flats', 'regress_atenants_a');
SET ROLE regress_atenants_a;
SELECT DISTINCT account FROM access_flats.usage;
RESET ROLE;
DROP OWNED BY regress_atenants_b;
DROP ROLE regress_atenants_heir, regress_atenants_b;
CREATE ROLE regress_atenants_b;
GRANT USAGE ON SCHEMA access_flats TO regress_atenants_b;
GRANT SELECT ON access_flats.usage TO regress_atenants_b;
SET ROLE regress_atenants_b;
SELECT DISTINCT account FROM access_flats.usage;
RESET ROLE;
SELECT meter.map_account('access_flats', 'regress_atenants_b', 'coil');
SELECT role, account FROM access_flats._tenant;
SET ROLE regress_atenants_b;
SELECT DISTINCT account FROM access_flats.usage;
RESET ROLE;

-- Nor has a tenant that gets the name of one that was dropped.
CREATE ROLE regress_atenants_gone;
CREATE ROLE regress_atenants_next;
SELECT meter.map_account('access_flats', 'regress_atenants_gone', 'acme');
SELECT meter.map_account('access_flats', 'regress_atenants_next', 'bolt');
DROP OWNED BY regress_atenants_gone;
DROP ROLE regress_atenants_gone;
ALTER ROLE regress_atenants_next RENAME TO regress_atenants_gone;
SET ROLE regress_atenants_gone;
SELECT DISTINCT account FROM access_flats.usage;
RESET ROLE;
SELECT meter.map_account('access_flats', 'regress_atenants_gone', 'coil');
SET ROLE regress_atenants_gone;
SELECT DISTINCT account FROM access_flats.usage;
RESET ROLE;
SELECT meter.unmap_account('access_flats', 'regress_atenants_gone');
SELECT meter.unmap_account('access_flats', 'regress_atenants_next');
DROP ROLE regress_atenants_gone;

-- A resource of somebody else's that cannot be computed has no name for a tenant, even if a snapshot has the tenant's usage look at it.
SELECT meter.map_account('access_flats', 'regress_atenants_a', 'acme');
SET meter.now = '2024-07-03 11:30';
INSERT INTO access_flats.event ("time", resource, action, offering) SELECT '2024-07-03 10:10'::timestamptz + i * interval '1 ms', 'vm-b', 'resize', repeat('x', 200) || i FROM generate_series(1, 3000) i;
INSERT INTO access_flats.event (source, "time", resource, account, action, attributes) VALUES ('s', '2024-07-03 10:20', 'vm-b', 'bolt', 'reconciled:start', '{"since": "2024-07-03T10:00:00Z", "tolerance": 0}');
SET meter.resource_memory = '64kB';
SELECT count(*) > 0 AS answered FROM meter.live_usage('access_flats', 'bolt');
SET ROLE regress_atenants_a;
SELECT count(*) > 0 AS answered FROM meter.live_usage('access_flats', 'acme');
SELECT count(*) > 0 AS answered FROM access_flats.current_usage;
RESET ROLE;
RESET meter.resource_memory;
CALL meter.run('access_flats');
SELECT * FROM meter.verify('access_flats');
SELECT meter.unmap_account('access_flats', 'regress_atenants_a');

-- Tenants read nothing of a stream that does not isolate them, and what they did once it does again.
SELECT meter.isolate_tenants('access_flats', false);
SET ROLE regress_atenants_b;
SELECT DISTINCT account FROM access_flats.usage;
SELECT DISTINCT account FROM meter.live_usage('access_flats');
SELECT * FROM meter.explain('access_flats', gen_random_uuid());
SET ROLE regress_atenants_analyst;
SELECT count(DISTINCT account) FROM access_flats.usage;
RESET ROLE;
SELECT count(*) FROM pg_policy WHERE polrelid IN ('access_flats.usage'::regclass, 'access_flats.account_usage'::regclass);
SELECT count(*) FROM pg_class WHERE relnamespace = 'access_flats'::regnamespace AND relrowsecurity;
SELECT meter.isolate_tenants('access_flats');
SET ROLE regress_atenants_b;
SELECT DISTINCT account FROM access_flats.usage;
SELECT DISTINCT account FROM access_flats.usage_total;
RESET ROLE;
-- So it is when views are made anew.
DROP SCHEMA access_flats_door CASCADE;
SET client_min_messages = error;
SELECT meter.drop_stream('access_flats');
SELECT meter.create_stream('access_flats');
SET client_min_messages = warning;
SET ROLE regress_atenants_b;
SELECT DISTINCT account FROM access_flats.current_usage;
SELECT DISTINCT account FROM access_flats.usage_total;
SET ROLE regress_atenants_analyst;
SELECT count(DISTINCT account) FROM access_flats.current_usage;
RESET ROLE;
SELECT * FROM meter.verify('access_flats');

-- Nor is it another role's what was mapped to a name of old, when the stream is taken up again: both are of this cluster.
CREATE ROLE regress_atenants_gone;
CREATE ROLE regress_atenants_next;
SELECT meter.map_account('access_flats', 'regress_atenants_gone', 'acme');
SELECT meter.map_account('access_flats', 'regress_atenants_next', 'bolt');
DROP OWNED BY regress_atenants_gone;
DROP ROLE regress_atenants_gone;
ALTER ROLE regress_atenants_next RENAME TO regress_atenants_gone;
SET client_min_messages = error;
SELECT meter.drop_stream('access_flats');
SELECT meter.create_stream('access_flats');
SET client_min_messages = warning;
SET ROLE regress_atenants_gone;
SELECT DISTINCT account FROM access_flats.usage;
SELECT DISTINCT account FROM access_flats.current_usage;
RESET ROLE;
SELECT meter.map_account('access_flats', 'regress_atenants_a', 'acme');

-- The owner may make another table of that name: what it has is text, or an error.
SET ROLE regress_atenants_owner;
DROP TABLE access_flats._tenant;
CREATE TABLE access_flats._tenant AS SELECT rolname::text AS role, oid AS role_id, 281474976710656 AS account FROM pg_roles WHERE rolname = 'regress_atenants_a';
SET ROLE regress_atenants_a;
SELECT count(*) FROM access_flats.usage;
SELECT meter_internal.own_accounts('access_flats');
RESET ROLE;
DROP OWNED BY regress_atenants_gone;
DROP ROLE regress_atenants_gone;

SELECT meter.drop_stream('access_flats', delete_data => true);
SELECT format('REVOKE CREATE ON DATABASE %I FROM regress_atenants_owner, regress_atenants_a', current_database()) \gexec
DROP ROLE regress_atenants_owner, regress_atenants_a, regress_atenants_b, regress_atenants_user, regress_atenants_analyst, regress_atenants_consumer, regress_atenants_plain, regress_atenants_stranger;
