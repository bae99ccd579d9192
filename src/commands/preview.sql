-- What a meter would come to.

CREATE FUNCTION meter_internal.preview_of_shard(
    stream text, key text, tables text[], meters jsonb[], numbers bigint[], seen text, said text[],
    OUT answered boolean, OUT resources bigint, OUT usage_rows bigint, OUT bytes bigint)
RETURNS SETOF record
LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'meter_preview_of_shard';
COMMENT ON FUNCTION meter_internal.preview_of_shard(text, text, text[], jsonb[], bigint[], text, text[]) IS
'internal: what a meter would come to in a shard, as live_usage_of_shard() answers';

CREATE FUNCTION meter.preview_meter(
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
    if_not_exists  boolean DEFAULT false,
    OUT begins     timestamptz,
    OUT ends       timestamptz,
    OUT periods    bigint,
    OUT resources  bigint,
    OUT usage_rows bigint,
    OUT bytes      bigint)
LANGUAGE C STABLE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'meter_preview_meter';
COMMENT ON FUNCTION meter.preview_meter(text, text, text, text, text[], text[], text[], text[], text[], interval, interval, text,
    text, interval, interval, interval, text, numeric, text, text, interval, interval, text, text, timestamptz, timestamptz, boolean) IS
'what meter.create_meter with the same arguments would lead to, from the rows that are there now; writes nothing: where the meter would begin (null: with the first row that comes), up to where it would be settled at once (null: not before its clock says something), how many periods that is, of how many resources there would be usage, how many usage rows that would be in a ledger that has none of the meter yet, and about how many bytes these take in the ledger with its index; reads the log as meter.verify does; raises what meter.create_meter raises about its arguments, 42704 if there is no such stream, 42501 for others than its owner';
