-- timeline: the type, the aggregates that make one, and what can be asked of it. Nothing here needs a stream.

-- --- the type ---------------------------------------------------------------------------------------------------------

CREATE TYPE meter.timeline;

CREATE FUNCTION meter_internal.timeline_in(cstring) RETURNS meter.timeline
	LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE COST 10 AS 'MODULE_PATHNAME', 'meter_timeline_in';
CREATE FUNCTION meter_internal.timeline_out(meter.timeline) RETURNS cstring
	LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE COST 10 AS 'MODULE_PATHNAME', 'meter_timeline_out';
CREATE FUNCTION meter_internal.timeline_recv(internal) RETURNS meter.timeline
	LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE COST 10 AS 'MODULE_PATHNAME', 'meter_timeline_recv';
CREATE FUNCTION meter_internal.timeline_send(meter.timeline) RETURNS bytea
	LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE COST 10 AS 'MODULE_PATHNAME', 'meter_timeline_send';

CREATE TYPE meter.timeline (
	INPUT = meter_internal.timeline_in,
	OUTPUT = meter_internal.timeline_out,
	RECEIVE = meter_internal.timeline_recv,
	SEND = meter_internal.timeline_send,
	INTERNALLENGTH = VARIABLE,
	ALIGNMENT = int4,
	STORAGE = extended
);
COMMENT ON TYPE meter.timeline IS 'one resource''s step function of time: spans [from, to) in order, each with a label and a value, such as {[2024-03-05T10:00:00Z,2024-03-05T10:30:00Z) "large" 4}';

COMMENT ON FUNCTION meter_internal.timeline_in(cstring) IS 'timeline from its text form; 22P02 with position and reason where it is none';
COMMENT ON FUNCTION meter_internal.timeline_out(meter.timeline) IS 'text form of a timeline: always in UTC, one text for each value';
COMMENT ON FUNCTION meter_internal.timeline_recv(internal) IS 'timeline from its binary form; 22P03 with position and reason where it is none';
COMMENT ON FUNCTION meter_internal.timeline_send(meter.timeline) IS 'binary form of a timeline: a version byte, then as stored, labels in UTF-8';

CREATE FUNCTION meter_internal.timeline_eq(meter.timeline, meter.timeline) RETURNS boolean
	LANGUAGE c IMMUTABLE STRICT LEAKPROOF PARALLEL SAFE COST 2 AS 'MODULE_PATHNAME', 'meter_timeline_eq';
COMMENT ON FUNCTION meter_internal.timeline_eq(meter.timeline, meter.timeline) IS 'do two timelines say the same?';
CREATE FUNCTION meter_internal.timeline_ne(meter.timeline, meter.timeline) RETURNS boolean
	LANGUAGE c IMMUTABLE STRICT LEAKPROOF PARALLEL SAFE COST 2 AS 'MODULE_PATHNAME', 'meter_timeline_ne';
COMMENT ON FUNCTION meter_internal.timeline_ne(meter.timeline, meter.timeline) IS 'do two timelines say different things?';
CREATE FUNCTION meter_internal.timeline_hash(meter.timeline) RETURNS integer
	LANGUAGE c IMMUTABLE STRICT LEAKPROOF PARALLEL SAFE COST 2 AS 'MODULE_PATHNAME', 'meter_timeline_hash';
COMMENT ON FUNCTION meter_internal.timeline_hash(meter.timeline) IS 'hash of a timeline';
CREATE FUNCTION meter_internal.timeline_hash_extended(meter.timeline, bigint) RETURNS bigint
	LANGUAGE c IMMUTABLE STRICT LEAKPROOF PARALLEL SAFE COST 2 AS 'MODULE_PATHNAME', 'meter_timeline_hash_extended';
COMMENT ON FUNCTION meter_internal.timeline_hash_extended(meter.timeline, bigint) IS 'hash of a timeline with a seed';

-- in pg_catalog, so that they are found whatever the search path
CREATE OPERATOR pg_catalog.= (
	LEFTARG = meter.timeline, RIGHTARG = meter.timeline, FUNCTION = meter_internal.timeline_eq,
	COMMUTATOR = OPERATOR(pg_catalog.=), NEGATOR = OPERATOR(pg_catalog.<>),
	RESTRICT = eqsel, JOIN = eqjoinsel, HASHES
);
COMMENT ON OPERATOR pg_catalog.= (meter.timeline, meter.timeline) IS 'the same timeline';
CREATE OPERATOR pg_catalog.<> (
	LEFTARG = meter.timeline, RIGHTARG = meter.timeline, FUNCTION = meter_internal.timeline_ne,
	COMMUTATOR = OPERATOR(pg_catalog.<>), NEGATOR = OPERATOR(pg_catalog.=),
	RESTRICT = neqsel, JOIN = neqjoinsel
);
COMMENT ON OPERATOR pg_catalog.<> (meter.timeline, meter.timeline) IS 'different timelines';

