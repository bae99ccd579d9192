-- What was odd.

CREATE FUNCTION meter_internal.anomalies(
    stream text, key uuid, class text, meter text, resource text, during tstzrange,
    OUT class text, OUT meter text, OUT resource text, OUT "time" timestamptz, OUT arrival bigint, OUT detail text)
RETURNS SETOF record
LANGUAGE C STABLE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'meter_anomalies_of_view';
COMMENT ON FUNCTION meter_internal.anomalies(text, uuid, text, text, text, tstzrange) IS
'internal: meter.anomalies() for the view anomaly; key is that of the stream''s views';

CREATE FUNCTION meter_internal.anomalies_of_shard(
    stream text, key text, tables text[], meters jsonb[], numbers bigint[], seen text, said text[],
    OUT answered boolean, OUT class text, OUT meter text, OUT resource text, OUT "time" timestamptz, OUT arrival bigint,
    OUT detail text, OUT place bigint, OUT count bigint)
RETURNS SETOF record
LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'meter_anomalies_of_shard';
COMMENT ON FUNCTION meter_internal.anomalies_of_shard(text, text, text[], jsonb[], bigint[], text, text[]) IS
'internal: the anomalies of a shard, as live_usage_of_shard() answers; with the place among those of a class, and for those that are counted over all shards how many rows they are about';

CREATE FUNCTION meter.anomalies(
    stream text, class text DEFAULT NULL, meter text DEFAULT NULL, resource text DEFAULT NULL,
    during tstzrange DEFAULT NULL,
    OUT class text, OUT meter text, OUT resource text, OUT "time" timestamptz, OUT arrival bigint, OUT detail text)
RETURNS SETOF record
LANGUAGE C STABLE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'meter_anomalies';
COMMENT ON FUNCTION meter.anomalies(text, text, text, text, tstzrange) IS
'what was odd, as the view anomaly of the stream shows it, but computed for what is asked only; classes that name no meter (in the future, conflicting duplicate, void of nothing, not counted) are left out where a meter is asked for
class: one class, and an error for one that there is not lists all; null: all
meter: of one meter; null: all
resource: of one resource; null: all
during: only what lies in this range of times; null: all
raises 42501 for who may not select from the view, for tenants that are isolated, and if there is no such stream, 42704 if there is no such meter, 22023 for a class there is not';
