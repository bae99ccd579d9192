-- What the engine's own queries say in C about measures.  Any role may call these: they compute from their arguments alone.

CREATE FUNCTION meter_internal.measure_period_begin(period text, timezone text, at timestamptz)
RETURNS timestamptz
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'meter_measure_period_begin';
COMMENT ON FUNCTION meter_internal.measure_period_begin(text, text, timestamptz) IS
'internal: beginning of the period that holds an instant, for periods and time zones as meter.create_meter takes them';

CREATE FUNCTION meter_internal.measure_period_end(period text, timezone text, at timestamptz)
RETURNS timestamptz
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'meter_measure_period_end';
COMMENT ON FUNCTION meter_internal.measure_period_end(text, text, timestamptz) IS
'internal: end of the period that holds an instant, for periods and time zones as meter.create_meter takes them';

CREATE FUNCTION meter_internal.measure_parts(
    period text, timezone text, start_time timestamptz, end_time timestamptz, value numeric, account text,
    owned_since timestamptz[], owners text[], begin_at timestamptz, end_at timestamptz,
    OUT period_start timestamptz, OUT account text, OUT part_begin timestamptz, OUT part_end timestamptz, OUT quantity numeric)
RETURNS SETOF record
LANGUAGE C IMMUTABLE PARALLEL SAFE COST 20 ROWS 2
AS 'MODULE_PATHNAME', 'meter_measure_parts';
COMMENT ON FUNCTION meter_internal.measure_parts(text, text, timestamptz, timestamptz, numeric, text, timestamptz[], text[], timestamptz, timestamptz) IS
'internal: the parts of a measure that lie in [begin_at, end_at), cut at the periods and, if account is null or empty, where the owner changes (owners, each from owned_since on, the first also before; null: nobody is known, and the account is empty): pro rata, the value up to an instant truncated toward zero in its own scale, so that all parts add up to it; of no length: whole in the period of its instant; a null value has no parts';

CREATE FUNCTION meter_internal.measure_owner(owned_since timestamptz[], owners text[], at timestamptz)
RETURNS text
LANGUAGE C IMMUTABLE PARALLEL SAFE
AS 'MODULE_PATHNAME', 'meter_measure_owner';
COMMENT ON FUNCTION meter_internal.measure_owner(timestamptz[], text[], timestamptz) IS
'internal: the owner at an instant (owners, each from owned_since on, the first also before); empty if the arrays are null';

CREATE FUNCTION meter_internal.duplicate_key(resource text, source text, id text)
RETURNS bigint
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'meter_duplicate_key';
COMMENT ON FUNCTION meter_internal.duplicate_key(text, text, text) IS
'internal: a hash of what duplicates of a row have in common, the same on every machine';

CREATE FUNCTION meter_internal.duplicate_keys_add(internal, bigint)
RETURNS internal
LANGUAGE C IMMUTABLE PARALLEL SAFE
AS 'MODULE_PATHNAME', 'meter_duplicate_keys_add';
COMMENT ON FUNCTION meter_internal.duplicate_keys_add(internal, bigint) IS
'internal: one hash more for meter_internal.duplicate_keys()';

CREATE FUNCTION meter_internal.duplicate_keys_final(internal)
RETURNS bytea
LANGUAGE C IMMUTABLE PARALLEL SAFE
AS 'MODULE_PATHNAME', 'meter_duplicate_keys_final';
COMMENT ON FUNCTION meter_internal.duplicate_keys_final(internal) IS
'internal: result of meter_internal.duplicate_keys()';

CREATE AGGREGATE meter_internal.duplicate_keys(bigint) (
    SFUNC = meter_internal.duplicate_keys_add,
    STYPE = internal,
    SSPACE = 1024,
    FINALFUNC = meter_internal.duplicate_keys_final,
    PARALLEL = SAFE
);
COMMENT ON AGGREGATE meter_internal.duplicate_keys(bigint) IS
'internal: hashes one after the other, 8 bytes each, the most significant first';
