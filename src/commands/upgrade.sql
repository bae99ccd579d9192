-- Bringing streams that an older version made up to date.

CREATE FUNCTION meter.upgrade_stream(stream text)
RETURNS boolean
LANGUAGE C VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'meter_upgrade_stream';
COMMENT ON FUNCTION meter.upgrade_stream(text) IS
'bring a stream that an older version of the extension made to the shape of this one: its tables, guards, indexes and views; logs and ledger stay as they are; returns whether there was anything to do. ALTER EXTENSION meter UPDATE does it for all streams. Raises 42704 if there is no such stream, 55000 if a newer version made it, 42501 for others than its owner';

CREATE FUNCTION meter_internal.upgrade_streams()
RETURNS bigint
LANGUAGE C VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'meter_upgrade_streams';
COMMENT ON FUNCTION meter_internal.upgrade_streams() IS
'upgrade all streams that an older version made, and return how many; what scripts of ALTER EXTENSION meter UPDATE end with';
