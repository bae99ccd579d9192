-- What is operational of a meter can change; all else is what usage is a function of.

CREATE FUNCTION meter.alter_meter(
    stream         text,
    meter          text,
    lateness       interval DEFAULT NULL,
    max_lateness   interval DEFAULT '-1 second',
    clock          text DEFAULT NULL,
    until          timestamptz DEFAULT '-infinity')
RETURNS void
LANGUAGE C VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'meter_alter_meter';
COMMENT ON FUNCTION meter.alter_meter(text, text, interval, interval, text, timestamptz) IS
'change what is operational of a meter; nothing that was settled, held or released changes
lateness: as of meter.create_meter; null: as it is
max_lateness: as of meter.create_meter, null being no limit; negative: as it is
clock: as of meter.create_meter; null: as it is
until: as of meter.create_meter, null being no end; -infinity: as it is
raises 22023 naming the argument, also for an until before the watermark, 55000 for a max_lateness that reaches behind the retention boundary, 42704 if there is no such meter, 42501 for others than the stream''s owner';
