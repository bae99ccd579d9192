-- event: the type, and what can be asked of one. Nothing here needs a stream.

CREATE TYPE meter.event;

-- stable: meter.on_bad_event has a say
CREATE FUNCTION meter_internal.event_in(cstring) RETURNS meter.event
	LANGUAGE c STABLE STRICT PARALLEL SAFE COST 10 AS 'MODULE_PATHNAME', 'meter_event_in';
CREATE FUNCTION meter_internal.event_out(meter.event) RETURNS cstring
	LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE COST 10 AS 'MODULE_PATHNAME', 'meter_record_out';

CREATE TYPE meter.event (
	INPUT = meter_internal.event_in,
	OUTPUT = meter_internal.event_out,
	INTERNALLENGTH = VARIABLE,
	ALIGNMENT = int4,
	STORAGE = extended
);
COMMENT ON TYPE meter.event IS 'one usage event, such as {"time":"2016-12-12T15:48:32Z","resource":"vm-1","action":"create","account":"geneva-jug"}: time, resource and action, and perhaps sequence, account, entity, offering, value, source, id and attributes of any name; read from JSON, EDN and CloudEvents';

COMMENT ON FUNCTION meter_internal.event_in(cstring) IS 'event from a JSON map, an EDN map or a CloudEvent in JSON; 22P02 with position, key and what was expected where it is none, or a bad event where meter.on_bad_event is divert';
COMMENT ON FUNCTION meter_internal.event_out(meter.event) IS 'canonical JSON of an event on one line: time, sequence, resource, action, account, entity, offering, value, source, id, then the attributes by name; of a bad event, its raw text';

-- --- from texts, and as jsonb ----------------------------------------------------------------------------------------

CREATE FUNCTION meter_internal.event_from_jsonb(jsonb) RETURNS meter.event
	LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE COST 20 AS 'MODULE_PATHNAME', 'meter_event_from_jsonb';
COMMENT ON FUNCTION meter_internal.event_from_jsonb(jsonb) IS 'event from a jsonb, which says what its text says; 22P02 where it is none, whatever meter.on_bad_event is';
CREATE FUNCTION meter_internal.event_to_jsonb(meter.event) RETURNS jsonb
	LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE COST 20 AS 'MODULE_PATHNAME', 'meter_record_to_jsonb';
COMMENT ON FUNCTION meter_internal.event_to_jsonb(meter.event) IS 'jsonb that says what an event says';

CREATE CAST (text AS meter.event) WITH INOUT AS ASSIGNMENT;
COMMENT ON CAST (text AS meter.event) IS 'event from a text, as input reads it, so that a parameter of type text can be inserted';
CREATE CAST (varchar AS meter.event) WITH INOUT AS ASSIGNMENT;
COMMENT ON CAST (varchar AS meter.event) IS 'event from a text, as input reads it, so that a parameter of type varchar can be inserted';
CREATE CAST (jsonb AS meter.event) WITH FUNCTION meter_internal.event_from_jsonb(jsonb) AS ASSIGNMENT;
COMMENT ON CAST (jsonb AS meter.event) IS 'event from a jsonb map: known keys become its fields, others its attributes';
CREATE CAST (meter.event AS jsonb) WITH FUNCTION meter_internal.event_to_jsonb(meter.event) AS ASSIGNMENT;
COMMENT ON CAST (meter.event AS jsonb) IS 'fields and attributes of an event as one map';

-- --- what can be asked of one -----------------------------------------------------------------------------------------

CREATE FUNCTION meter_internal.event_get(event meter.event, name text) RETURNS text
	LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE COST 2 AS 'MODULE_PATHNAME', 'meter_record_get';
COMMENT ON FUNCTION meter_internal.event_get(meter.event, text) IS 'field or attribute of an event, as text: strings as they are, anything else as JSON; NULL where it has none of that name, or a null';
CREATE FUNCTION meter.event_time(event meter.event) RETURNS timestamptz
	LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE COST 1 AS 'MODULE_PATHNAME', 'meter_record_time';
COMMENT ON FUNCTION meter.event_time(meter.event) IS 'time of an event, which event ->> ''time'' gives as text; 22P02 for a bad event';
CREATE FUNCTION meter.event_value(event meter.event) RETURNS numeric
	LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE COST 2 AS 'MODULE_PATHNAME', 'meter_record_value';
COMMENT ON FUNCTION meter.event_value(meter.event) IS 'value of an event as a number, which event ->> ''value'' gives as text; NULL where the event does not say; 22P02 for a bad event';
CREATE FUNCTION meter.event_attributes(event meter.event) RETURNS jsonb
	LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE COST 10 AS 'MODULE_PATHNAME', 'meter_record_attributes';
