-- Waits until the worker has settled all that is in the log: every hour that ends `lateness` before the last event, or before what all sources have reported.
SET statement_timeout = '10min';
DO $$
DECLARE
    last_event timestamptz := coalesce((SELECT min(clock) FROM meter.source_status WHERE stream = 'cloud'), (SELECT max("time") FROM cloud.event));
    error text;
BEGIN
    WHILE EXISTS (SELECT FROM meter.meter
                  WHERE watermark IS NULL OR watermark < date_bin(period, last_event - lateness, 'epoch'))
        OR EXISTS (SELECT FROM meter.status WHERE late_backlog > 0)
    LOOP
        SELECT format('meter %s: %s', name, last_error) INTO error FROM meter.meter WHERE last_error IS NOT NULL;
        IF FOUND THEN
            RAISE EXCEPTION '%', error;
        END IF;
        PERFORM pg_sleep(0.1);
    END LOOP;
END $$;
