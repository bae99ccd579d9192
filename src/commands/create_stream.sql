-- Streams: schemas with logs and a ledger, ordinary tables of whoever makes them.

CREATE FUNCTION meter.create_stream(stream text, deduplication_window interval DEFAULT '1 day', if_not_exists boolean DEFAULT false)
RETURNS void
LANGUAGE C VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'meter_create_stream';
COMMENT ON FUNCTION meter.create_stream(text, interval, boolean) IS
'make a stream: a schema of that name with logs (event, measure), ledger (usage) and views, ordinary tables that belong to the caller; over a schema that an earlier stream left it goes on with what is there
stream: the name of the schema, 1 to 63 bytes
deduplication_window: rows of one resource with the same source, id and action within this time of each other are duplicates, and a void takes back rows within it; days are of 24 hours
if_not_exists: if there is such a stream, a notice says so, and nothing is done
raises 42710 if there is such a stream, 55000 if there is a schema of another shape, 42501 without the right to create schemas';

CREATE FUNCTION meter.drop_stream(stream text, delete_data boolean DEFAULT false, if_exists boolean DEFAULT false)
RETURNS void
LANGUAGE C VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'meter_drop_stream';
COMMENT ON FUNCTION meter.drop_stream(text, boolean, boolean) IS
'forget a stream and its meters; its tables stay, so that meter.create_stream can take them up again; a stream whose schema was dropped may be forgotten by anybody
delete_data: drop the schema with logs and ledger, too
if_exists: if there is no such stream, a notice says so
raises 42704 if there is no such stream, 42501 for others than its owner';
