-- Promises: what comes into a stream comes through what is its own, and no way in or out passes its policies by; what one tenant's
-- code says is not kept at any length; a name is free again once its schema is gone; nobody sees what other databases do.
SET timezone = 'UTC';
SET client_min_messages = warning;
CREATE ROLE regress_tenants_owner;
CREATE ROLE regress_tenants_other;
CREATE ROLE regress_tenants_monitor;
GRANT pg_monitor TO regress_tenants_monitor;
SELECT format('GRANT CREATE ON DATABASE %I TO regress_tenants_owner, regress_tenants_other', current_database()) \gexec

-- A schema of a superuser's with a view inbox, on which a tenant may insert, is no stream: nothing is written there as its owner.
CREATE SCHEMA tenants_mail;
CREATE TABLE tenants_mail.event ("time" timestamptz, resource text, action text, account text, entity text, offering text, value numeric, source text, id text, attributes jsonb);
CREATE VIEW tenants_mail.inbox AS SELECT NULL::meter.event AS event WHERE false;
GRANT USAGE ON SCHEMA tenants_mail TO regress_tenants_other;
GRANT INSERT, TRIGGER ON tenants_mail.inbox TO regress_tenants_other;
SET ROLE regress_tenants_other;
SELECT meter.ingest('tenants_mail', '{"time":"2024-03-05T10:00:00Z","resource":"vm1","action":"start"}');
SELECT meter.ingest_protobuf('tenants_mail', '');
SELECT meter.ingest_measures('tenants_mail', 'a', '');
CREATE TRIGGER collect INSTEAD OF INSERT ON tenants_mail.inbox FOR EACH ROW EXECUTE FUNCTION meter_internal.inbox_collect();
CREATE TRIGGER store AFTER INSERT ON tenants_mail.inbox FOR EACH STATEMENT EXECUTE FUNCTION meter_internal.inbox_store();
INSERT INTO tenants_mail.inbox VALUES ('{"time":"2024-03-05T10:00:00Z","resource":"vm1","action":"start"}');
RESET ROLE;
SELECT count(*) FROM tenants_mail.event;

-- Nor does an inbox count that somebody else made in a stream.
SET ROLE regress_tenants_owner;
SELECT meter.create_stream('tenants_cloud');
DROP VIEW tenants_cloud.inbox;
GRANT USAGE, CREATE ON SCHEMA tenants_cloud TO regress_tenants_other;
SET ROLE regress_tenants_other;
CREATE VIEW tenants_cloud.inbox AS SELECT NULL::meter.event AS event WHERE false;
SELECT meter.ingest('tenants_cloud', '{"time":"2024-03-05T10:00:00Z","resource":"vm1","action":"start"}');
DROP VIEW tenants_cloud.inbox;
SET ROLE regress_tenants_owner;
REVOKE CREATE ON SCHEMA tenants_cloud FROM regress_tenants_other;
SELECT meter.ingest('tenants_cloud', '{"time":"2024-03-05T10:00:00Z","resource":"vm1","action":"start"}');
SELECT meter.resume('tenants_cloud');
SELECT meter.ingest('tenants_cloud', '{"time":"2024-03-05T10:00:00Z","resource":"vm0","action":"stop"}');

-- Row security: a tenant logs rows of an account of its own, by columns. The inbox inserts as the owner, whom policies do not bind.
SELECT meter.create_meter('tenants_cloud', 'vm', starts => '{start}', stops => '{stop}', dimensions => '{}', clock => 'event', lateness => '0');
GRANT INSERT (source, id, "time", resource, account, action) ON tenants_cloud.event TO regress_tenants_other;
GRANT INSERT ON tenants_cloud.inbox TO regress_tenants_other;
GRANT SELECT ON tenants_cloud.current_usage, tenants_cloud.anomaly TO regress_tenants_other;
ALTER TABLE tenants_cloud.event ENABLE ROW LEVEL SECURITY;
CREATE POLICY own ON tenants_cloud.event FOR INSERT TO regress_tenants_other WITH CHECK (account = 'other');
SET ROLE regress_tenants_other;
INSERT INTO tenants_cloud.event (source, id, "time", resource, account, action) VALUES ('a', '1', '2024-03-05 10:00', 'vm1', 'other', 'start');
INSERT INTO tenants_cloud.event (source, id, "time", resource, account, action) VALUES ('a', '2', '2024-03-05 10:00', 'vm2', 'owner', 'start');
INSERT INTO tenants_cloud.inbox VALUES ('{"time":"2024-03-05T10:00:00Z","resource":"vm2","action":"start","account":"owner"}');
SELECT meter.ingest('tenants_cloud', '{"time":"2024-03-05T10:00:00Z","resource":"vm2","action":"start","account":"owner"}');
-- Nor do they bind what the views read, so who may not see all of the log may not read them, but through a view that shows a part.
SELECT resource FROM tenants_cloud.current_usage;
SELECT class FROM tenants_cloud.anomaly;
SET ROLE regress_tenants_owner;
INSERT INTO tenants_cloud.inbox VALUES ('{"time":"2024-03-05T11:30:00Z","resource":"vm3","action":"start","account":"owner"}');
CREATE VIEW tenants_cloud.mine AS SELECT * FROM tenants_cloud.current_usage WHERE account = 'other';
GRANT SELECT ON tenants_cloud.mine TO regress_tenants_other;
REVOKE SELECT ON tenants_cloud.current_usage FROM regress_tenants_other;
SELECT usage_rows FROM meter.advance('tenants_cloud');
SET ROLE regress_tenants_other;
SELECT resource, period_start, quantity, settled FROM tenants_cloud.mine ORDER BY 2;
RESET ROLE;

