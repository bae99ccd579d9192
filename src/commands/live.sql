-- Usage that is not settled yet.

CREATE FUNCTION meter_internal.live_usage(
    stream text, key uuid,
    OUT meter text, OUT account text, OUT resource text, OUT dimensions jsonb, OUT period_start timestamptz,
    OUT quantity numeric)
RETURNS SETOF record
LANGUAGE C STABLE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'meter_live_usage';
COMMENT ON FUNCTION meter_internal.live_usage(text, uuid) IS
'internal: usage from each meter''s watermark to now by its clock, and no further than until, from the carried states and the rows since; key is that of the stream''s views; raises 42501 for those who have it not and may not select from current_usage';
