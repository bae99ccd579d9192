-- Events and measures as protobuf messages; src/types/usage.proto says what they are.

-- stable: meter.on_bad_event has a say
CREATE FUNCTION meter_internal.event_recv(internal) RETURNS meter.event
LANGUAGE C STABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'meter_event_recv';
COMMENT ON FUNCTION meter_internal.event_recv(internal) IS
'event from a protobuf message UsageEvent; 22P03 with field, byte and what is wrong where it is none, or a bad event, with the bytes in hexadecimal, where meter.on_bad_event is divert';

CREATE FUNCTION meter_internal.event_send(meter.event) RETURNS bytea
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'meter_record_send';
COMMENT ON FUNCTION meter_internal.event_send(meter.event) IS
'event as a protobuf message UsageEvent';

ALTER TYPE meter.event SET (RECEIVE = meter_internal.event_recv, SEND = meter_internal.event_send);

-- stable: meter.on_bad_event has a say
CREATE FUNCTION meter_internal.measure_recv(internal) RETURNS meter.measure
LANGUAGE C STABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'meter_measure_recv';
COMMENT ON FUNCTION meter_internal.measure_recv(internal) IS
'measure from a protobuf message UsageMeasure; 22P03 with field, byte and what is wrong where it is none, or a bad measure, with the bytes in hexadecimal, where meter.on_bad_event is divert';

CREATE FUNCTION meter_internal.measure_send(meter.measure) RETURNS bytea
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'meter_record_send';
COMMENT ON FUNCTION meter_internal.measure_send(meter.measure) IS
'measure as a protobuf message UsageMeasure';

ALTER TYPE meter.measure SET (RECEIVE = meter_internal.measure_recv, SEND = meter_internal.measure_send);

CREATE FUNCTION meter.event_from_protobuf(message bytea)
RETURNS meter.event
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'meter_event_from_protobuf';
COMMENT ON FUNCTION meter.event_from_protobuf(bytea) IS
'event from a protobuf message UsageEvent; raises 22P03 naming field and byte where it is none, whatever meter.on_bad_event is';

CREATE FUNCTION meter.event_to_protobuf(event meter.event)
RETURNS bytea
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'meter_record_send';
COMMENT ON FUNCTION meter.event_to_protobuf(meter.event) IS
'event as a protobuf message UsageEvent; raises 22P02 for a bad event, 22008 for a time that a UsageEvent cannot hold';

CREATE FUNCTION meter.events_from_protobuf_stream(stream bytea)
RETURNS SETOF meter.event
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE ROWS 1000
AS 'MODULE_PATHNAME', 'meter_events_from_protobuf_stream';
COMMENT ON FUNCTION meter.events_from_protobuf_stream(bytea) IS
'the messages UsageEvent of a stream
stream: the messages, each with its length before it as a varint
raises 22P03 naming field and byte for what is damaged';

CREATE FUNCTION meter.measure_from_protobuf(message bytea)
RETURNS meter.measure
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'meter_measure_from_protobuf';
COMMENT ON FUNCTION meter.measure_from_protobuf(bytea) IS
'measure from a protobuf message UsageMeasure; raises 22P03 naming field and byte where it is none, whatever meter.on_bad_event is';

CREATE FUNCTION meter.measure_to_protobuf(measure meter.measure)
RETURNS bytea
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'meter_record_send';
COMMENT ON FUNCTION meter.measure_to_protobuf(meter.measure) IS
'measure as a protobuf message UsageMeasure; raises 22P02 for a bad measure, 22008 for a time that a UsageMeasure cannot hold';

CREATE FUNCTION meter.usage_measures_from_protobuf_stream(stream bytea)
RETURNS SETOF meter.measure
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE ROWS 1000
AS 'MODULE_PATHNAME', 'meter_usage_measures_from_protobuf_stream';
COMMENT ON FUNCTION meter.usage_measures_from_protobuf_stream(bytea) IS
'the messages UsageMeasure of a stream
stream: the messages, each with its length before it as a varint
raises 22P03 naming field and byte for what is damaged';

CREATE FUNCTION meter.events_from_protobuf_batch(batch bytea)
RETURNS SETOF meter.event
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE ROWS 1000
AS 'MODULE_PATHNAME', 'meter_events_from_protobuf_batch';
COMMENT ON FUNCTION meter.events_from_protobuf_batch(bytea) IS
'the events of a message UsageBatch; its measures of both kinds are left out
batch: the message
raises 22P03 naming field and byte for what is damaged';

CREATE FUNCTION meter.measures_from_protobuf_stream(stream bytea, milliseconds boolean DEFAULT false)
RETURNS TABLE (resource text, value numeric, start_time timestamptz, end_time timestamptz)
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE ROWS 1000
AS 'MODULE_PATHNAME', 'meter_measures_from_protobuf_stream';
COMMENT ON FUNCTION meter.measures_from_protobuf_stream(bytea, boolean) IS
'the messages IPMeasure of a stream: resource is the IPv4 address in dotted form (192.0.2.1 for 0xC0000201), value its bytes
stream: the messages, each with its length before it as a varint
milliseconds: start and end are in milliseconds of Unix time, not seconds
raises 22P03 naming field and byte for what is damaged, out of range, or ends before it starts';
