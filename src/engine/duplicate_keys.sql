-- Hashes of rows that may have duplicates.  Any role may call these: they compute from their arguments alone.

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
