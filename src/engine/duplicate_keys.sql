-- Hashes of rows that may have duplicates.  Any role may call it: it computes from its arguments alone.

CREATE FUNCTION meter_internal.duplicate_key(resource text, source text, id text, action text)
RETURNS bigint
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'meter_duplicate_key';
COMMENT ON FUNCTION meter_internal.duplicate_key(text, text, text, text) IS
'internal: a hash of what duplicates of a row have in common (the action of a measure is empty), the same on every machine';