-- Forced row security binds the owner: the settle must not see a part of the log, so it fails, and the ledger stays as it was.
INSERT INTO tenants_cloud.event (source, id, "time", resource, account, action) VALUES
	('b', '1', '2024-03-05 12:00', 'vm4', 'owner', 'start'), ('b', '2', '2024-03-05 12:00', 'clock', NULL, 'tick');
CALL meter.run('tenants_cloud');
SELECT sum(quantity) FROM tenants_cloud.usage;
ALTER TABLE tenants_cloud.event FORCE ROW LEVEL SECURITY;
INSERT INTO tenants_cloud.event (source, id, "time", resource, account, action) VALUES
	('b', '3', '2024-03-05 12:30', 'vm4', 'owner', 'stop'), ('b', '4', '2024-03-05 13:00', 'clock', NULL, 'tick');
\set VERBOSITY terse
SELECT usage_rows FROM meter.advance('tenants_cloud');
SELECT meter.ingest('tenants_cloud', '{"time":"2024-03-05T13:00:00Z","resource":"vm3","action":"stop"}');
\set VERBOSITY default
SELECT last_error FROM meter.status WHERE stream = 'tenants_cloud';
SELECT sum(quantity) FROM tenants_cloud.usage;
ALTER TABLE tenants_cloud.event NO FORCE ROW LEVEL SECURITY;
CALL meter.run('tenants_cloud');
SELECT sum(quantity) FROM tenants_cloud.usage;
SELECT * FROM meter.verify('tenants_cloud');

-- 19 MB of an owner's words are cut at a character, and the stage of the step is still told.
CREATE FUNCTION tenants_cloud.shout() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	RAISE EXCEPTION '%', repeat('€uro ', 2800000) USING DETAIL = repeat('€', 2000000), HINT = repeat('€', 1000000);
END
$$;
CREATE TRIGGER shout BEFORE INSERT ON tenants_cloud.usage FOR EACH STATEMENT EXECUTE FUNCTION tenants_cloud.shout();
CREATE FUNCTION tenants_cloud.deep(n integer) RETURNS integer LANGUAGE plpgsql AS $$
BEGIN
	IF n = 0 THEN RAISE EXCEPTION 'deep enough'; END IF;
	RETURN tenants_cloud.deep(n - 1);
END
$$;
INSERT INTO tenants_cloud.event ("time", resource, action) VALUES ('2024-03-05 14:00', 'clock', 'tick');
SET client_min_messages = error;
SELECT usage_rows FROM meter.advance('tenants_cloud');
SELECT octet_length(last_error) BETWEEN 1000 AND 1024 AS cut, last_error ~ '^(€uro )+(€|€u|€ur|€uro)?$' AS whole, last_error_context LIKE '%settling meter "vm" of stream "tenants_cloud" up to 2024-03-05 14:00:00+00' AS stage
FROM meter.status WHERE stream = 'tenants_cloud';
CREATE OR REPLACE FUNCTION tenants_cloud.shout() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	PERFORM tenants_cloud.deep(100);
	RETURN NULL;
END
$$;
SELECT usage_rows FROM meter.advance('tenants_cloud');
SELECT last_error, octet_length(last_error_context) BETWEEN 1000 AND 1024 AS cut, last_error_context LIKE E'%\nsettling meter "vm" of stream "tenants_cloud" up to 2024-03-05 14:00:00+00' AS stage
FROM meter.status WHERE stream = 'tenants_cloud';
SET client_min_messages = warning;
DROP TRIGGER shout ON tenants_cloud.usage;
CALL meter.run('tenants_cloud');
SELECT * FROM meter.verify('tenants_cloud');

