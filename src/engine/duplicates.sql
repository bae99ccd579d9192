-- What duplicates and voids are found by.  Any role may call these: they compute from their arguments alone.

CREATE FUNCTION meter_internal.later_by(at timestamptz, microseconds bigint)
RETURNS timestamptz
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'meter_later_by_sql';
COMMENT ON FUNCTION meter_internal.later_by(timestamptz, bigint) IS
'internal: the instant so many microseconds later, or the first or last that there is';

CREATE FUNCTION meter_internal.any_between(times timestamptz[], first timestamptz, last timestamptz)
RETURNS boolean
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'meter_any_between';
COMMENT ON FUNCTION meter_internal.any_between(timestamptz[], timestamptz, timestamptz) IS
'internal: is any of these instants, which must be in order, in [first, last]?';
