-- Promise: an error of a step names the meter, the stream and the stage, and quotes none of the engine's SQL. After an error of the
-- environment the next step takes half the rows; each step that succeeds takes twice as many again.
\set SHOW_CONTEXT always
SET timezone = 'UTC';
SET datestyle = 'ISO';
SET meter.now = '2024-03-05 10:00';
SELECT meter.create_stream('step_errors_cloud');
SELECT meter.create_meter('step_errors_cloud', 'vm', starts => '{start}', stops => '{stop}', lateness => '0', since => '2024-03-05 10:00');
INSERT INTO step_errors_cloud.event ("time", resource, account, action) VALUES ('2024-03-05 10:15', 'vm1', 'geneva-jug', 'start');
CREATE TEMP VIEW status AS
SELECT watermark, failures, last_error, last_error_context, step_rows FROM meter.status WHERE stream = 'step_errors_cloud';
-- raises what it is told to, for so many rows and more at once
CREATE FUNCTION public.step_errors_raise() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	IF (SELECT count(*) FROM new) >= TG_ARGV[1]::bigint THEN
		RAISE EXCEPTION 'refused' USING ERRCODE = TG_ARGV[0], DETAIL = 'By the owner.', HINT = 'Ask the owner.';
	END IF;
	RETURN NULL;
END
$$;

-- Nothing has failed yet.
SET meter.now = '2024-03-05 12:00';
TABLE status;
-- A constraint of the owner's.
ALTER TABLE step_errors_cloud.usage ADD CONSTRAINT small CHECK (quantity < 50);
\set VERBOSITY terse
SELECT FROM meter.advance('step_errors_cloud');		-- the detail has a time
\set VERBOSITY default
SELECT * FROM status \gx
ALTER TABLE step_errors_cloud.usage DROP CONSTRAINT small;
-- A generated column.
ALTER TABLE step_errors_cloud.usage ADD COLUMN share numeric GENERATED ALWAYS AS (1 / (quantity - 45)) STORED;
SELECT FROM meter.advance('step_errors_cloud');
ALTER TABLE step_errors_cloud.usage DROP COLUMN share;
-- A rule.
CREATE RULE instead AS ON INSERT TO step_errors_cloud.usage DO INSTEAD SELECT 1;
SELECT FROM meter.advance('step_errors_cloud');
DROP RULE instead ON step_errors_cloud.usage;
-- A trigger, from a function as well: where it was called is said once.
CREATE TRIGGER raise AFTER INSERT ON step_errors_cloud.usage REFERENCING NEW TABLE AS new
FOR EACH STATEMENT EXECUTE FUNCTION public.step_errors_raise('P0001', '1');
SELECT FROM meter.advance('step_errors_cloud');
DO $$BEGIN PERFORM meter.advance('step_errors_cloud'); END$$;
SELECT * FROM status \gx
DROP TRIGGER raise ON step_errors_cloud.usage;
-- A step that is canceled.
CREATE FUNCTION public.step_errors_sleep() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN PERFORM pg_sleep(3600); RETURN NULL; END$$;
CREATE TRIGGER sleep AFTER INSERT ON step_errors_cloud.usage FOR EACH STATEMENT EXECUTE FUNCTION public.step_errors_sleep();
SET statement_timeout = '2s';
SELECT FROM meter.advance('step_errors_cloud');
RESET statement_timeout;
DROP TRIGGER sleep ON step_errors_cloud.usage;
SELECT FROM meter.advance('step_errors_cloud');
TABLE status;
-- A late row.
INSERT INTO step_errors_cloud.event ("time", resource, account, action) VALUES ('2024-03-05 11:30', 'vm1', NULL, 'stop');
CREATE TRIGGER raise AFTER INSERT ON step_errors_cloud.usage REFERENCING NEW TABLE AS new
FOR EACH STATEMENT EXECUTE FUNCTION public.step_errors_raise('P0001', '1');
SELECT FROM meter.advance('step_errors_cloud');
DROP TRIGGER raise ON step_errors_cloud.usage;
SELECT FROM meter.advance('step_errors_cloud');
TABLE status;
-- Outside of a step the statement is left out, too.
SET session_replication_role = replica;
DELETE FROM step_errors_cloud.usage;
RESET session_replication_role;
CREATE TRIGGER raise AFTER INSERT ON step_errors_cloud.usage REFERENCING NEW TABLE AS new
FOR EACH STATEMENT EXECUTE FUNCTION public.step_errors_raise('P0001', '1');
SELECT meter.resettle('step_errors_cloud', 'vm');
DROP TRIGGER raise ON step_errors_cloud.usage;
SELECT meter.resettle('step_errors_cloud', 'vm');