COMMENT ON FUNCTION meter.event_attributes(meter.event) IS 'attributes of an event, as a jsonb map; NULL where it has none; 22P02 for a bad event';

-- in pg_catalog, as those of timelines, so that they are found whatever the search path
CREATE OPERATOR pg_catalog.->> (LEFTARG = meter.event, RIGHTARG = text, FUNCTION = meter_internal.event_get);
COMMENT ON OPERATOR pg_catalog.->> (meter.event, text) IS 'field or attribute of an event, as text: strings as they are, anything else as JSON; NULL where it has none of that name; 22P02 for a bad event';

-- --- order ------------------------------------------------------------------------------------------------------------

CREATE FUNCTION meter_internal.event_eq(meter.event, meter.event) RETURNS boolean
	LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE COST 1 AS 'MODULE_PATHNAME', 'meter_record_eq';
COMMENT ON FUNCTION meter_internal.event_eq(meter.event, meter.event) IS 'do two events say the same?';
CREATE FUNCTION meter_internal.event_ne(meter.event, meter.event) RETURNS boolean
	LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE COST 1 AS 'MODULE_PATHNAME', 'meter_record_ne';
COMMENT ON FUNCTION meter_internal.event_ne(meter.event, meter.event) IS 'do two events say different things?';
CREATE FUNCTION meter_internal.event_lt(meter.event, meter.event) RETURNS boolean
	LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE COST 1 AS 'MODULE_PATHNAME', 'meter_record_lt';
COMMENT ON FUNCTION meter_internal.event_lt(meter.event, meter.event) IS 'does the first event come before the second?';
CREATE FUNCTION meter_internal.event_le(meter.event, meter.event) RETURNS boolean
	LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE COST 1 AS 'MODULE_PATHNAME', 'meter_record_le';
COMMENT ON FUNCTION meter_internal.event_le(meter.event, meter.event) IS 'does the first event come before the second, or are they equal?';
CREATE FUNCTION meter_internal.event_gt(meter.event, meter.event) RETURNS boolean
	LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE COST 1 AS 'MODULE_PATHNAME', 'meter_record_gt';
COMMENT ON FUNCTION meter_internal.event_gt(meter.event, meter.event) IS 'does the first event come after the second?';
CREATE FUNCTION meter_internal.event_ge(meter.event, meter.event) RETURNS boolean
	LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE COST 1 AS 'MODULE_PATHNAME', 'meter_record_ge';
COMMENT ON FUNCTION meter_internal.event_ge(meter.event, meter.event) IS 'does the first event come after the second, or are they equal?';
CREATE FUNCTION meter_internal.event_cmp(meter.event, meter.event) RETURNS integer
	LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE COST 1 AS 'MODULE_PATHNAME', 'meter_record_compare';
COMMENT ON FUNCTION meter_internal.event_cmp(meter.event, meter.event) IS 'order of two events, below, equal to or above 0: by time, then sequence, resource, action, account, entity, offering, value, source, id and attributes; texts as bytes, sequence and value as numbers, what is left out first';
CREATE FUNCTION meter_internal.event_hash(meter.event) RETURNS integer
	LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE COST 1 AS 'MODULE_PATHNAME', 'meter_record_hash';
COMMENT ON FUNCTION meter_internal.event_hash(meter.event) IS 'hash of an event';
CREATE FUNCTION meter_internal.event_hash_extended(meter.event, bigint) RETURNS bigint
	LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE COST 1 AS 'MODULE_PATHNAME', 'meter_record_hash_extended';
COMMENT ON FUNCTION meter_internal.event_hash_extended(meter.event, bigint) IS 'hash of an event with a seed';

