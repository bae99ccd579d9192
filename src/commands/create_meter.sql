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
'make a meter of a stream: usage is a function of these arguments and of the log, and of them meter.alter_meter changes clock, lateness, max_lateness and until only
meter: its name, 1 to 200 bytes
aggregate: of events duration (time), weighted (value times time) or runs (how many began); of measures sum (pro rata), count, min, max, latest, unique or counter
entity: only rows of this entity count; null: all
starts: actions that start a run
stops: actions that stop it
changes: actions that set attributes only
ends: actions that stop a run, after which no start opens the resource again; measures take no actions
dimensions: what splits usage, at most 32: source, entity, offering, or keys of attributes
period: the time that a usage row covers
increment: billed time is rounded to units of it; not for measures, nor runs
rounding: up, down, nearest or none; null: the default of the aggregate
rounding_of: clock: units of the clock are rounded; run: the length of each run
minimum: each run is billed at least that; with rounding_of run or rounding none; null: none
liveness: a run is billed for so long after its start or latest change; null: until it is stopped
unit: the time that makes a quantity of 1, of a weighted meter times the value
begins: of a counter: zero: the first reading counts whole; start: it was 0 at start_time; null: the first reading is the base
modulus: of a counter, where it goes round; null: never
drops: of a counter: reset: a lesser reading counts whole (so does null); ignore: it is passed over
clock: wall (now), event (the latest event) or source (how far the sources of the stream say that they are)
lateness: a period is settled when the clock is so far behind its end
max_lateness: rows that are older, by more than that, than the watermark was when the log was last read to its end are held; null: no limit
value_from: for weighted and measures: value, or a key of attributes that is a number (for unique: anything)
timezone: where days, weeks and months begin, by a name of pg_timezone_names
since: nothing before it counts; the beginning of a period; null: no limit
until: nothing from it on counts; the beginning of a period; null: no end
if_not_exists: if there is a meter of that name, whatever its definition, a notice says so, and nothing is done
raises 22023 or 22004 naming the argument, 42710 if there is a meter of that name, 42704 if there is no such stream, 42501 for others than its owner';

CREATE FUNCTION meter.drop_meter(stream text, meter text, if_exists boolean DEFAULT false)
RETURNS void
LANGUAGE C VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'meter_drop_meter';
COMMENT ON FUNCTION meter.drop_meter(text, text, boolean) IS
'forget a meter; its usage rows stay in the ledger, and a meter made again under that name goes on from them
if_exists: if there is no such meter, a notice says so
raises 42704 if there is none, 42501 for others than the stream''s owner';