CREATE OPERATOR CLASS meter.timeline_ops DEFAULT FOR TYPE meter.timeline USING hash AS
	OPERATOR 1 pg_catalog.=,
	FUNCTION 1 meter_internal.timeline_hash(meter.timeline),
	FUNCTION 2 meter_internal.timeline_hash_extended(meter.timeline, bigint);
COMMENT ON OPERATOR CLASS meter.timeline_ops USING hash IS 'equality of timelines, so that they can be grouped, joined and told apart';
COMMENT ON OPERATOR FAMILY meter.timeline_ops USING hash IS 'equality of timelines';

-- --- events to timelines ----------------------------------------------------------------------------------------------

CREATE FUNCTION meter_internal.events_accum(internal, timestamptz, boolean) RETURNS internal
	LANGUAGE c IMMUTABLE PARALLEL SAFE COST 1 AS 'MODULE_PATHNAME', 'meter_events_accum';
CREATE FUNCTION meter_internal.events_accum(internal, timestamptz, boolean, text) RETURNS internal
	LANGUAGE c IMMUTABLE PARALLEL SAFE COST 2 AS 'MODULE_PATHNAME', 'meter_events_accum';
CREATE FUNCTION meter_internal.events_accum(internal, timestamptz, boolean, text, numeric) RETURNS internal
	LANGUAGE c IMMUTABLE PARALLEL SAFE COST 4 AS 'MODULE_PATHNAME', 'meter_events_accum';
CREATE FUNCTION meter_internal.events_accum_window(internal, timestamptz, boolean, tstzrange) RETURNS internal
	LANGUAGE c IMMUTABLE PARALLEL SAFE COST 1 AS 'MODULE_PATHNAME', 'meter_events_accum_window';
CREATE FUNCTION meter_internal.events_accum_window(internal, timestamptz, boolean, tstzrange, interval) RETURNS internal
	LANGUAGE c IMMUTABLE PARALLEL SAFE COST 1 AS 'MODULE_PATHNAME', 'meter_events_accum_window';
CREATE FUNCTION meter_internal.events_combine(internal, internal) RETURNS internal
	LANGUAGE c IMMUTABLE PARALLEL SAFE COST 1 AS 'MODULE_PATHNAME', 'meter_events_combine';
CREATE FUNCTION meter_internal.events_serialize(internal) RETURNS bytea
	LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE COST 1 AS 'MODULE_PATHNAME', 'meter_events_serialize';
CREATE FUNCTION meter_internal.events_deserialize(bytea, internal) RETURNS internal
	LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE COST 1 AS 'MODULE_PATHNAME', 'meter_events_deserialize';
CREATE FUNCTION meter_internal.events_timeline(internal) RETURNS meter.timeline
	LANGUAGE c IMMUTABLE PARALLEL SAFE COST 50 AS 'MODULE_PATHNAME', 'meter_events_timeline';
CREATE FUNCTION meter_internal.events_billed(internal) RETURNS interval
	LANGUAGE c IMMUTABLE PARALLEL SAFE COST 10 AS 'MODULE_PATHNAME', 'meter_events_billed';

COMMENT ON FUNCTION meter_internal.events_accum(internal, timestamptz, boolean) IS 'transition of meter.timeline and meter.billed';
COMMENT ON FUNCTION meter_internal.events_accum(internal, timestamptz, boolean, text) IS 'transition of meter.timeline';
COMMENT ON FUNCTION meter_internal.events_accum(internal, timestamptz, boolean, text, numeric) IS 'transition of meter.timeline';
COMMENT ON FUNCTION meter_internal.events_accum_window(internal, timestamptz, boolean, tstzrange) IS 'transition of meter.billed';
COMMENT ON FUNCTION meter_internal.events_accum_window(internal, timestamptz, boolean, tstzrange, interval) IS 'transition of meter.billed';
COMMENT ON FUNCTION meter_internal.events_combine(internal, internal) IS 'two partial states of meter.timeline or meter.billed to one';
COMMENT ON FUNCTION meter_internal.events_serialize(internal) IS 'partial state of meter.timeline or meter.billed as bytes';
COMMENT ON FUNCTION meter_internal.events_deserialize(bytea, internal) IS 'partial state of meter.timeline or meter.billed from bytes';
COMMENT ON FUNCTION meter_internal.events_timeline(internal) IS 'result of meter.timeline';
COMMENT ON FUNCTION meter_internal.events_billed(internal) IS 'result of meter.billed';

