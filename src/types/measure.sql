-- measure: the type, and what can be asked of one, as of an event. Nothing here needs a stream.

CREATE TYPE meter.measure;

-- stable: meter.on_bad_event has a say
CREATE FUNCTION meter_internal.measure_in(cstring) RETURNS meter.measure
	LANGUAGE c STABLE STRICT PARALLEL SAFE COST 10 AS 'MODULE_PATHNAME', 'meter_measure_in';
CREATE FUNCTION meter_internal.measure_out(meter.measure) RETURNS cstring
	LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE COST 10 AS 'MODULE_PATHNAME', 'meter_record_out';

CREATE TYPE meter.measure (
	INPUT = meter_internal.measure_in,
	OUTPUT = meter_internal.measure_out,
	INTERNALLENGTH = VARIABLE,
	ALIGNMENT = int4,
	STORAGE = extended
);
COMMENT ON TYPE meter.measure IS 'one quantity used by a resource between two instants, such as {"start_time":"2016-12-12T15:48:00Z","end_time":"2016-12-12T15:49:00Z","resource":"192.0.2.1","value":10485760}: start_time, end_time and resource, and perhaps account, entity, value, source, id and attributes of any name; read from JSON, EDN and CloudEvents';

COMMENT ON FUNCTION meter_internal.measure_in(cstring) IS 'measure from a JSON map, an EDN map or a CloudEvent in JSON; 22P02 with position, key and what was expected where it is none, or a bad measure where meter.on_bad_event is divert';
COMMENT ON FUNCTION meter_internal.measure_out(meter.measure) IS 'canonical JSON of a measure on one line: start_time, end_time, resource, account, entity, value, source, id, then the attributes by name; of a bad measure, its raw text';

-- --- from texts, and as jsonb ----------------------------------------------------------------------------------------

CREATE FUNCTION meter_internal.measure_from_jsonb(jsonb) RETURNS meter.measure
	LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE COST 20 AS 'MODULE_PATHNAME', 'meter_measure_from_jsonb';
COMMENT ON FUNCTION meter_internal.measure_from_jsonb(jsonb) IS 'measure from a jsonb, which says what its text says; 22P02 where it is none, whatever meter.on_bad_event is';
CREATE FUNCTION meter_internal.measure_to_jsonb(meter.measure) RETURNS jsonb
	LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE COST 20 AS 'MODULE_PATHNAME', 'meter_record_to_jsonb';
COMMENT ON FUNCTION meter_internal.measure_to_jsonb(meter.measure) IS 'jsonb that says what a measure says';

CREATE CAST (text AS meter.measure) WITH INOUT AS ASSIGNMENT;
COMMENT ON CAST (text AS meter.measure) IS 'measure from a text, as input reads it, so that a parameter of type text can be inserted';
CREATE CAST (varchar AS meter.measure) WITH INOUT AS ASSIGNMENT;
COMMENT ON CAST (varchar AS meter.measure) IS 'measure from a text, as input reads it, so that a parameter of type varchar can be inserted';
CREATE CAST (jsonb AS meter.measure) WITH FUNCTION meter_internal.measure_from_jsonb(jsonb) AS ASSIGNMENT;
COMMENT ON CAST (jsonb AS meter.measure) IS 'measure from a jsonb map: known keys become its fields, others its attributes';
CREATE CAST (meter.measure AS jsonb) WITH FUNCTION meter_internal.measure_to_jsonb(meter.measure) AS ASSIGNMENT;
COMMENT ON CAST (meter.measure AS jsonb) IS 'fields and attributes of a measure as one map';

-- --- what can be asked of one -----------------------------------------------------------------------------------------

CREATE FUNCTION meter_internal.measure_get(measure meter.measure, name text) RETURNS text
	LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE COST 2 AS 'MODULE_PATHNAME', 'meter_record_get';
COMMENT ON FUNCTION meter_internal.measure_get(meter.measure, text) IS 'field or attribute of a measure, as text: strings as they are, anything else as JSON; NULL where it has none of that name, or a null';
CREATE FUNCTION meter.measure_start(measure meter.measure) RETURNS timestamptz
	LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE COST 1 AS 'MODULE_PATHNAME', 'meter_record_time';
COMMENT ON FUNCTION meter.measure_start(meter.measure) IS 'start of a measure, which measure ->> ''start_time'' gives as text; 22P02 for a bad measure';
CREATE FUNCTION meter.measure_end(measure meter.measure) RETURNS timestamptz
	LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE COST 1 AS 'MODULE_PATHNAME', 'meter_record_end';
