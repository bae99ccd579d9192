-- Events and measures as protobuf messages: what they look like on the wire, and what is said of bytes that are none.
SET timezone = 'UTC';
SET datestyle = 'ISO';
\pset null null

-- Messages as a producer makes them: pg_temp.measure, pg_temp.delimited, pg_temp.stream and pg_temp.batch.
\getenv srcdir PG_ABS_SRCDIR
\set protobuf :srcdir '/test/protobuf.sql'
\set ECHO none
\i :protobuf
\set ECHO all

-- An event, as protoc would write it, and back.
SELECT meter.event_to_protobuf('{"time":"2016-12-12T15:48:32Z","resource":"7a07","action":"create","account":"geneva-jug"}');
SELECT meter.event_from_protobuf(decode('0880a88dc980efd002 120437613037 1a06637265617465 320a67656e6576612d6a7567', 'hex'));

-- Everything that an event can say.
CREATE TEMP TABLE example AS SELECT '{:type :usage :entity :vm :action :create :time #inst "2016-12-12T15:48:32.000-00:00" :template "ubuntu-16.04"
  :source :cloudstack :account "geneva-jug" :uuid "7a070a3d-66ff-4658-ab08-fe3cecd7c70f" :version 1 :offering "medium" :id "42" :value 0.250}'::meter.event AS event;
SELECT event FROM example;
SELECT meter.event_from_protobuf(meter.event_to_protobuf(event)) = event AS same,
	meter.event_from_protobuf(meter.event_to_protobuf(event))::text = event::text AS same_text,
	meter.event_to_protobuf(event) = meter_internal.event_send(event) AS send_is_that FROM example;

-- Times are microseconds of the Unix epoch, also before it; what protobuf can say and timestamptz cannot is refused.
SELECT meter.event_from_protobuf(meter.event_to_protobuf('{"time":"1969-12-31T23:59:59.999999Z","resource":"r","action":"a"}'));
SELECT meter.event_from_protobuf(meter.event_to_protobuf('{"time":"0001-01-01T00:00:00Z","resource":"r","action":"a"}'));
SELECT meter.event_from_protobuf(decode('0880808080808080808001120172 1a0161', 'hex'));

-- Streams, each message with its length before it; batches.
SELECT e ->> 'resource' AS resource, e ->> 'action' AS action
FROM example, meter.events_from_protobuf_stream(pg_temp.stream(event, '{"time":"2016-12-12T16:00:00Z","resource":"r","action":"stop"}')) e;
SELECT e ->> 'resource' AS resource, e ->> 'action' AS action
FROM example, meter.events_from_protobuf_batch(pg_temp.batch(event, '{"time":"2016-12-12T16:00:00Z","resource":"r","action":"stop"}')) e;
SELECT count(*) FROM meter.events_from_protobuf_stream('');
SELECT count(*) FROM meter.events_from_protobuf_batch('');

-- What is wrong, and where. Bytes are counted from 0.
CREATE FUNCTION pg_temp.why(message bytea) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
	RETURN 'taken: ' || meter.event_from_protobuf(message);
EXCEPTION WHEN OTHERS THEN
	RETURN SQLSTATE || ' ' || SQLERRM;
END $$;
SELECT what, pg_temp.why(message) FROM (VALUES
	(1, 'nothing', ''::bytea),
	(2, 'no action', decode('0800120172', 'hex')),
	(3, 'an empty action', decode('08001201721a00', 'hex')),
	(4, 'an unknown field of each wire type', decode('08001201721a0161 d80201 d9020000000000000000 da020161 dd0200000000', 'hex')),
	(5, 'an unknown field that is cut short', decode('08001201721a0161 d90200000000000000', 'hex')),
	(6, 'an unknown field longer than what remains', decode('08001201721a0161 da020261', 'hex')),
	(7, 'a group', decode('08001201721a0161 db02dc02', 'hex')),
	(8, 'a group in place of a field', decode('08001201721b', 'hex')),
	(9, 'wire type 7', decode('08001201721a0161 67', 'hex')),
	(10, 'field number 0', decode('0001', 'hex')),
	(11, 'a field number beyond 29 bits', decode('80808080100000', 'hex')),
	(12, 'a tag cut short', decode('0800120172 80', 'hex')),
	(13, 'a tag that does not end', decode('ffffffffffffffffffff01', 'hex')),
	(14, 'the last one counts', decode('0800080112017212017a1a0161', 'hex')),
	(15, 'time as text', decode('0a0130 1201721a0161', 'hex')),
	(16, 'resource as a number', decode('08001001 1a0161', 'hex')),
	(17, 'a time cut short', decode('12017208ff', 'hex')),
	(18, 'a time beyond 64 bits', decode('08ffffffffffffffffff02 1201721a0161', 'hex')),
	(19, 'a length beyond 64 bits', decode('080012ffffffffffffffffff02', 'hex')),
	(20, 'a length of 4 GB', decode('080012ffffffff0f72', 'hex')),
	(21, 'a number in more bytes than it needs', decode('08808000 1201721a0161', 'hex')),
	(22, 'not UTF-8', decode('0800120361ff62 1a0161', 'hex')),
	(23, 'UTF-8 cut short', decode('0800120261c3 1a0161', 'hex')),
	(24, 'UTF-8 in an overlong form', decode('08001202c080 1a0161', 'hex')),
	(25, 'a surrogate in UTF-8', decode('08001203eda080 1a0161', 'hex')),
	(26, 'beyond Unicode', decode('08001204f4908080 1a0161', 'hex')),
	(27, 'a null byte', decode('08001203610062 1a0161', 'hex')),
	(28, 'a value that is no number', decode('08001201721a0161 4a0178', 'hex')),
	(29, 'an empty value', decode('08001201721a0161 4a00', 'hex')),
	(30, 'a value in another spelling', decode('08001201721a0161 4a05312e353030', 'hex')),
	(31, 'attributes that are no JSON', decode('08001201721a0161 52027b78', 'hex')),
	(32, 'attributes that are a list', decode('08001201721a0161 52025b5d', 'hex')),
	(33, 'attributes without any', decode('08001201721a0161 52027b7d', 'hex'))) x (n, what, message)
