-- Segments of a stream's logs.

CREATE FUNCTION meter.roll(stream text)
RETURNS integer
LANGUAGE C VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'meter_roll';
COMMENT ON FUNCTION meter.roll(text) IS
'close the newest segment of each log of a stream that has rows there, and start the next one: how many were rolled; the worker or meter.run then seals what was closed; raises 42704 if there is no such stream, 55000 if it is not active or a segment ahead was made by this very transaction, 55006 if somebody who wrote before the last roll has not ended, 42501 for others than its owner and operators';

CREATE FUNCTION meter_internal.maintain_step(stream text DEFAULT NULL)
RETURNS boolean
LANGUAGE C VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'meter_maintain_step';
COMMENT ON FUNCTION meter_internal.maintain_step(text) IS
'one step of rolling and sealing the segments of a stream, or of each of the caller''s (null): whether something was done, so that there may be more; what meter.run and the worker call, each step in a transaction of its own; waits for nobody; under REPEATABLE READ nothing is sealed; raises 42704 if there is no such stream, 55000 if it is not active, 42501 for others than its owner and operators';

CREATE FUNCTION meter.log_segments(
    stream text,
    OUT log text, OUT segment bigint, OUT state text, OUT arrivals int8range, OUT rows bigint,
    OUT least_time timestamptz, OUT greatest_time timestamptz, OUT bytes bigint)
RETURNS SETOF record
LANGUAGE C VOLATILE PARALLEL UNSAFE ROWS 10
AS 'MODULE_PATHNAME', 'meter_log_segments';
COMMENT ON FUNCTION meter.log_segments(text) IS
'the segments of a stream''s logs: state ahead (made for later), open (takes writes), rolled (who began to write before may still), closed (being sealed) or sealed (has indexes and constraint, never changes again); the arrivals that belong there; rows and the least and greatest time they have (counted when it was sealed, of others now); bytes with indexes; raises 42704 if there is no such stream, 42501 for others than its owner and operators';
