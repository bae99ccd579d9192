-- Ingestion paths for events and measures as values: the views inbox and measure_inbox of a stream, and functions.

CREATE FUNCTION meter_internal.inbox_collect()
RETURNS trigger
LANGUAGE C VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'meter_inbox_collect';
COMMENT ON FUNCTION meter_internal.inbox_collect() IS
'trigger of the inboxes of a stream: collects an event or measure that is inserted';

CREATE FUNCTION meter_internal.inbox_store()
RETURNS trigger
LANGUAGE C VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'meter_inbox_store';
COMMENT ON FUNCTION meter_internal.inbox_store() IS
'trigger of the inboxes of a stream: logs what a statement has inserted';

CREATE FUNCTION meter_internal.inbox_refuse()
RETURNS trigger
LANGUAGE C VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'meter_inbox_refuse';
COMMENT ON FUNCTION meter_internal.inbox_refuse() IS
'trigger of the inboxes of a stream: refuses UPDATE and DELETE';

CREATE FUNCTION meter.ingest(stream text, VARIADIC events meter.event[])
RETURNS bigint
LANGUAGE C VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'meter_ingest';
COMMENT ON FUNCTION meter.ingest(text, meter.event[]) IS
'log events, as an INSERT into the inbox of the stream does, and return how many were logged; needs INSERT on the inbox
events: one or more, or VARIADIC and an array
raises 42704 if there is no such stream or inbox, 42501 without that right, for an inbox that is not the owner''s and for a role that row security of the log is for, 42939 for a reserved action (reconciled:...), which meter.on_bad_event = divert sends to <stream>.rejected as all that is bad';

CREATE FUNCTION meter.ingest_json(stream text, document text, measures boolean DEFAULT false)
RETURNS bigint
LANGUAGE C VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'meter_ingest_json';
COMMENT ON FUNCTION meter.ingest_json(text, text, boolean) IS
'log one event, or the events of a JSON array, and return how many were logged: all of them or none, or, where meter.on_bad_event is divert, those that are not sent to <stream>.rejected; needs INSERT on the inbox, or the measure_inbox
document: an event or an array of events (CloudEvents'' batch format is one)
measures: they are measures
raises as meter.ingest does, 22P02 naming the element and the place in it for what is no event or measure';

CREATE FUNCTION meter.ingest_protobuf(stream text, batch bytea)
RETURNS bigint
LANGUAGE C VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'meter_ingest_protobuf';
COMMENT ON FUNCTION meter.ingest_protobuf(text, bytea) IS
'log the events and measures of a protobuf message UsageBatch and return how many rows were logged; an IPMeasure has the batch''s source, and its content as id, so that a batch sent again counts once; needs INSERT on the inbox
batch: the message
raises 42704 and 42501 as meter.ingest does, 22P03 naming field and byte for what is damaged, which meter.on_bad_event = divert sends to <stream>.rejected in hexadecimal';

CREATE FUNCTION meter.ingest_measures(stream text, source text, messages bytea, milliseconds boolean DEFAULT false)
RETURNS bigint
LANGUAGE C VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'meter_ingest_measures';
COMMENT ON FUNCTION meter.ingest_measures(text, text, bytea, boolean) IS
'log the protobuf messages IPMeasure of a stream of bytes, and return how many rows were logged: resource is the address in dotted form, value its bytes, attributes has the header, id is the content (address, start, end), so that what is sent again counts once; needs INSERT on the inbox
source: who measured
messages: the messages, each with its length before it as a varint
milliseconds: start and end are in milliseconds of Unix time, not seconds
raises 42704 and 42501 as meter.ingest does, 22P03 naming field and byte for what is damaged, which meter.on_bad_event = divert sends to <stream>.rejected in hexadecimal';