ORDER BY n;

-- Whatever is cut off: what is left is an event where it ends after the required fields and between two others; else it is refused.
SELECT count(*) AS prefixes, count(*) FILTER (WHERE why ~ '^22P03 .* at byte [0-9]+$') AS refused, count(*) FILTER (WHERE why ~ '^taken') AS taken
FROM (SELECT pg_temp.why(substring(m FROM 1 FOR n)) AS why
	FROM (SELECT meter.event_to_protobuf(event) AS m FROM example) x, generate_series(0, length(m) - 1) n) y;

-- IPMeasure: 192.0.2.1 is 0xC0000201, 10 MB within a minute.
SELECT pg_temp.measure('192.0.2.1', 10485760, '2016-12-12 15:48:00Z', '2016-12-12 15:49:00Z', 1);
SELECT * FROM meter.measures_from_protobuf_stream(decode('19 0801 10818480800c 1880808005 20b08dbbc205 28ec8dbbc205', 'hex'));
SELECT m.* FROM (VALUES ('0.0.0.0', 0, '1970-01-01 00:00Z'::timestamptz, '1970-01-01 00:00Z'::timestamptz),
	('255.255.255.255', 18446744073709551615, '9999-12-31 23:59:59Z', '9999-12-31 23:59:59Z'),
	('10.200.30.4', 9223372036854775808, '2024-02-29 23:59:59Z', '2024-03-01 00:00Z')) v,
	meter.measures_from_protobuf_stream(pg_temp.delimited(pg_temp.measure(v.column1, v.column2, v.column3, v.column4))) m;
SELECT * FROM meter.measures_from_protobuf_stream(pg_temp.delimited(
	pg_temp.measure('192.0.2.1', 1, '2016-12-12 15:48:00.001Z', '2016-12-12 15:49Z', milliseconds => true)), milliseconds => true);

CREATE FUNCTION pg_temp.why_measure(message bytea, milliseconds boolean DEFAULT false) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
	RETURN 'taken: ' || string_agg(m::text, ' ') FROM meter.measures_from_protobuf_stream(message, milliseconds) m;
EXCEPTION WHEN OTHERS THEN
	RETURN SQLSTATE || ' ' || SQLERRM;
END $$;
SELECT what, pg_temp.why_measure(message, milliseconds) FROM (VALUES
	(1, 'no header', decode('08 1001 1801 2001 2801', 'hex'), false),
	(2, 'no end', decode('08 0801 1001 1801 2001', 'hex'), false),
	(3, 'complete', decode('0a 0801 1001 1801 2001 2801', 'hex'), false),
	(4, 'an address beyond 32 bits', decode('0e 0801 108080808010 1801 2001 2801', 'hex'), false),
	(5, 'ends before it starts', decode('0a 0801 1001 1801 2002 2801', 'hex'), false),
	(6, 'milliseconds taken for seconds', decode('14 0801 1001 1801 2080bfe09d8f2b 2880bfe09d8f2b', 'hex'), false),
	(7, 'and as what they are', decode('14 0801 1001 1801 2080bfe09d8f2b 2880bfe09d8f2b', 'hex'), true),
	(8, 'milliseconds beyond timestamptz', decode('12 0801 1001 1801 20ffffffffffffffff7f 2801', 'hex'), true),
	(9, 'bytes as text', decode('0b 0801 1001 1a0131 2001 2801', 'hex'), false),
	(10, 'the second message', decode('0a 0801 1001 1801 2001 2801 02 0801', 'hex'), false),
	(11, 'a length that is cut short', decode('0a 0801 1001 1801 2001 2801 ff', 'hex'), false),
	(12, 'a length that is too long', decode('0b 0801 1001 1801 2001 2801', 'hex'), false)) x (n, what, message, milliseconds)
ORDER BY n;
