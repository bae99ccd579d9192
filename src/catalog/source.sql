-- Sources of a stream: how far each has told what happened, for meters of the clock source.

CREATE FUNCTION meter.heartbeat(stream text, source text, at timestamptz DEFAULT meter_internal.clock_now())
RETURNS void
LANGUAGE C VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'meter_heartbeat';
COMMENT ON FUNCTION meter.heartbeat(text, text, timestamptz) IS
'a source says that all it had to tell up to an instant is in the log; meters of the clock source settle up to the least such instant of the stream''s sources
source: its name, as in the logs
at: the instant; one before an instant that the source has named already changes nothing, and one up to a minute ahead counts as now
raises 22023 for an instant that is later, 42704 if there is no such stream, 42501 for who may not insert into its logs';

CREATE FUNCTION meter.set_source(stream text, source text, idle_limit interval DEFAULT '1 hour')
RETURNS void
LANGUAGE C VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'meter_set_source';
COMMENT ON FUNCTION meter.set_source(text, text, interval) IS
'say how long a source can be silent before the others are no longer held back by it; one that was not heard of before is waited for from now on
source: its name, as in the logs
idle_limit: how long; null: without end
raises 22023 for a limit that is not positive, 42704 if there is no such stream, 42501 for others than its owner and operators';

CREATE FUNCTION meter.drop_source(stream text, source text)
RETURNS void
LANGUAGE C VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'meter_drop_source';
COMMENT ON FUNCTION meter.drop_source(text, text) IS
'forget a source, which holds nothing back any more; its next heartbeat makes it known again
source: its name
raises 42704 if there is no such stream or source, 42501 for others than the stream''s owner and operators';

CREATE VIEW meter.source_status WITH (security_barrier) AS
SELECT s.stream,
       s.source,
       s.clock,
       s.heard_at,
       s.idle_limit,
       COALESCE((meter_internal.clock_now() OPERATOR(pg_catalog.-) s.heard_at) OPERATOR(pg_catalog.>) s.idle_limit, false) AS idle
FROM meter.source AS s
WHERE meter_internal.has_access(s.stream, 'analyst')
   OR pg_catalog.pg_has_role('pg_read_all_stats', 'USAGE')
   OR pg_catalog.pg_has_role('pg_monitor', 'USAGE');
COMMENT ON VIEW meter.source_status IS
'a row a source: how far it has told what happened, and when it said so; for the stream''s owner and its analysts and operators, and for members of pg_monitor and of pg_read_all_stats';
COMMENT ON COLUMN meter.source_status.stream IS 'the stream that the source belongs to';
COMMENT ON COLUMN meter.source_status.source IS 'name of the source, as in the logs';
COMMENT ON COLUMN meter.source_status.clock IS 'all up to it is in the log, the source said; null if it has not said anything yet';
COMMENT ON COLUMN meter.source_status.heard_at IS 'when its clock moved last';
COMMENT ON COLUMN meter.source_status.idle_limit IS 'silent for longer than that it holds nothing back; null: there is no limit';
COMMENT ON COLUMN meter.source_status.idle IS 'silent for too long: it holds nothing back';