COMMENT ON FUNCTION meter.measure_end(meter.measure) IS 'end of a measure, which measure ->> ''end_time'' gives as text; 22P02 for a bad measure';
CREATE FUNCTION meter.measure_value(measure meter.measure) RETURNS numeric
	LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE COST 2 AS 'MODULE_PATHNAME', 'meter_record_value';
COMMENT ON FUNCTION meter.measure_value(meter.measure) IS 'value of a measure as a number, which measure ->> ''value'' gives as text; NULL where the measure does not say; 22P02 for a bad measure';
CREATE FUNCTION meter.measure_attributes(measure meter.measure) RETURNS jsonb
	LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE COST 10 AS 'MODULE_PATHNAME', 'meter_record_attributes';
COMMENT ON FUNCTION meter.measure_attributes(meter.measure) IS 'attributes of a measure, as a jsonb map; NULL where it has none; 22P02 for a bad measure';

-- in pg_catalog, as those of timelines, so that they are found whatever the search path
CREATE OPERATOR pg_catalog.->> (LEFTARG = meter.measure, RIGHTARG = text, FUNCTION = meter_internal.measure_get);
COMMENT ON OPERATOR pg_catalog.->> (meter.measure, text) IS 'field or attribute of a measure, as text: strings as they are, anything else as JSON; NULL where it has none of that name; 22P02 for a bad measure';

-- --- order ------------------------------------------------------------------------------------------------------------

CREATE FUNCTION meter_internal.measure_eq(meter.measure, meter.measure) RETURNS boolean
	LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE COST 1 AS 'MODULE_PATHNAME', 'meter_record_eq';
COMMENT ON FUNCTION meter_internal.measure_eq(meter.measure, meter.measure) IS 'do two measures say the same?';
CREATE FUNCTION meter_internal.measure_ne(meter.measure, meter.measure) RETURNS boolean
	LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE COST 1 AS 'MODULE_PATHNAME', 'meter_record_ne';
COMMENT ON FUNCTION meter_internal.measure_ne(meter.measure, meter.measure) IS 'do two measures say different things?';
CREATE FUNCTION meter_internal.measure_lt(meter.measure, meter.measure) RETURNS boolean
	LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE COST 1 AS 'MODULE_PATHNAME', 'meter_record_lt';
COMMENT ON FUNCTION meter_internal.measure_lt(meter.measure, meter.measure) IS 'does the first measure come before the second?';
CREATE FUNCTION meter_internal.measure_le(meter.measure, meter.measure) RETURNS boolean
	LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE COST 1 AS 'MODULE_PATHNAME', 'meter_record_le';
COMMENT ON FUNCTION meter_internal.measure_le(meter.measure, meter.measure) IS 'does the first measure come before the second, or are they equal?';
CREATE FUNCTION meter_internal.measure_gt(meter.measure, meter.measure) RETURNS boolean
	LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE COST 1 AS 'MODULE_PATHNAME', 'meter_record_gt';
COMMENT ON FUNCTION meter_internal.measure_gt(meter.measure, meter.measure) IS 'does the first measure come after the second?';
CREATE FUNCTION meter_internal.measure_ge(meter.measure, meter.measure) RETURNS boolean
	LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE COST 1 AS 'MODULE_PATHNAME', 'meter_record_ge';
COMMENT ON FUNCTION meter_internal.measure_ge(meter.measure, meter.measure) IS 'does the first measure come after the second, or are they equal?';
CREATE FUNCTION meter_internal.measure_cmp(meter.measure, meter.measure) RETURNS integer
	LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE COST 1 AS 'MODULE_PATHNAME', 'meter_record_compare';
COMMENT ON FUNCTION meter_internal.measure_cmp(meter.measure, meter.measure) IS 'order of two measures, below, equal to or above 0: by start_time, then end_time, resource, account, entity, value, source, id and attributes; texts as bytes, values as numbers, what is left out first';
CREATE FUNCTION meter_internal.measure_hash(meter.measure) RETURNS integer
	LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE COST 1 AS 'MODULE_PATHNAME', 'meter_record_hash';
COMMENT ON FUNCTION meter_internal.measure_hash(meter.measure) IS 'hash of a measure';
CREATE FUNCTION meter_internal.measure_hash_extended(meter.measure, bigint) RETURNS bigint
	LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE COST 1 AS 'MODULE_PATHNAME', 'meter_record_hash_extended';
