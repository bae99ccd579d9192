-- Streams: schemas with logs and a ledger, ordinary tables of whoever makes them.

CREATE FUNCTION meter.create_stream(name text, identity_window interval DEFAULT '1 day')
RETURNS void
LANGUAGE C VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'meter_create_stream';
COMMENT ON FUNCTION meter.create_stream(text, interval) IS
'make a stream: a schema of that name with logs (event, measure), ledger (usage) and views, ordinary tables that belong to the caller; over a schema that an earlier stream left it goes on with what is there; rows with the same source and id within identity_window are copies; raises 42710 if there is such a stream, 55000 if there is a schema of another shape, 42501 without the right to create schemas';

CREATE FUNCTION meter.drop_stream(name text, delete_data boolean DEFAULT false)
RETURNS void
LANGUAGE C VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'meter_drop_stream';
COMMENT ON FUNCTION meter.drop_stream(text, boolean) IS
'forget a stream and its meters; its tables stay, so that meter.create_stream can take them up again, unless delete_data is true, which drops the schema with logs and ledger; raises 42704 if there is no such stream, 42501 for others than its owner';

CREATE FUNCTION meter.resume(stream text)
RETURNS void
LANGUAGE C VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'meter_resume';
COMMENT ON FUNCTION meter.resume(text) IS
'work on a stream again, after a restore or a failure: checks its tables and guards, moves its sequences to or beyond all arrivals, and lets workers and meter.advance act on it; raises 42704 if there is no such stream, 55000 or 42501 naming what is not as it must be';
