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

SELECT meter.drop_stream('security_cloud', delete_data => true);
SELECT format('REVOKE CREATE ON DATABASE %I FROM regress_security_owner', current_database()) \gexec
DROP ROLE regress_security_owner, regress_security_other;
