-- How far long operations are.

CREATE FUNCTION meter_internal.operations(
    OUT pid integer, OUT database oid, OUT operation text, OUT stream text, OUT meter text, OUT phase text,
    OUT done bigint, OUT total bigint, OUT started_at timestamptz, OUT phase_started_at timestamptz)
RETURNS SETOF record
LANGUAGE C VOLATILE PARALLEL RESTRICTED ROWS 10
AS 'MODULE_PATHNAME', 'meter_operations';
COMMENT ON FUNCTION meter_internal.operations() IS
'the long operations that the caller may see, for meter.progress';

CREATE VIEW meter.progress AS
SELECT o.pid, d.datname AS database, o.operation, o.stream, o.meter, o.phase, o.done, o.total,
       o.started_at, o.phase_started_at
FROM meter_internal.operations() AS o
JOIN pg_catalog.pg_database AS d ON d.oid OPERATOR(pg_catalog.=) o.database;
COMMENT ON VIEW meter.progress IS
'a row a long operation that runs: a step, resettle, verify, seal, expire or preview, and how far it is; for the stream''s owner, and its analysts and operators, those of this database, for members of pg_monitor and pg_read_all_stats those of the server; empty where meter is not in shared_preload_libraries';
COMMENT ON COLUMN meter.progress.pid IS 'process that makes the operation, as in pg_stat_activity';
COMMENT ON COLUMN meter.progress.database IS 'its database';
COMMENT ON COLUMN meter.progress.operation IS 'step (meter.advance, meter.run or a worker), resettle, verify, seal (a segment), expire or preview';
COMMENT ON COLUMN meter.progress.stream IS 'the stream it works on';
COMMENT ON COLUMN meter.progress.meter IS 'the meter; null for seal and expire';
COMMENT ON COLUMN meter.progress.phase IS 'what is done now: initializing, scanning the logs, sorting rows, walking resources, reading the ledger, writing (or comparing) usage, verifying totals; for seal: counting rows, building indexes, validating the constraint; for expire also: dropping segments';
COMMENT ON COLUMN meter.progress.done IS 'rows of that phase, as of a moment ago: told each 4,096 rows; for dropping segments: segments';
COMMENT ON COLUMN meter.progress.total IS 'out of so many; null: nobody knows';
COMMENT ON COLUMN meter.progress.started_at IS 'when the operation began';
COMMENT ON COLUMN meter.progress.phase_started_at IS 'when the phase began';
