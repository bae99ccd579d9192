-- Jobs of pg_cron: for who advances without the worker, and for what has to be done at night.

CREATE FUNCTION meter.schedule(
    stream text, advance text DEFAULT NULL, verify text DEFAULT '30 3 * * *',
    retention interval DEFAULT NULL, expire text DEFAULT '30 4 * * *',
    OUT job text, OUT schedule text, OUT command text)
RETURNS SETOF record
LANGUAGE C VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'meter_schedule';
COMMENT ON FUNCTION meter.schedule(text, text, text, interval, text) IS
'have pg_cron work for a stream, as the caller; returns the jobs that the caller now has for the stream, in place of those of an earlier call
advance: when to settle, as in crontab; null: every minute if no worker is preloaded
verify: when to call meter.assert_verified; null: never
retention: expire what is older; null: never
expire: when to do so
raises 55000 if pg_cron is not there or keeps its jobs in another database, 42501 for others than the stream''s owner and operators, with retention for others than the owner, and for who may not use pg_cron';

CREATE FUNCTION meter.unschedule(stream text)
RETURNS integer
LANGUAGE C VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'meter_unschedule';
COMMENT ON FUNCTION meter.unschedule(text) IS
'remove the caller''s jobs for a stream, which need not exist any more; returns how many there were; raises 55000 and 42501 as meter.schedule does';

CREATE FUNCTION meter.assert_verified(stream text, meter text DEFAULT NULL)
RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $assert$
DECLARE
    differing bigint;
    example   text;
BEGIN
    SELECT count(*), min(format('Meter "%s", resource "%s", account "%s", period from %s: %s in the ledger, %s expected.',
                                v.meter, v.resource, v.account, v.period_start, v.ledger, v.expected))
    INTO differing, example
    FROM meter.verify(assert_verified.stream, assert_verified.meter) AS v;
    IF differing > 0 THEN
        RAISE EXCEPTION 'ledger of stream "%" differs from its events in % %', stream, differing,
              CASE differing WHEN 1 THEN 'row' ELSE 'rows' END
            USING ERRCODE = 'data_corrupted', DETAIL = example,
                  HINT = format('meter.verify(%L) lists the differences; meter.resettle() writes them.', stream);
    END IF;
END
$assert$;
COMMENT ON FUNCTION meter.assert_verified(text, text) IS
'fail if meter.verify finds anything, saying how much: for jobs, of which somebody is told when they fail
stream: of this stream
meter: of this meter; null: of all
raises XX001 then, and what meter.verify raises';
