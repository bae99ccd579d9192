-- What rows are hashed by.

CREATE FUNCTION meter_internal.row_text(value record)
RETURNS text
LANGUAGE C STABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'meter_row_text';
COMMENT ON FUNCTION meter_internal.row_text(record) IS
'a row as text, which is the same on all nodes of a cluster, whatever their time zone or style of dates: rows are compared by a hash of it';