-- The environment: the disk is full for 4 rows and more at once, with a resource that makes a row an hour.
SET meter.batch_rows = 16;
SELECT FROM meter.advance('step_errors_cloud');
INSERT INTO step_errors_cloud.event ("time", resource, account, action) VALUES ('2024-03-05 12:00', 'vm2', 'basel-cup', 'start');
CREATE TRIGGER raise AFTER INSERT ON step_errors_cloud.usage REFERENCING NEW TABLE AS new
FOR EACH STATEMENT EXECUTE FUNCTION public.step_errors_raise('disk_full', '4');
SET meter.now = '2024-03-06 12:00';
SELECT FROM meter.advance('step_errors_cloud');
SELECT watermark, failures, last_error, step_rows FROM status;
SELECT FROM meter.advance('step_errors_cloud');
SELECT watermark, failures, last_error, step_rows FROM status;
-- With 4 rows there are fewer in the ledger: it succeeds, and the next one tries 8 again.
SELECT FROM meter.advance('step_errors_cloud');
SELECT watermark, failures, last_error, step_rows FROM status;
SELECT FROM meter.advance('step_errors_cloud');
SELECT watermark, failures, last_error, step_rows FROM status;
-- Steps are as large as ever once there is room.
DROP TRIGGER raise ON step_errors_cloud.usage;
CALL meter.run('step_errors_cloud');
SELECT watermark, failures, last_error, step_rows FROM status;

-- No step is smaller than a period; one at that size is not made smaller.
CREATE TRIGGER raise AFTER INSERT ON step_errors_cloud.usage REFERENCING NEW TABLE AS new
FOR EACH STATEMENT EXECUTE FUNCTION public.step_errors_raise('disk_full', '1');
SET meter.batch_rows = 2;
SET meter.now = '2024-03-06 20:00';
SELECT FROM meter.advance('step_errors_cloud');
SELECT FROM meter.advance('step_errors_cloud');
SELECT FROM meter.advance('step_errors_cloud');
SELECT step_rows FROM status;
SELECT halvings FROM meter.meter WHERE stream = 'step_errors_cloud';
DROP TRIGGER raise ON step_errors_cloud.usage;
SELECT watermark, usage_rows FROM meter.advance('step_errors_cloud');
SELECT watermark, usage_rows FROM meter.advance('step_errors_cloud');
RESET meter.batch_rows;

-- Out of memory and a limit of the server's count as well; what the data are to blame for does not.
SELECT FROM meter.advance('step_errors_cloud');
SET meter.now = '2024-03-07 20:00';
SET client_min_messages = error;
CREATE FUNCTION pg_temp.halvings(code text) RETURNS integer LANGUAGE plpgsql AS $$
BEGIN
	EXECUTE format('CREATE TRIGGER raise AFTER INSERT ON step_errors_cloud.usage REFERENCING NEW TABLE AS new '
		'FOR EACH STATEMENT EXECUTE FUNCTION public.step_errors_raise(%L, 1)', code);
	PERFORM meter.advance('step_errors_cloud');
	DROP TRIGGER raise ON step_errors_cloud.usage;
	RETURN (SELECT halvings FROM meter.meter WHERE stream = 'step_errors_cloud');
END
$$;
SELECT code, pg_temp.halvings(code) FROM unnest('{out_of_memory,disk_full,program_limit_exceeded,configuration_limit_exceeded,division_by_zero,query_canceled,raise_exception,deadlock_detected}'::text[]) code;
RESET client_min_messages;
CALL meter.run('step_errors_cloud');
SELECT halvings, failures FROM meter.meter WHERE stream = 'step_errors_cloud';
SELECT * FROM meter.verify('step_errors_cloud');

-- A ledger that has rows where it can have none: they are compared with, as they are after a restore.
CREATE TEMP TABLE ahead AS SELECT * FROM step_errors_cloud.usage WHERE meter = 'vm' ORDER BY period_start DESC LIMIT 1;
INSERT INTO step_errors_cloud.event ("time", resource, account, action) VALUES ('2024-03-07 18:15', 'vm2', 'geneva-jug', 'start');
SET meter.now = '2024-03-07 21:00';
CALL meter.run('step_errors_cloud');
INSERT INTO step_errors_cloud.usage (transaction_id, meter, account, resource, dimensions, period_start, quantity, revision, settlement)
SELECT meter.transaction_id('step_errors_cloud', 'vm', 'vm2', 'geneva-jug', dimensions, p), 'vm', 'geneva-jug', 'vm2', dimensions, p, 50, 0, 1
FROM ahead, (VALUES ('2024-03-07 21:00'::timestamptz), ('2024-03-07 22:00')) p (p);
SET meter.now = '2024-03-07 23:00';
SELECT usage_rows, adjustments FROM meter.advance('step_errors_cloud');
SELECT account, resource, period_start, quantity, revision FROM step_errors_cloud.usage WHERE resource = 'vm2' AND period_start >= '2024-03-07 20:00' ORDER BY period_start, revision;
SELECT ledger_until, failures FROM meter.meter WHERE stream = 'step_errors_cloud';
-- totals were not restored with them: resettle adds them up anew
SELECT * FROM meter.verify('step_errors_cloud');
SELECT meter.resettle('step_errors_cloud', 'vm');
SELECT * FROM meter.verify('step_errors_cloud');

SET client_min_messages = warning;
SELECT meter.drop_stream('step_errors_cloud', delete_data => true);
