-- Promises: what a stream's owner hangs on its tables runs as the owner, whoever settles, and cannot become anybody else;
-- what would run outside of that is refused.
SET timezone = 'UTC';
SET client_min_messages = warning;
CREATE ROLE regress_security_owner;
SELECT format('GRANT CREATE ON DATABASE %I TO regress_security_owner', current_database()) \gexec
SET ROLE regress_security_owner;
SELECT meter.create_stream('security_cloud');
SELECT meter.create_meter('security_cloud', 'vm', starts => '{start}', stops => '{stop}', lateness => '0', since => '2024-03-05 10:00');
CREATE TABLE security_cloud.seen (who name, path text, refusal text);
CREATE FUNCTION security_cloud.climb() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
	refusal text;
BEGIN
	BEGIN
		PERFORM set_config('role', 'none', false);
	EXCEPTION WHEN OTHERS THEN
		refusal := SQLERRM;
	END;
	INSERT INTO security_cloud.seen VALUES (current_user, current_setting('search_path'), refusal);
	RETURN NULL;
END
$$;
CREATE TRIGGER climb AFTER INSERT ON security_cloud.usage FOR EACH STATEMENT EXECUTE FUNCTION security_cloud.climb();
INSERT INTO security_cloud.event ("time", resource, account, action) VALUES ('2024-03-05 10:00', 'vm1', 'a', 'start');
RESET ROLE;

-- A superuser settles, with a search_path of his own.
SET meter.now = '2024-03-05 11:00';
SET search_path = security_cloud, public;
SELECT usage_rows FROM meter.advance('security_cloud');
SET meter.now = '2024-03-05 12:00';
CALL meter.run('security_cloud');
RESET search_path;
SELECT DISTINCT who, path, refusal FROM security_cloud.seen;
SELECT count(*) > 0 AS seen FROM security_cloud.seen;

-- A deferred trigger would run at commit, as whoever commits.
CREATE CONSTRAINT TRIGGER later AFTER INSERT ON security_cloud.event DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION security_cloud.climb();
SET meter.now = '2024-03-05 13:00';
\set VERBOSITY terse
SELECT usage_rows FROM meter.advance('security_cloud');
\set VERBOSITY default
SELECT last_error FROM meter.status WHERE stream = 'security_cloud';
DROP TRIGGER later ON security_cloud.event;
-- Nor is a stream worked on in which somebody else has a table, and could have triggers.
CREATE ROLE regress_security_other;
ALTER TABLE security_cloud._resource_state OWNER TO regress_security_other;
SELECT usage_rows FROM meter.advance('security_cloud');
SELECT last_error FROM meter.status WHERE stream = 'security_cloud';
ALTER TABLE security_cloud._resource_state OWNER TO regress_security_owner;
SELECT usage_rows FROM meter.advance('security_cloud');
SELECT * FROM meter.verify('security_cloud');

-- Anybody can call what is in meter_internal, since views do as whoever reads them. What is not immutable there could reach a
-- stream's data, and asks whose stream it is; all else computes from its arguments alone.
CREATE ROLE regress_security_stranger;
SELECT p.oid::regprocedure AS function, has_function_privilege('regress_security_stranger', p.oid, 'EXECUTE') AS callable, p.prosecdef AS definer
FROM pg_proc p WHERE p.pronamespace = 'meter_internal'::regnamespace AND p.provolatile <> 'i' ORDER BY p.proname COLLATE "C";
GRANT USAGE ON SCHEMA security_cloud TO regress_security_other;
GRANT SELECT ON security_cloud.current_usage TO regress_security_other;
SET meter.now = '2024-03-05 13:30';
SET ROLE regress_security_other;
SELECT resource, period_start, quantity, settled FROM security_cloud.current_usage WHERE period_start >= '2024-03-05 12:00' ORDER BY 2;
SELECT * FROM security_cloud.event;
SET ROLE regress_security_stranger;
SELECT resource FROM security_cloud.current_usage;
SELECT meter_internal.open_usage('security_cloud', gen_random_uuid());
SELECT * FROM meter.anomalies('security_cloud');
SELECT * FROM security_cloud._view_key;
SELECT meter_internal.late_backlog('security_cloud', 'vm') AS late, meter_internal.held_rows('security_cloud', 'vm') AS held;
SELECT * FROM meter_internal.advance_step('security_cloud');
SELECT * FROM meter_internal.advance_step('security_cloud', 'vm');
SELECT * FROM meter_internal.advance_step();
SELECT meter_internal.maintain_step('security_cloud');
SELECT meter_internal.maintain_step(NULL);
SELECT meter_internal.worker_wake();
-- A door of one's own leads nowhere.
CREATE VIEW pg_temp.inbox AS SELECT NULL::meter.event AS event WHERE false;
CREATE TRIGGER collect INSTEAD OF INSERT ON pg_temp.inbox FOR EACH ROW EXECUTE FUNCTION meter_internal.inbox_collect();
CREATE TRIGGER store AFTER INSERT ON pg_temp.inbox FOR EACH STATEMENT EXECUTE FUNCTION meter_internal.inbox_store();
\set VERBOSITY sqlstate
INSERT INTO pg_temp.inbox VALUES ('{"time":"2024-03-05T12:00:00Z","resource":"vm1","action":"stop"}');
\set VERBOSITY default
DROP VIEW pg_temp.inbox;
RESET ROLE;
SET ROLE regress_security_owner;
GRANT CREATE, USAGE ON SCHEMA security_cloud TO regress_security_stranger;
SET ROLE regress_security_stranger;
CREATE VIEW security_cloud.door AS SELECT NULL::meter.event AS event WHERE false;
CREATE TRIGGER collect INSTEAD OF INSERT ON security_cloud.door FOR EACH ROW EXECUTE FUNCTION meter_internal.inbox_collect();
CREATE TRIGGER store AFTER INSERT ON security_cloud.door FOR EACH STATEMENT EXECUTE FUNCTION meter_internal.inbox_store();
INSERT INTO security_cloud.door VALUES ('{"time":"2024-03-05T12:00:00Z","resource":"vm1","action":"stop"}');
DROP VIEW security_cloud.door;
RESET ROLE;
SELECT count(*) AS events FROM security_cloud.event;
SELECT * FROM meter.verify('security_cloud');

SELECT meter.drop_stream('security_cloud', delete_data => true);
SELECT format('REVOKE CREATE ON DATABASE %I FROM regress_security_owner', current_database()) \gexec
DROP ROLE regress_security_owner, regress_security_other, regress_security_stranger;
