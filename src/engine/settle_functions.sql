-- Functions in C for the engine's own queries.  Any role may call these: they compute from their arguments alone.

CREATE TYPE meter_internal.settle_row AS (
    transaction_id uuid, account text, dimensions jsonb, period_start timestamptz, quantity numeric);
COMMENT ON TYPE meter_internal.settle_row IS 'a usage row of one resource, as meter_internal.settle_rows() computes it';

CREATE TYPE meter_internal.resource_state AS (
    active boolean, account text, dimensions text[], value numeric, since timestamptz, alive timestamptz,
    absent timestamptz, source text);
COMMENT ON TYPE meter_internal.resource_state IS 'what is known of a resource at an instant: is it active, who pays, its dimensions in the meter''s order, its value, start of the run, last moment known alive, last moment known not running, the source that owns the resource';

CREATE FUNCTION meter_internal.settle_timeline_add(internal, "char", timestamptz, text, text[], numeric, timestamptz, timestamptz, text, jsonb)
RETURNS internal
LANGUAGE C IMMUTABLE PARALLEL SAFE
AS 'MODULE_PATHNAME', 'meter_settle_timeline_add';
COMMENT ON FUNCTION meter_internal.settle_timeline_add(internal, "char", timestamptz, text, text[], numeric, timestamptz, timestamptz, text, jsonb) IS
'internal: adds a row for meter_internal.settle_timeline()';

CREATE FUNCTION meter_internal.settle_timeline_final(internal)
RETURNS bytea
LANGUAGE C IMMUTABLE PARALLEL SAFE
AS 'MODULE_PATHNAME', 'meter_settle_timeline_final';
COMMENT ON FUNCTION meter_internal.settle_timeline_final(internal) IS
'internal: result of meter_internal.settle_timeline()';

CREATE AGGREGATE meter_internal.settle_timeline(kind "char", at timestamptz, account text, dimensions text[], value numeric, alive timestamptz, absent timestamptz, source text, observation jsonb) (
    SFUNC = meter_internal.settle_timeline_add,
    STYPE = internal,
    SSPACE = 400,
    FINALFUNC = meter_internal.settle_timeline_final,
    FINALFUNC_MODIFY = SHAREABLE,
    PARALLEL = SAFE
);
COMMENT ON AGGREGATE meter_internal.settle_timeline("char", timestamptz, text, text[], numeric, timestamptz, timestamptz, text, jsonb) IS
'internal: the timeline of one resource from its carried state (kind o: open since at, last known alive at alive; x: closed; absent: last known not running), its events (s start, p stop, c change) and what snapshots of a source say of it (h: the resource is there, g: it is not; observation: since, alive, absent, tolerance), with account, dimensions and value as attributes of their own; empty accounts count as left out';

CREATE TYPE meter_internal.finding AS (
    source text, at timestamptz, was_active boolean, effect text, effect_from timestamptz, effect_to timestamptz,
    alive timestamptz, absent timestamptz);
COMMENT ON TYPE meter_internal.finding IS
'what a snapshot finds of one resource: did it run before, and does the snapshot agree, change its attributes, end its run at effect_from, open one there, cut a gap up to effect_to, or bear on a later observation (evidence), or have a resource that belongs to another source (foreign); alive, absent: what other snapshots showed that matters for it';

CREATE FUNCTION meter_internal.settle_findings_final(internal)
RETURNS meter_internal.finding[]
LANGUAGE C IMMUTABLE PARALLEL SAFE
AS 'MODULE_PATHNAME', 'meter_settle_findings_final';
COMMENT ON FUNCTION meter_internal.settle_findings_final(internal) IS
'internal: result of meter_internal.settle_findings()';

CREATE AGGREGATE meter_internal.settle_findings(kind "char", at timestamptz, account text, dimensions text[], value numeric, alive timestamptz, absent timestamptz, source text, observation jsonb) (
    SFUNC = meter_internal.settle_timeline_add,
    STYPE = internal,
    SSPACE = 400,
    FINALFUNC = meter_internal.settle_findings_final,
    FINALFUNC_MODIFY = SHAREABLE,
    PARALLEL = SAFE
);
COMMENT ON AGGREGATE meter_internal.settle_findings("char", timestamptz, text, text[], numeric, timestamptz, timestamptz, text, jsonb) IS
'internal: what snapshots find of one resource that are not logged (kind H: the resource is there, G: it is not; K and k: likewise, from before the carried state); other rows as for meter_internal.settle_timeline(); left out are those that agree that it did not run';