CREATE OPERATOR pg_catalog.= (
	LEFTARG = meter.event, RIGHTARG = meter.event, FUNCTION = meter_internal.event_eq,
	COMMUTATOR = OPERATOR(pg_catalog.=), NEGATOR = OPERATOR(pg_catalog.<>),
	RESTRICT = eqsel, JOIN = eqjoinsel, HASHES, MERGES
);
COMMENT ON OPERATOR pg_catalog.= (meter.event, meter.event) IS 'the same event';
CREATE OPERATOR pg_catalog.<> (
	LEFTARG = meter.event, RIGHTARG = meter.event, FUNCTION = meter_internal.event_ne,
	COMMUTATOR = OPERATOR(pg_catalog.<>), NEGATOR = OPERATOR(pg_catalog.=),
	RESTRICT = neqsel, JOIN = neqjoinsel
);
COMMENT ON OPERATOR pg_catalog.<> (meter.event, meter.event) IS 'different events';
CREATE OPERATOR pg_catalog.< (
	LEFTARG = meter.event, RIGHTARG = meter.event, FUNCTION = meter_internal.event_lt,
	COMMUTATOR = OPERATOR(pg_catalog.>), NEGATOR = OPERATOR(pg_catalog.>=),
	RESTRICT = scalarltsel, JOIN = scalarltjoinsel
);
COMMENT ON OPERATOR pg_catalog.< (meter.event, meter.event) IS 'earlier, or at one time the lesser';
CREATE OPERATOR pg_catalog.<= (
	LEFTARG = meter.event, RIGHTARG = meter.event, FUNCTION = meter_internal.event_le,
	COMMUTATOR = OPERATOR(pg_catalog.>=), NEGATOR = OPERATOR(pg_catalog.>),
	RESTRICT = scalarlesel, JOIN = scalarlejoinsel
);
COMMENT ON OPERATOR pg_catalog.<= (meter.event, meter.event) IS 'not later';
CREATE OPERATOR pg_catalog.> (
	LEFTARG = meter.event, RIGHTARG = meter.event, FUNCTION = meter_internal.event_gt,
	COMMUTATOR = OPERATOR(pg_catalog.<), NEGATOR = OPERATOR(pg_catalog.<=),
	RESTRICT = scalargtsel, JOIN = scalargtjoinsel
);
COMMENT ON OPERATOR pg_catalog.> (meter.event, meter.event) IS 'later, or at one time the greater';
CREATE OPERATOR pg_catalog.>= (
	LEFTARG = meter.event, RIGHTARG = meter.event, FUNCTION = meter_internal.event_ge,
	COMMUTATOR = OPERATOR(pg_catalog.<=), NEGATOR = OPERATOR(pg_catalog.<),
	RESTRICT = scalargesel, JOIN = scalargejoinsel
);
COMMENT ON OPERATOR pg_catalog.>= (meter.event, meter.event) IS 'not earlier';

CREATE OPERATOR CLASS meter.event_ops DEFAULT FOR TYPE meter.event USING btree AS
	OPERATOR 1 pg_catalog.<,
	OPERATOR 2 pg_catalog.<=,
	OPERATOR 3 pg_catalog.=,
	OPERATOR 4 pg_catalog.>=,
	OPERATOR 5 pg_catalog.>,
	FUNCTION 1 meter_internal.event_cmp(meter.event, meter.event);
COMMENT ON OPERATOR CLASS meter.event_ops USING btree IS 'events by time, then by what else they say';
COMMENT ON OPERATOR FAMILY meter.event_ops USING btree IS 'order of events';
CREATE OPERATOR CLASS meter.event_ops DEFAULT FOR TYPE meter.event USING hash AS
	OPERATOR 1 pg_catalog.=,
	FUNCTION 1 meter_internal.event_hash(meter.event),
	FUNCTION 2 meter_internal.event_hash_extended(meter.event, bigint);
COMMENT ON OPERATOR CLASS meter.event_ops USING hash IS 'equality of events, so that they can be grouped, joined and told apart';
COMMENT ON OPERATOR FAMILY meter.event_ops USING hash IS 'equality of events';

-- --- events to timelines ----------------------------------------------------------------------------------------------

CREATE FUNCTION meter_internal.events_accum(internal, meter.event, text[], text[]) RETURNS internal
	LANGUAGE c IMMUTABLE PARALLEL SAFE COST 4 AS 'MODULE_PATHNAME', 'meter_events_accum_event';
COMMENT ON FUNCTION meter_internal.events_accum(internal, meter.event, text[], text[]) IS 'transition of meter.timeline over events';

CREATE AGGREGATE meter.timeline(event meter.event, starts text[], stops text[]) (
	SFUNC = meter_internal.events_accum, STYPE = internal, SSPACE = 1024,
	COMBINEFUNC = meter_internal.events_combine, SERIALFUNC = meter_internal.events_serialize, DESERIALFUNC = meter_internal.events_deserialize,
	FINALFUNC = meter_internal.events_timeline, FINALFUNC_MODIFY = READ_ONLY, PARALLEL = SAFE
);
COMMENT ON AGGREGATE meter.timeline(meter.event, text[], text[]) IS
'timeline of a resource''s events in any order: the label is the offering, the value the value; voids do not count, and duplicates are not looked for; NULL without events
event: what happened
starts: actions that start; all that are in neither list change
stops: actions that stop
raises 22023 for an action in both lists, otherwise as with labels and values';
