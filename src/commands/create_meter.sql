-- Meters: what counts, how it is paired, rounded and cut into periods.

CREATE FUNCTION meter.create_meter(
    stream         text,
    meter          text,
    aggregate      text DEFAULT 'duration',
    entity         text DEFAULT NULL,
    starts         text[] DEFAULT NULL,
    stops          text[] DEFAULT NULL,
    changes        text[] DEFAULT NULL,
    ends           text[] DEFAULT NULL,
    dimensions     text[] DEFAULT '{offering}',
    period         interval DEFAULT '1 hour',
    increment      interval DEFAULT '1 minute',
    rounding       text DEFAULT NULL,
    rounding_of    text DEFAULT 'clock',
    minimum        interval DEFAULT NULL,
    liveness       interval DEFAULT NULL,
    unit           interval DEFAULT '1 minute',
    begins         text DEFAULT NULL,
    modulus        numeric DEFAULT NULL,
    drops          text DEFAULT NULL,
    clock          text DEFAULT 'wall',
    lateness       interval DEFAULT '5 minutes',
    max_lateness   interval DEFAULT '35 days',
    value_from     text DEFAULT 'value',
    timezone       text DEFAULT 'UTC',
    since          timestamptz DEFAULT NULL,
    until          timestamptz DEFAULT NULL,
    if_not_exists  boolean DEFAULT false)
RETURNS void
LANGUAGE C VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'meter_create_meter';
COMMENT ON FUNCTION meter.create_meter(text, text, text, text, text[], text[], text[], text[], text[], interval, interval, text,
    text, interval, interval, interval, text, numeric, text, text, interval, interval, text, text, timestamptz, timestamptz, boolean) IS
'make a meter of a stream, of the rows of an entity (null: all): aggregate duration (time), weighted (value times time) or runs (how many began) of events, or sum (pro rata), count, min, max, latest, unique or counter of measures, which take no actions, increment, rounding, rounding_of, minimum, liveness and unit; actions that start, stop, change and end (a resource that ended is not opened again); dimensions (source, entity, offering, or keys of attributes) that split usage; usage rows a period, in units of increment rounded up, down, nearest or none, as numbers of unit; rounding_of clock (units of the clock) or run (each run''s length); minimum that each run is billed (null: none; with rounding_of run or rounding none); a run is billed for liveness after its start or latest change (null: until it is stopped); of a counter begins zero (the first reading counts whole), start (start_time is where it was 0) or null (the first reading is the base), modulus at which it goes round (null: never), drops reset (a lesser reading counts whole; so does null) or ignore (it is passed over); clock wall (now), event (the latest event) or source (how far the stream''s sources say that they are) less lateness closes periods; rows that are older, by more than max_lateness (null: no limit), than the watermark was when the log was last read to its end are held; value_from (weighted, measures): value, or a key of attributes that is a number (unique: anything); nothing before since or from until on counts; raises 22023 or 22004 naming the argument, 42710 if there is a meter of that name (with if_not_exists a notice says so, whatever its definition, and nothing is done), 42704 if there is no such stream, 42501 for others than its owner';

CREATE FUNCTION meter.drop_meter(stream text, meter text, if_exists boolean DEFAULT false)
RETURNS void
LANGUAGE C VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'meter_drop_meter';
COMMENT ON FUNCTION meter.drop_meter(text, text, boolean) IS
'forget a meter; its usage rows stay in the ledger, and a meter made again under that name goes on from them; raises 42704 if there is none (with if_exists a notice says so), 42501 for others than the stream''s owner';
