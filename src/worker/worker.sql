-- The background worker: what it does, and how to wake it.

CREATE FUNCTION meter_internal.worker_wake()
RETURNS void
LANGUAGE C VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'meter_worker_wake_sql';

COMMENT ON FUNCTION meter_internal.worker_wake() IS
'has the background worker look at this database once the current transaction has committed; does nothing where the library is not preloaded';

CREATE FUNCTION meter_internal.worker_processes(
    OUT process text, OUT database oid, OUT number integer, OUT pid integer,
    OUT state text, OUT result text, OUT last_start timestamptz, OUT last_end timestamptz,
    OUT next_due timestamptz, OUT turns bigint, OUT steps bigint,
    OUT usage_rows bigint, OUT adjustments bigint, OUT errors bigint,
    OUT last_error_at timestamptz, OUT last_error text)
RETURNS SETOF record
LANGUAGE C VOLATILE PARALLEL RESTRICTED ROWS 10
AS 'MODULE_PATHNAME', 'meter_worker_processes';

COMMENT ON FUNCTION meter_internal.worker_processes() IS
'the background processes of the whole server, as meter.worker_status shows them';

CREATE VIEW meter.worker_status AS
SELECT p.process, d.datname AS database, p.number, p.pid, p.state, p.result,
       p.last_start, p.last_end, p.next_due, p.turns, p.steps, p.usage_rows,
       p.adjustments, p.errors, p.last_error_at, p.last_error
FROM meter_internal.worker_processes() p
LEFT JOIN pg_catalog.pg_database d ON d.oid = p.database
WHERE p.database IS NULL OR d.oid IS NOT NULL;

COMMENT ON VIEW meter.worker_status IS
'the launcher, then the workers of each database that was looked at: what each did since the server started, and when the database is due next; those of other databases for members of pg_monitor and pg_read_all_stats';
COMMENT ON COLUMN meter.worker_status.process IS
'launcher (one for the server) or worker';
COMMENT ON COLUMN meter.worker_status.database IS
'the database of the worker';
COMMENT ON COLUMN meter.worker_status.number IS
'of the workers of a database: 1 is started when the database is due; 2 and so on, up to meter.max_workers_per_database, when that helps; null for a process that is stuck';
COMMENT ON COLUMN meter.worker_status.pid IS
'process id while the process runs';
COMMENT ON COLUMN meter.worker_status.state IS
'launcher: running, paused (meter.enabled is off), no room (all background workers of the server are in use: increase max_worker_processes), waiting for promotion, stopped, not preloaded (add meter to shared_preload_libraries); worker: waiting, starting, running, stuck (obeys no signal; another has its place)';
COMMENT ON COLUMN meter.worker_status.result IS
'how the last turn ended: settled, nothing due, unfinished (goes on at once), meter failed (see meter.status), gave way (to DROP or CREATE DATABASE, DROP EXTENSION), stopped, terminated (a step obeyed no cancel; goes on at once), no extension, no meter, read only, failed (see last_error)';
COMMENT ON COLUMN meter.worker_status.last_start IS
'when the last turn began';
COMMENT ON COLUMN meter.worker_status.last_end IS
'when the last turn ended';
COMMENT ON COLUMN meter.worker_status.next_due IS
'when the next turn is due; it waits for one of meter.max_workers; null for the second worker and so on';
COMMENT ON COLUMN meter.worker_status.turns IS
'turns taken';
COMMENT ON COLUMN meter.worker_status.steps IS
'steps of meters, each a transaction';
COMMENT ON COLUMN meter.worker_status.usage_rows IS
'usage rows written';
COMMENT ON COLUMN meter.worker_status.adjustments IS
'adjustments written';
COMMENT ON COLUMN meter.worker_status.errors IS
'steps and turns that failed';
COMMENT ON COLUMN meter.worker_status.last_error_at IS
'when a turn failed last; failures of meters are in meter.status';
COMMENT ON COLUMN meter.worker_status.last_error IS
'why a turn failed last, for members of pg_monitor and pg_read_all_stats';

-- meters that the database still has from an earlier life of the extension
SELECT meter_internal.worker_wake();
