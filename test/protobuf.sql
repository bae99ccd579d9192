-- A producer's side of protobuf for tests: messages of src/types/usage.proto, made of plain bytes.
--
-- Functions of the session's own, so that tests that run at once do not meet: \i it, or send it first. An event's message is
-- meter.event_to_protobuf(event).

-- A number as a varint: seven bits a byte, the least first.
CREATE FUNCTION pg_temp.varint(n numeric) RETURNS bytea LANGUAGE plpgsql IMMUTABLE STRICT AS $$
DECLARE
	bytes bytea := '';
	rest bigint;
BEGIN
	WHILE n >= 9223372036854775808 LOOP
		bytes := bytes || set_byte('\x00', 0, (n % 128)::integer + 128);
		n := div(n, 128);
	END LOOP;
	rest := n;
	WHILE rest >= 128 LOOP
		bytes := bytes || set_byte('\x00', 0, (rest & 127)::integer | 128);
		rest := rest >> 7;
	END LOOP;
	RETURN bytes || set_byte('\x00', 0, rest::integer);
END $$;

-- A message with its length before it, as in streams and in fields.
CREATE FUNCTION pg_temp.delimited(message bytea) RETURNS bytea LANGUAGE sql IMMUTABLE STRICT AS
$$SELECT pg_temp.varint(length(message)) || message$$;

-- Events as a stream, and as the field "event" of a UsageBatch.
CREATE FUNCTION pg_temp.stream(VARIADIC events meter.event[]) RETURNS bytea LANGUAGE sql IMMUTABLE STRICT AS
$$SELECT string_agg(pg_temp.delimited(meter.event_to_protobuf(event)), '' ORDER BY n) FROM unnest(events) WITH ORDINALITY x (event, n)$$;
CREATE FUNCTION pg_temp.batch(VARIADIC events meter.event[]) RETURNS bytea LANGUAGE sql IMMUTABLE STRICT AS
$$SELECT string_agg('\x0a' || pg_temp.delimited(meter.event_to_protobuf(event)), '' ORDER BY n) FROM unnest(events) WITH ORDINALITY x (event, n)$$;

-- An IPMeasure: an address in dotted form, bytes, and instants, which are sent as Unix seconds or milliseconds.
CREATE FUNCTION pg_temp.measure(resource text, value numeric, start_time timestamptz, end_time timestamptz, header bigint DEFAULT 0,
	milliseconds boolean DEFAULT false) RETURNS bytea LANGUAGE sql IMMUTABLE STRICT AS $$
	SELECT '\x08' || pg_temp.varint(header) || '\x10' || pg_temp.varint(resource::inet - '0.0.0.0') || '\x18' || pg_temp.varint(value)
		|| '\x20' || pg_temp.varint(trunc(extract(epoch FROM start_time) * CASE WHEN milliseconds THEN 1000 ELSE 1 END))
		|| '\x28' || pg_temp.varint(trunc(extract(epoch FROM end_time) * CASE WHEN milliseconds THEN 1000 ELSE 1 END))
$$;
