-- Snapshots of what exists, compared with what the meters make of the log.

CREATE FUNCTION meter.reconcile(
    stream text, source text, at timestamptz, allow_empty boolean DEFAULT false, max_stops integer DEFAULT NULL,
    tolerance interval DEFAULT '1 minute', dry_run boolean DEFAULT false,
    OUT resource text, OUT problem text, OUT correction text, OUT "time" timestamptz)
RETURNS SETOF record
LANGUAGE C VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'meter_reconcile';
COMMENT ON FUNCTION meter.reconcile(text, text, timestamptz, boolean, integer, interval, boolean) IS
'compares the snapshot of a source at an instant, loaded into the stream''s table inventory, with what each duration, weighted and runs meter makes of the log, and logs an observation where they differ: what was corrected and from when on; a row speaks whosever the resource is, an absence only if it belongs to the source; doing it again changes nothing
source: whose snapshot it is
at: the instant at which it is true
allow_empty: a snapshot without rows is right, although resources run
max_stops: refuse a snapshot that would end more runs than that; null: more than 10 and 20 % of them
tolerance: by how much a start may differ from since and be the same
dry_run: nothing is logged, and no number of stops refused
raises 22023 for a snapshot from the future, and for a resource that is in it twice, runs since later than at, or is for a meter there is not, 55000 for one without rows while resources run, one that would end too many runs, one with other rows than were reconciled before, a comparison with a snapshot whose rows are not all there, and a stream that is not active, 42704 if there is no such stream, 42501 for others than its owner and operators';

CREATE FUNCTION meter.prune_inventory(stream text, before timestamptz)
RETURNS bigint
LANGUAGE C VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'meter_prune_inventory';
COMMENT ON FUNCTION meter.prune_inventory(text, timestamptz) IS
'deletes the rows of snapshots that were reconciled and that nothing needs: they are of before each meter''s retention boundary, which meter.expire() leaves, and not the last such of their source; returns how many rows were deleted
before: only snapshots of before this instant
raises 42704 if there is no such stream, 42501 for others than its owner and operators';

CREATE FUNCTION meter_internal.observation_text(action text, source text, at timestamptz, attributes jsonb)
RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT format('snapshot of %s: ', quote_ident(source)) || CASE action
        WHEN 'reconciled:stop' THEN 'it did not run' || coalesce('; the last that held it: ' || (attributes ->> 'alive'), '')
        ELSE 'it ran' || coalesce(' since ' || (attributes ->> 'since'), '')
            || coalesce('; the last that held it before: ' || (attributes ->> 'alive'), '') END
        || coalesce('; it belongs to ' || quote_ident(attributes ->> 'moved_to'), '')
        || coalesce('; it belonged to ' || quote_ident(attributes ->> 'belonged_to'), '')
        || coalesce('; it had run since ' || (attributes ->> 'since_too_early') || ', which is too early to count', '')
$$;
COMMENT ON FUNCTION meter_internal.observation_text(text, text, timestamptz, jsonb) IS
'internal: what a reconciled:* row of an event log says, in words';

CREATE FUNCTION meter_internal.observation_instant(attributes jsonb, key text)
RETURNS timestamptz
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'meter_observation_instant';
COMMENT ON FUNCTION meter_internal.observation_instant(jsonb, text) IS
'internal: an instant that a reconciled:* row of an event log names in its attributes (since, alive); null if there is none';
