-- What did the last step do?

CREATE FUNCTION meter.last_step(
    stream text, meter text,
    OUT stage text, OUT rows bigint, OUT bytes bigint, OUT milliseconds numeric, OUT detail text)
RETURNS SETOF record
LANGUAGE C STABLE STRICT PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'meter_last_step';
COMMENT ON FUNCTION meter.last_step(text, text) IS
'what the last step of a meter did that had something to do, a row a stage: scan (rows of the logs that were read), sort (the bytes that the largest sort took, in memory or on disk), walk (resources; the time includes what was written on the way), write (usage rows and their bytes, if they were written in blocks; the time is that of what was left to write); times are of the clock, in milliseconds; no rows if there was no such step yet; raises 42704 if there is no such stream or meter, 42501 for others than its owner, analysts and operators';
