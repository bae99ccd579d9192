-- The period that holds an instant.  Any role may call this: it computes from its arguments alone.

CREATE FUNCTION meter_internal.period_begin(period text, timezone text, at timestamptz)
RETURNS timestamptz
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'meter_period_begin';
COMMENT ON FUNCTION meter_internal.period_begin(text, text, timestamptz) IS
'internal: beginning of the period that holds an instant, for periods and time zones as meter.create_meter takes them';