-- A schema that was dropped leaves a name, which anybody may free. While it is only renamed, nobody may.
SET ROLE regress_tenants_owner;
SELECT meter.create_stream('tenants_gone');
SELECT meter.create_meter('tenants_gone', 'vm', starts => '{start}', stops => '{stop}');
SELECT meter.set_source('tenants_gone', 'agent', '1 hour');
-- The table of events says so. It is known again if it was restored.
RESET ROLE;
UPDATE meter.active_stream SET event_log = 0 WHERE name = 'tenants_gone';
SET client_min_messages = error;
SELECT count(*) >= 0 AS looked FROM meter.advance();
SET client_min_messages = warning;
SELECT event_log = 'tenants_gone.event'::regclass AS known FROM meter.active_stream WHERE name = 'tenants_gone';
ALTER SCHEMA tenants_gone RENAME TO tenants_away;
SET ROLE regress_tenants_other;
SELECT meter.drop_stream('tenants_gone', if_exists => true);
RESET ROLE;
SET client_min_messages = error;
SELECT count(*) >= 0 AS looked FROM meter.advance();
SET client_min_messages = warning;
SELECT name, last_error FROM meter.meter WHERE stream = 'tenants_gone';
ALTER SCHEMA tenants_away RENAME TO tenants_gone;
SET ROLE regress_tenants_other;
SELECT meter.drop_stream('tenants_gone', if_exists => true);
RESET ROLE;
DROP SCHEMA tenants_gone CASCADE;
SET ROLE regress_tenants_other;
SELECT meter.create_stream('tenants_gone');
SELECT meter.drop_stream('tenants_gone', if_exists => true);
SELECT meter.create_stream('tenants_gone');
SELECT meter.drop_stream('tenants_gone', delete_data => true);
RESET ROLE;
-- Who advances all streams frees it, too.
SELECT meter.create_stream('tenants_gone');
SELECT meter.create_meter('tenants_gone', 'vm', starts => '{start}', stops => '{stop}');
DROP SCHEMA tenants_gone CASCADE;
SET client_min_messages = error;
SELECT count(*) FROM meter.advance() WHERE stream = 'tenants_gone';
SET client_min_messages = warning;
SELECT meter.create_stream('tenants_gone');

-- What switches triggers and foreign keys off leaves no orphans in the catalog.
SELECT meter.create_meter('tenants_gone', 'vm', starts => '{start}', stops => '{stop}');
SELECT meter.create_meter('tenants_gone', 'ip', aggregate => 'sum', dimensions => '{}');
SELECT meter.set_source('tenants_gone', 'agent', '1 hour');
INSERT INTO tenants_gone.event ("time", resource, action) VALUES ('2024-03-05 10:00', 'vm1', 'start');
CALL meter.run('tenants_gone');
SET session_replication_role = replica;
SELECT meter.drop_meter('tenants_gone', 'ip');
SELECT count(*) FROM meter.log_progress WHERE stream = 'tenants_gone' AND meter = 'ip';
SELECT meter.drop_stream('tenants_gone', delete_data => true);
RESET session_replication_role;
SELECT (SELECT count(*) FROM meter.stream WHERE name = 'tenants_gone') AS streams, (SELECT count(*) FROM meter.active_stream WHERE name = 'tenants_gone') AS active,
	(SELECT count(*) FROM meter.meter WHERE stream = 'tenants_gone') AS meters, (SELECT count(*) FROM meter.log_progress WHERE stream = 'tenants_gone') AS progress,
	(SELECT count(*) FROM meter.source WHERE stream = 'tenants_gone') AS sources, (SELECT count(*) FROM meter.segment WHERE stream = 'tenants_gone') AS segments;

-- Processes of other databases are shown to monitoring roles only.
SET ROLE regress_tenants_other;
SELECT count(*) FROM meter_internal.worker_processes() p WHERE p.database <> (SELECT oid FROM pg_database WHERE datname = current_database());
SELECT process FROM meter.worker_status WHERE process = 'launcher';
SET ROLE regress_tenants_monitor;
SELECT process FROM meter.worker_status WHERE process = 'launcher';
RESET ROLE;

SELECT meter.drop_stream('tenants_cloud', delete_data => true);
DROP SCHEMA tenants_mail CASCADE;
SELECT format('REVOKE CREATE ON DATABASE %I FROM regress_tenants_owner, regress_tenants_other', current_database()) \gexec
DROP ROLE regress_tenants_owner, regress_tenants_other, regress_tenants_monitor;