COMMENT ON FUNCTION meter_internal.measure_hash_extended(meter.measure, bigint) IS 'hash of a measure with a seed';

CREATE OPERATOR pg_catalog.= (
	LEFTARG = meter.measure, RIGHTARG = meter.measure, FUNCTION = meter_internal.measure_eq,
	COMMUTATOR = OPERATOR(pg_catalog.=), NEGATOR = OPERATOR(pg_catalog.<>),
	RESTRICT = eqsel, JOIN = eqjoinsel, HASHES, MERGES
);
COMMENT ON OPERATOR pg_catalog.= (meter.measure, meter.measure) IS 'the same measure';
CREATE OPERATOR pg_catalog.<> (
	LEFTARG = meter.measure, RIGHTARG = meter.measure, FUNCTION = meter_internal.measure_ne,
	COMMUTATOR = OPERATOR(pg_catalog.<>), NEGATOR = OPERATOR(pg_catalog.=),
	RESTRICT = neqsel, JOIN = neqjoinsel
);
COMMENT ON OPERATOR pg_catalog.<> (meter.measure, meter.measure) IS 'different measures';
CREATE OPERATOR pg_catalog.< (
	LEFTARG = meter.measure, RIGHTARG = meter.measure, FUNCTION = meter_internal.measure_lt,
	COMMUTATOR = OPERATOR(pg_catalog.>), NEGATOR = OPERATOR(pg_catalog.>=),
	RESTRICT = scalarltsel, JOIN = scalarltjoinsel
);
COMMENT ON OPERATOR pg_catalog.< (meter.measure, meter.measure) IS 'begun earlier, or at one time the lesser';
CREATE OPERATOR pg_catalog.<= (
	LEFTARG = meter.measure, RIGHTARG = meter.measure, FUNCTION = meter_internal.measure_le,
	COMMUTATOR = OPERATOR(pg_catalog.>=), NEGATOR = OPERATOR(pg_catalog.>),
	RESTRICT = scalarlesel, JOIN = scalarlejoinsel
);
COMMENT ON OPERATOR pg_catalog.<= (meter.measure, meter.measure) IS 'not begun later';
CREATE OPERATOR pg_catalog.> (
	LEFTARG = meter.measure, RIGHTARG = meter.measure, FUNCTION = meter_internal.measure_gt,
	COMMUTATOR = OPERATOR(pg_catalog.<), NEGATOR = OPERATOR(pg_catalog.<=),
	RESTRICT = scalargtsel, JOIN = scalargtjoinsel
);
COMMENT ON OPERATOR pg_catalog.> (meter.measure, meter.measure) IS 'begun later, or at one time the greater';
CREATE OPERATOR pg_catalog.>= (
	LEFTARG = meter.measure, RIGHTARG = meter.measure, FUNCTION = meter_internal.measure_ge,
	COMMUTATOR = OPERATOR(pg_catalog.<=), NEGATOR = OPERATOR(pg_catalog.<),
	RESTRICT = scalargesel, JOIN = scalargejoinsel
);
COMMENT ON OPERATOR pg_catalog.>= (meter.measure, meter.measure) IS 'not begun earlier';

CREATE OPERATOR CLASS meter.measure_ops DEFAULT FOR TYPE meter.measure USING btree AS
	OPERATOR 1 pg_catalog.<,
	OPERATOR 2 pg_catalog.<=,
	OPERATOR 3 pg_catalog.=,
	OPERATOR 4 pg_catalog.>=,
	OPERATOR 5 pg_catalog.>,
	FUNCTION 1 meter_internal.measure_cmp(meter.measure, meter.measure);
COMMENT ON OPERATOR CLASS meter.measure_ops USING btree IS 'measures by their start, then by what else they say';
COMMENT ON OPERATOR FAMILY meter.measure_ops USING btree IS 'order of measures';
CREATE OPERATOR CLASS meter.measure_ops DEFAULT FOR TYPE meter.measure USING hash AS
	OPERATOR 1 pg_catalog.=,
	FUNCTION 1 meter_internal.measure_hash(meter.measure),
	FUNCTION 2 meter_internal.measure_hash_extended(meter.measure, bigint);
COMMENT ON OPERATOR CLASS meter.measure_ops USING hash IS 'equality of measures, so that they can be grouped, joined and told apart';
COMMENT ON OPERATOR FAMILY meter.measure_ops USING hash IS 'equality of measures';
