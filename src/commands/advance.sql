-- Advancing: settle the periods that the clock has closed, correct those that late rows change.

CREATE FUNCTION meter.advance(
    stream text DEFAULT NULL, meter text DEFAULT NULL,
    OUT stream text, OUT meter text, OUT watermark timestamptz, OUT usage_rows bigint, OUT adjustments bigint, OUT late_rows bigint)
RETURNS SETOF record
LANGUAGE C VOLATILE PARALLEL UNSAFE ROWS 10
AS 'MODULE_PATHNAME', 'meter_advance';
COMMENT ON FUNCTION meter.advance(text, text) IS
'one bounded step (meter.batch_rows) of each meter asked for, in the caller''s transaction: what it wrote, from how many late rows, and the watermark it got to; a meter that fails is left as it was, with its error in meter.status and a warning
stream: waits while somebody else settles a meter of it; null: all streams that the caller owns or operates, passing over meters that somebody else settles
meter: null: all of the stream
raises 42704 if there is no such stream or meter, 55000 for a stream that is not active, 42501 for others than its owner and operators';

CREATE FUNCTION meter_internal.advance_step(
    stream text DEFAULT NULL, meter text DEFAULT NULL,
    OUT stream text, OUT meter text, OUT watermark timestamptz, OUT usage_rows bigint, OUT adjustments bigint, OUT late_rows bigint,
    OUT more boolean)
RETURNS SETOF record
LANGUAGE C VOLATILE PARALLEL UNSAFE ROWS 10
AS 'MODULE_PATHNAME', 'meter_advance_step';
COMMENT ON FUNCTION meter_internal.advance_step(text, text) IS
'as meter.advance, and more: whether there is more to do at once';

-- A procedure that commits cannot have a search_path of its own: everything in it is qualified.
CREATE PROCEDURE meter.run(stream text DEFAULT NULL)
LANGUAGE plpgsql
AS $run$
DECLARE
    again boolean;
    wrote boolean;
    any_usage boolean := false;
BEGIN
    -- within a transaction block this fails at once, not after all the work
    COMMIT;
    -- a snapshot for a whole transaction may be too old to see late rows; after any expression it would be too late to say so
    SET TRANSACTION ISOLATION LEVEL READ COMMITTED;
    LOOP
        SELECT pg_catalog.bool_or(s.more), pg_catalog.bool_or(s.usage_rows OPERATOR(pg_catalog.>) 0 OR s.adjustments OPERATOR(pg_catalog.>) 0)
            INTO again, wrote FROM meter_internal.advance_step(run.stream) AS s;
        COMMIT;
        SET TRANSACTION ISOLATION LEVEL READ COMMITTED;
        any_usage := any_usage OR wrote IS TRUE;
        EXIT WHEN again IS NOT TRUE;
    END LOOP;
    IF any_usage THEN
        PERFORM meter_internal.summarize_usage(run.stream);
        COMMIT;
        SET TRANSACTION ISOLATION LEVEL READ COMMITTED;
    END IF;
    LOOP
        SELECT meter_internal.maintain_step(run.stream) INTO again;
        COMMIT;
        SET TRANSACTION ISOLATION LEVEL READ COMMITTED;
        EXIT WHEN again IS NOT TRUE;
    END LOOP;
END
$run$;
COMMENT ON PROCEDURE meter.run(text) IS
'advance meters step by step, each committed, under READ COMMITTED whatever the default of the session, until nothing is due, then roll and seal segments of their logs: for pg_cron, or by hand
stream: the meters of this stream; null: those of all streams that the caller owns or operates
raises 2D000 within a transaction block, and what meter.advance raises';
