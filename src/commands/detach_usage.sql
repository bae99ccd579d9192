-- Taking months out of the ledger, and back.

CREATE FUNCTION meter.detach_usage(
    stream text, before timestamptz,
    OUT month timestamptz, OUT detached boolean, OUT held_back_by text)
RETURNS SETOF record
LANGUAGE C VOLATILE PARALLEL UNSAFE ROWS 12
AS 'MODULE_PATHNAME', 'meter_detach_usage';
COMMENT ON FUNCTION meter.detach_usage(text, timestamptz) IS
'take months of a stream''s ledger out of it, as tables of the stream''s schema (usage_2024_03) to dump and drop: of each month (-infinity: what is older than the first one) whether it was detached, and if not, what holds it back: a meter that may still change it (it ends after the watermark less max_lateness and the deduplication window, and after the retention boundary), a resource that is set aside, a consumer that has not read all of it, or transactions that use the ledger; usage of a month that was detached is computed no more; rows that come for it are held
before: months that end at or before this instant
raises 42704 if there is no such stream, 55000 if it is not active, 42501 for others than its owner';

CREATE FUNCTION meter.attach_usage(stream text, month timestamptz)
RETURNS void
LANGUAGE C VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'meter_attach_usage';
COMMENT ON FUNCTION meter.attach_usage(text, timestamptz) IS
'take a month that meter.detach_usage took out back into the ledger; the table must have the rows that it had
month: an instant in it, or -infinity for what is older than the first month
raises 42704 if there is no such stream or table, or the month was not detached, 55000 if the stream is not active or the table is not the one that was detached, 55P03 if transactions use the ledger, 42501 for others than the stream''s owner';

CREATE FUNCTION meter_internal.summarize_usage(stream text DEFAULT NULL)
RETURNS void
LANGUAGE C VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'meter_summarize_usage';
COMMENT ON FUNCTION meter_internal.summarize_usage(text) IS
'bring the indexes of the ledgers of a stream, or of all the caller''s (null), that are summaries up to date; what meter.run and the worker call, in a transaction of its own; waits for nobody';
