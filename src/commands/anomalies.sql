-- What was odd.

CREATE FUNCTION meter_internal.anomalies(
    stream text, key uuid, class text, meter text, resource text, during tstzrange,
    OUT class text, OUT meter text, OUT resource text, OUT "time" timestamptz, OUT arrival bigint, OUT detail text)
RETURNS SETOF record
LANGUAGE C STABLE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'meter_anomalies_of_view';
COMMENT ON FUNCTION meter_internal.anomalies(text, uuid, text, text, text, tstzrange) IS
'internal: meter.anomalies() for the view anomaly; key is that of the stream''s views';

CREATE FUNCTION meter.anomalies(
    stream text, class text DEFAULT NULL, meter text DEFAULT NULL, resource text DEFAULT NULL,
    during tstzrange DEFAULT NULL,
    OUT class text, OUT meter text, OUT resource text, OUT "time" timestamptz, OUT arrival bigint, OUT detail text)
RETURNS SETOF record
LANGUAGE C STABLE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'meter_anomalies';
COMMENT ON FUNCTION meter.anomalies(text, text, text, text, tstzrange) IS
'what was odd, as the view anomaly of the stream shows it, but computed for one class (the error for a class that there is not lists all), meter or resource only (null: for all), and of that only what lies in a range of times (null: all). Classes that name no meter (in the future, conflicting duplicate, void of nothing, not counted) are left out where one is asked for. Raises 42501 for who may not select from the view or if there is no such stream, 42704 if there is no such meter, 22023 for a class there is not';