CREATE AGGREGATE meter.timeline("time" timestamptz, active boolean) (
	SFUNC = meter_internal.events_accum, STYPE = internal, SSPACE = 256,
	COMBINEFUNC = meter_internal.events_combine, SERIALFUNC = meter_internal.events_serialize, DESERIALFUNC = meter_internal.events_deserialize,
	FINALFUNC = meter_internal.events_timeline, FINALFUNC_MODIFY = READ_ONLY, PARALLEL = SAFE
);
COMMENT ON AGGREGATE meter.timeline(timestamptz, boolean) IS
'timeline of a resource''s events in any order; NULL without rows
time: when it happened; rows without a time do not count
active: true for a start, false for a stop, NULL for a change
raises 22008 for infinite times, 54000 for more events than a group can hold';

CREATE AGGREGATE meter.timeline("time" timestamptz, active boolean, label text) (
	SFUNC = meter_internal.events_accum, STYPE = internal, SSPACE = 1024,
	COMBINEFUNC = meter_internal.events_combine, SERIALFUNC = meter_internal.events_serialize, DESERIALFUNC = meter_internal.events_deserialize,
	FINALFUNC = meter_internal.events_timeline, FINALFUNC_MODIFY = READ_ONLY, PARALLEL = SAFE
);
COMMENT ON AGGREGATE meter.timeline(timestamptz, boolean, text) IS
'timeline of a resource''s events with labels; otherwise as without
label: what a start or a change sets; NULL keeps the one before';

CREATE AGGREGATE meter.timeline("time" timestamptz, active boolean, label text, value numeric) (
	SFUNC = meter_internal.events_accum, STYPE = internal, SSPACE = 1024,
	COMBINEFUNC = meter_internal.events_combine, SERIALFUNC = meter_internal.events_serialize, DESERIALFUNC = meter_internal.events_deserialize,
	FINALFUNC = meter_internal.events_timeline, FINALFUNC_MODIFY = READ_ONLY, PARALLEL = SAFE
);
COMMENT ON AGGREGATE meter.timeline(timestamptz, boolean, text, numeric) IS
'timeline of a resource''s events with labels and values; otherwise as without
value: what a start or a change sets; NULL keeps the one before
raises 22003 for NaN and infinite values';

CREATE AGGREGATE meter.billed("time" timestamptz, active boolean) (
	SFUNC = meter_internal.events_accum, STYPE = internal, SSPACE = 256,
	COMBINEFUNC = meter_internal.events_combine, SERIALFUNC = meter_internal.events_serialize, DESERIALFUNC = meter_internal.events_deserialize,
	FINALFUNC = meter_internal.events_billed, FINALFUNC_MODIFY = READ_ONLY, PARALLEL = SAFE
);
COMMENT ON AGGREGATE meter.billed(timestamptz, boolean) IS
'time a resource was active, exact, in hours and smaller: meter.duration(meter.timeline("time", active)) in one step
time: when it happened; rows without a time do not count
active: true for a start, false for a stop, NULL for a change';

CREATE AGGREGATE meter.billed("time" timestamptz, active boolean, during tstzrange) (
	SFUNC = meter_internal.events_accum_window, STYPE = internal, SSPACE = 256,
	COMBINEFUNC = meter_internal.events_combine, SERIALFUNC = meter_internal.events_serialize, DESERIALFUNC = meter_internal.events_deserialize,
	FINALFUNC = meter_internal.events_billed, FINALFUNC_MODIFY = READ_ONLY, PARALLEL = SAFE
);
COMMENT ON AGGREGATE meter.billed(timestamptz, boolean, tstzrange) IS
'meter.duration(meter.timeline("time", active), during) in one step
during: only within this window; NULL: all
raises 22023 where the window is not the same for all rows of a group';

CREATE AGGREGATE meter.billed("time" timestamptz, active boolean, during tstzrange, increment interval) (
	SFUNC = meter_internal.events_accum_window, STYPE = internal, SSPACE = 256,
	COMBINEFUNC = meter_internal.events_combine, SERIALFUNC = meter_internal.events_serialize, DESERIALFUNC = meter_internal.events_deserialize,
	FINALFUNC = meter_internal.events_billed, FINALFUNC_MODIFY = READ_ONLY, PARALLEL = SAFE
);
COMMENT ON AGGREGATE meter.billed(timestamptz, boolean, tstzrange, interval) IS
'meter.duration(meter.timeline("time", active), during, increment) in one step
increment: rounded up to units of it; NULL: exact
raises 22023 where window or increment are not the same for all rows of a group';

