-- Who may do what.  Nothing here is for PUBLIC but what is granted below.

REVOKE ALL ON SCHEMA meter FROM PUBLIC;
REVOKE ALL ON ALL TABLES IN SCHEMA meter FROM PUBLIC;
REVOKE ALL ON ALL ROUTINES IN SCHEMA meter FROM PUBLIC;

-- Timelines, transaction IDs and the like compute from their arguments alone.
-- What acts on a stream checks in C that the caller is a member of its owner.
GRANT USAGE ON SCHEMA meter TO PUBLIC;
GRANT EXECUTE ON ALL ROUTINES IN SCHEMA meter TO PUBLIC;

-- These show each role what it may see.
GRANT SELECT ON meter.status, meter.source_status, meter.worker_status TO PUBLIC;

-- For administration.
REVOKE EXECUTE ON FUNCTION meter.worker_wake() FROM PUBLIC;
