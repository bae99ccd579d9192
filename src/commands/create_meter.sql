-- Meters: what counts, how it is paired, rounded and cut into periods.

CREATE FUNCTION meter.create_meter(
    stream         text,
    meter          text,
    aggregate      text DEFAULT 'duration',
    entity         text DEFAULT NULL,
    starts         text[] DEFAULT NULL,
    stops          text[] DEFAULT NULL,
    changes        text[] DEFAULT NULL,
    dimensions     text[] DEFAULT '{offering}',
    period         interval DEFAULT '1 hour',
    increment      interval DEFAULT '1 minute',
    rounding       text DEFAULT NULL,
    unit           interval DEFAULT '1 minute',
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
COMMENT ON FUNCTION meter.create_meter(text, text, text, text, text[], text[], text[], text[], interval, interval, text, interval,
    text, interval, interval, text, text, timestamptz, timestamptz, boolean) IS
'make a meter of a stream, of the rows of an entity (null: all): aggregate duration (time) or weighted (value times time) of events, or sum (pro rata), count, min, max, latest, unique or counter of measures, which take no actions, increment, rounding and unit; actions that start, stop and change; dimensions (source, entity, offering, or keys of attributes) that split usage; usage rows a period, in units of increment rounded up, down, nearest or none, as numbers of unit; clock wall (now), event (the latest event) or source (how far the stream''s sources say that they are) less lateness closes periods; rows that are older, by more than max_lateness (null: no limit), than the watermark was when the log was last read to its end are held; value_from (weighted, measures): value, or a key of attributes that is a number (unique: anything); nothing before since or from until on counts; raises 22023 or 22004 naming the argument, 42710 if there is a meter of that name (with if_not_exists a notice says so, whatever its definition, and nothing is done), 42704 if there is no such stream, 42501 for others than its owner';

CREATE FUNCTION meter.drop_meter(stream text, meter text, if_exists boolean DEFAULT false)
RETURNS void
LANGUAGE C VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'meter_drop_meter';
COMMENT ON FUNCTION meter.drop_meter(text, text, boolean) IS
'forget a meter; its usage rows stay in the ledger, and a meter made again under that name goes on from them; raises 42704 if there is none (with if_exists a notice says so), 42501 for others than the stream''s owner';
