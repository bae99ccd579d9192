-- Events and measures as protobuf messages; src/usage.proto says what they are.

CREATE FUNCTION meter.protobuf_delimited(message bytea)
RETURNS bytea
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'meter_protobuf_delimited';
COMMENT ON FUNCTION meter.protobuf_delimited(bytea) IS
'a protobuf message with its length before it, as a varint: string_agg(meter.protobuf_delimited(message), '''') makes the stream that the functions ..._from_protobuf_stream read';

CREATE FUNCTION meter.measures_from_protobuf_stream(stream bytea, milliseconds boolean DEFAULT false)
RETURNS TABLE (resource text, value numeric, start_time timestamptz, end_time timestamptz)
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE ROWS 1000
AS 'MODULE_PATHNAME', 'meter_measures_from_protobuf_stream';
COMMENT ON FUNCTION meter.measures_from_protobuf_stream(bytea, boolean) IS
'the messages IPMeasure of a stream, each with its length before it as a varint: resource is the IPv4 address in dotted form (192.0.2.1 for 0xC0000201), value its bytes; start and end are Unix seconds, or milliseconds where asked for; raises 22P03 naming field and byte for what is damaged, out of range, or ends before it starts';

CREATE FUNCTION meter.measure_to_protobuf(resource text, value numeric, start_time timestamptz, end_time timestamptz, header bigint DEFAULT 0, milliseconds boolean DEFAULT false)
RETURNS bytea
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'meter_measure_to_protobuf';
COMMENT ON FUNCTION meter.measure_to_protobuf(text, numeric, timestamptz, timestamptz, bigint, boolean) IS
'a message IPMeasure: resource is an IPv4 address in dotted form, value a whole number of bytes, the times whole Unix seconds, or milliseconds where asked for; raises 22xxx for what an IPMeasure cannot hold';
