-- Where a stream is active: in one database of one server.

CREATE FUNCTION meter_internal.home(
    OUT database oid, OUT system bigint, OUT version integer, OUT backup text)
LANGUAGE C STABLE PARALLEL RESTRICTED
AS 'MODULE_PATHNAME', 'meter_home';
COMMENT ON FUNCTION meter_internal.home() IS
'where this is: the database, the system identifier and major version of the server, and the base backup from which its data directory was started last (null: none)';

CREATE FUNCTION meter_internal.is_home(database oid, system bigint, version integer, backup text)
RETURNS boolean
LANGUAGE C STABLE PARALLEL RESTRICTED
AS 'MODULE_PATHNAME', 'meter_is_home';
COMMENT ON FUNCTION meter_internal.is_home(oid, bigint, integer, text) IS
'whether what was written there is here: the same database of the same server, also after pg_upgrade and promotion, but not in a copy of the database, nor in a base backup that was started as a server of its own';