CREATE FUNCTION meter_internal.observation_instant(attributes jsonb, key text)
RETURNS timestamptz
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'meter_observation_instant';
COMMENT ON FUNCTION meter_internal.observation_instant(jsonb, text) IS
'internal: an instant that a reconciled:* row of an event log names in its attributes (since, alive, absent); null if there is none';

CREATE FUNCTION meter_internal.settle_state(timeline bytea)
RETURNS meter_internal.resource_state
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'meter_settle_state';
COMMENT ON FUNCTION meter_internal.settle_state(bytea) IS
'internal: what is known of the resource after the last event of a result of meter_internal.settle_timeline()';

CREATE FUNCTION meter_internal.settle_rows(spec text[], resource text, timeline bytea, begin_at timestamptz, end_at timestamptz)
RETURNS SETOF meter_internal.settle_row
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE COST 20 ROWS 2
AS 'MODULE_PATHNAME', 'meter_settle_rows';
COMMENT ON FUNCTION meter_internal.settle_rows(text[], text, bytea, timestamptz, timestamptz) IS
'internal: the usage rows of a resource in [begin_at, end_at) from a result of meter_internal.settle_timeline(); spec: stream, meter, aggregate, period, increment, rounding, unit in microseconds, time zone, dimensions';

CREATE FUNCTION meter_internal.settle_transaction_id(spec text[], resource text, account text, dimensions text[], period_start timestamptz)
RETURNS uuid
LANGUAGE C IMMUTABLE PARALLEL SAFE
AS 'MODULE_PATHNAME', 'meter_settle_transaction_id';
COMMENT ON FUNCTION meter_internal.settle_transaction_id(text[], text, text, text[], timestamptz) IS
'internal: the transaction ID of the first usage row of a key, its dimensions in the meter''s order; account null: unknown';

CREATE FUNCTION meter_internal.settle_dimensions(spec text[], dimensions text[])
RETURNS jsonb
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'meter_settle_dimensions';
COMMENT ON FUNCTION meter_internal.settle_dimensions(text[], text[]) IS
'internal: dimensions in the meter''s order as usage rows have them';

CREATE FUNCTION meter_internal.settle_quantity(spec text[], value numeric, period_start timestamptz)
RETURNS numeric
LANGUAGE C IMMUTABLE PARALLEL SAFE
AS 'MODULE_PATHNAME', 'meter_settle_quantity';
COMMENT ON FUNCTION meter_internal.settle_quantity(text[], numeric, timestamptz) IS
'internal: the quantity of a period throughout which a resource runs, for a weighted meter with that value (null: null)';

CREATE FUNCTION meter_internal.settle_periods(spec text[], begin_at timestamptz, end_at timestamptz)
RETURNS SETOF timestamptz
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE ROWS 24
AS 'MODULE_PATHNAME', 'meter_settle_periods';
COMMENT ON FUNCTION meter_internal.settle_periods(text[], timestamptz, timestamptz) IS
'internal: the beginnings of a meter''s periods from the one that holds begin_at, before end_at';

CREATE FUNCTION meter_internal.settle_period_begin(spec text[], at timestamptz)
RETURNS timestamptz
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'meter_settle_period_begin';
COMMENT ON FUNCTION meter_internal.settle_period_begin(text[], timestamptz) IS
'internal: the beginning of the period of a meter that holds an instant';

CREATE FUNCTION meter_internal.settle_spans(
    spec text[], timeline bytea, rounded boolean, begin_at timestamptz, end_at timestamptz,
    OUT span_begin timestamptz, OUT span_end timestamptz, OUT account text, OUT dimensions jsonb, OUT value numeric)
RETURNS SETOF record
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'meter_settle_spans';
COMMENT ON FUNCTION meter_internal.settle_spans(text[], bytea, boolean, timestamptz, timestamptz) IS
'internal: the spans of a resource that meet [begin_at, end_at), as the events made them or rounded, from a result of meter_internal.settle_timeline()';