CREATE FUNCTION meter_internal.levels_accum(internal, timestamptz, numeric) RETURNS internal
	LANGUAGE c IMMUTABLE PARALLEL SAFE COST 4 AS 'MODULE_PATHNAME', 'meter_levels_accum';
COMMENT ON FUNCTION meter_internal.levels_accum(internal, timestamptz, numeric) IS 'transition of meter.levels';
CREATE FUNCTION meter_internal.levels_timeline(internal) RETURNS meter.timeline
	LANGUAGE c IMMUTABLE PARALLEL SAFE COST 50 AS 'MODULE_PATHNAME', 'meter_levels_timeline';
COMMENT ON FUNCTION meter_internal.levels_timeline(internal) IS 'result of meter.levels';

CREATE AGGREGATE meter.levels("time" timestamptz, delta numeric) (
	SFUNC = meter_internal.levels_accum, STYPE = internal, SSPACE = 1024,
	COMBINEFUNC = meter_internal.events_combine, SERIALFUNC = meter_internal.events_serialize, DESERIALFUNC = meter_internal.events_deserialize,
	FINALFUNC = meter_internal.levels_timeline, FINALFUNC_MODIFY = READ_ONLY, PARALLEL = SAFE
);
COMMENT ON AGGREGATE meter.levels(timestamptz, numeric) IS
'timeline whose value is the running sum of increases and decreases, active while it is not 0; NULL without rows
time: when it changed; what changed at one instant is taken together; rows without a time do not count
delta: by how much; rows without it do not count
raises 22003 for NaN and infinite deltas, 22008 for infinite times, 54000 for more than a group can hold';

-- --- stretches of time to timelines --------------------------------------------------------------------------------------

CREATE FUNCTION meter_internal.heartbeats_accum(internal, timestamptz, interval) RETURNS internal
	LANGUAGE c IMMUTABLE PARALLEL SAFE COST 1 AS 'MODULE_PATHNAME', 'meter_heartbeats_accum';
COMMENT ON FUNCTION meter_internal.heartbeats_accum(internal, timestamptz, interval) IS 'transition of meter.heartbeats';
CREATE FUNCTION meter_internal.merge_accum(internal, meter.timeline) RETURNS internal
	LANGUAGE c IMMUTABLE PARALLEL SAFE COST 20 AS 'MODULE_PATHNAME', 'meter_merge_accum';
COMMENT ON FUNCTION meter_internal.merge_accum(internal, meter.timeline) IS 'transition of meter.merge';
CREATE FUNCTION meter_internal.cover_combine(internal, internal) RETURNS internal
	LANGUAGE c IMMUTABLE PARALLEL SAFE COST 1 AS 'MODULE_PATHNAME', 'meter_cover_combine';
COMMENT ON FUNCTION meter_internal.cover_combine(internal, internal) IS 'two partial states of meter.heartbeats or meter.merge to one';
CREATE FUNCTION meter_internal.cover_serialize(internal) RETURNS bytea
	LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE COST 1 AS 'MODULE_PATHNAME', 'meter_cover_serialize';
COMMENT ON FUNCTION meter_internal.cover_serialize(internal) IS 'partial state of meter.heartbeats or meter.merge as bytes';
CREATE FUNCTION meter_internal.cover_deserialize(bytea, internal) RETURNS internal
	LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE COST 1 AS 'MODULE_PATHNAME', 'meter_cover_deserialize';
COMMENT ON FUNCTION meter_internal.cover_deserialize(bytea, internal) IS 'partial state of meter.heartbeats or meter.merge from bytes';
CREATE FUNCTION meter_internal.cover_timeline(internal) RETURNS meter.timeline
	LANGUAGE c IMMUTABLE PARALLEL SAFE COST 50 AS 'MODULE_PATHNAME', 'meter_cover_timeline';
COMMENT ON FUNCTION meter_internal.cover_timeline(internal) IS 'result of meter.heartbeats and meter.merge';

