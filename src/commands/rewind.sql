-- Taking a watermark back.

CREATE FUNCTION meter.rewind(stream text, meter text, watermark timestamptz)
RETURNS bigint
LANGUAGE C VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'meter_rewind';
COMMENT ON FUNCTION meter.rewind(text, text, timestamptz) IS
'takes the watermark of a meter back, after the clock of the server was ahead: usage after it is adjusted to 0, states are computed anew, and rows that were held only for that reason count; steps settle on from there; returns the number of usage rows written
watermark: the instant to go back to, the beginning of a period
raises 42704 if there is no such stream or meter, 22023 for an instant that is not the beginning of a period or is after the watermark, 55000 for one from before the retention boundary or the meter''s since, 42501 for others than the stream''s owner and operators';
