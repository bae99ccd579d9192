-- Who may do what.  Nothing here is for PUBLIC but what is granted below.

REVOKE ALL ON SCHEMA meter, meter_internal FROM PUBLIC;
REVOKE ALL ON ALL TABLES IN SCHEMA meter, meter_internal FROM PUBLIC;
REVOKE ALL ON ALL ROUTINES IN SCHEMA meter, meter_internal FROM PUBLIC;

-- Timelines, transaction IDs and the like compute from their arguments alone.
-- What acts on a stream checks in C that the caller is a member of its owner.
GRANT USAGE ON SCHEMA meter TO PUBLIC;
GRANT EXECUTE ON ALL ROUTINES IN SCHEMA meter TO PUBLIC;

-- The engine's SQL runs as the owner of a stream, and views call functions as whoever reads them.
GRANT USAGE ON SCHEMA meter_internal TO PUBLIC;
GRANT EXECUTE ON ALL ROUTINES IN SCHEMA meter_internal TO PUBLIC;

-- These show each role what it may see.
GRANT SELECT ON meter.status, meter.source_status, meter.worker_status, meter.consumer_status, meter.progress TO PUBLIC;

-- For administration.
REVOKE EXECUTE ON FUNCTION meter_internal.worker_wake(), meter_internal.home(), meter_internal.upgrade_streams() FROM PUBLIC;
