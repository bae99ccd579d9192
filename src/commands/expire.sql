-- Forgetting what a log had long ago.

CREATE FUNCTION meter.expire(stream text, before timestamptz)
RETURNS bigint
LANGUAGE C VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'meter_expire';
COMMENT ON FUNCTION meter.expire(text, timestamptz) IS
'drop the oldest sealed segments of a stream''s logs: how many were dropped; they leave a retention boundary for each meter, not later than its watermark less its max_lateness, where a period of it begins; what is known of each resource at it is kept (of meters of measures who owned what, and the last readings of counters), and rows that come later for what is before it are held for good; usage stays; also deletes snapshots that nothing needs (meter.prune_inventory)
before: segments whose rows all lie before this instant
raises 42704 if there is no such stream, 55000 if it is not active, 42501 for others than its owner';