CREATE AGGREGATE meter.heartbeats("time" timestamptz, liveness interval) (
	SFUNC = meter_internal.heartbeats_accum, STYPE = internal, SSPACE = 256,
	COMBINEFUNC = meter_internal.cover_combine, SERIALFUNC = meter_internal.cover_serialize, DESERIALFUNC = meter_internal.cover_deserialize,
	FINALFUNC = meter_internal.cover_timeline, FINALFUNC_MODIFY = READ_ONLY, PARALLEL = SAFE
);
COMMENT ON AGGREGATE meter.heartbeats(timestamptz, interval) IS
'timeline active for a time after each sign of life; NULL without rows
time: when there was one; rows without a time do not count
liveness: for how long it counts (days and smaller, a day being 24 hours); rows without it do not count
raises 22023 for a liveness that is not positive, 22008 for infinite times, 54000 for more separate stretches than a group can hold';

CREATE AGGREGATE meter.merge(timeline meter.timeline) (
	SFUNC = meter_internal.merge_accum, STYPE = internal, SSPACE = 256,
	COMBINEFUNC = meter_internal.cover_combine, SERIALFUNC = meter_internal.cover_serialize, DESERIALFUNC = meter_internal.cover_deserialize,
	FINALFUNC = meter_internal.cover_timeline, FINALFUNC_MODIFY = READ_ONLY, PARALLEL = SAFE
);
COMMENT ON AGGREGATE meter.merge(meter.timeline) IS 'timeline active where any of the timelines is, without label and value; NULL without timelines; 54000 for more separate stretches than a group can hold';

-- --- what can be asked of a timeline ------------------------------------------------------------------------------------

CREATE FUNCTION meter.duration(timeline meter.timeline, during tstzrange DEFAULT NULL, increment interval DEFAULT NULL,
		rounding text DEFAULT NULL) RETURNS interval
	LANGUAGE c IMMUTABLE PARALLEL SAFE COST 20 AS 'MODULE_PATHNAME', 'meter_timeline_duration';
COMMENT ON FUNCTION meter.duration(meter.timeline, tstzrange, interval, text) IS
'time active, in hours and smaller; each label is rounded on its own
timeline: of the resource
during: only within this window; null: all, an open run up to the last event
increment: rounded to units of it, which divide 24 hours (UTC)
rounding: up (default with an increment), down, nearest or none (default without)
raises 22008 for an open run in a window without an end, 22023 for bad arguments';

CREATE FUNCTION meter.weighted(timeline meter.timeline, during tstzrange DEFAULT NULL, unit interval DEFAULT '1 second') RETURNS numeric
	LANGUAGE c IMMUTABLE PARALLEL SAFE COST 50 AS 'MODULE_PATHNAME', 'meter_timeline_weighted';
COMMENT ON FUNCTION meter.weighted(meter.timeline, tstzrange, interval) IS
'sum of value times time active, in value times unit: exact where that is a finite decimal, else rounded half away from zero at the 12th digit
timeline: of the resource; no value counts as 0
during: only within this window; null: all, an open run up to the last event
unit: the time that counts as 1
raises errors as meter.duration';

CREATE FUNCTION meter.spans(timeline meter.timeline, OUT during tstzrange, OUT label text, OUT value numeric) RETURNS SETOF record
	LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE COST 20 ROWS 20 AS 'MODULE_PATHNAME', 'meter_timeline_spans';
COMMENT ON FUNCTION meter.spans(meter.timeline) IS 'spans of a timeline in order: range [from, to), without an upper bound where it is open, label and value';

CREATE FUNCTION meter.periods(timeline meter.timeline, during tstzrange, period interval, increment interval DEFAULT NULL,
		rounding text DEFAULT NULL, timezone text DEFAULT 'UTC',
		OUT period_start timestamptz, OUT label text, OUT value numeric, OUT billed interval) RETURNS SETOF record
	LANGUAGE c STABLE PARALLEL SAFE COST 50 ROWS 100 AS 'MODULE_PATHNAME', 'meter_timeline_periods';
COMMENT ON FUNCTION meter.periods(meter.timeline, tstzrange, interval, interval, text, text) IS
'time active by period, label and value, where there is any
timeline: of the resource
during: only within this window; null: all, an open run up to the last event
period: divides 24 hours and is a multiple of the increment, or is 1 day, 1 week, or 1, 2, 3, 4, 6 or 12 months
increment: as of meter.duration, counted from local midnight
rounding: as of meter.duration
timezone: where days begin
raises errors as meter.duration';

CREATE FUNCTION meter.active_at(timeline meter.timeline, at timestamptz) RETURNS boolean
	LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE COST 10 AS 'MODULE_PATHNAME', 'meter_timeline_active_at';
COMMENT ON FUNCTION meter.active_at(meter.timeline, timestamptz) IS
'whether the resource was active at an instant: from a span''s beginning on and before its end; an open run is from its start on
timeline: of the resource
at: the instant';
