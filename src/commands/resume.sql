-- Pausing and resuming.

CREATE FUNCTION meter.pause(stream text, meter text)
RETURNS void
LANGUAGE C VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'meter_pause';
COMMENT ON FUNCTION meter.pause(text, text) IS
'make no steps of a meter until meter.resume(stream, meter): late rows wait, meter.verify goes on, meter.expire waits for it as for any meter that lags; a dump carries it; raises 42704 if there is no such meter, 42501 for others than the stream''s owner and operators';

CREATE FUNCTION meter.resume(stream text, meter text DEFAULT NULL)
RETURNS void
LANGUAGE C VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'meter_resume';
COMMENT ON FUNCTION meter.resume(text, text) IS
'work on a stream again, after a restore, in a copy of the database, or after a failure: checks its tables, guards and indexes, and that logs, ledger and carried states are what the catalog says, moves its sequences to or beyond all arrivals, and lets workers and meter.advance act on it
meter: make steps of this meter again after meter.pause or a failure; null: those that are paused stay so
raises 42704 if there is no such stream or meter, 55000 or 42501 naming what is not as it must be';
