-- Rows that came too late, and resources that were set aside: they count for a meter once a person says so, or never will.

CREATE FUNCTION meter.release(stream text, meter text, arrivals bigint[] DEFAULT NULL)
RETURNS bigint
LANGUAGE C VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'meter_release';
COMMENT ON FUNCTION meter.release(text, text, bigint[]) IS
'lets rows count that were held for a meter because they came later than its max_lateness, and writes the adjustments: the number of rows released
arrivals: those with these arrivals, discarded or not; null: all that were not discarded
raises 42704 if there is no such stream or meter, 55000 for a stream that is not active, 42501 for others than its owner and operators';

CREATE FUNCTION meter.discard(stream text, meter text, arrivals bigint[] DEFAULT NULL)
RETURNS bigint
LANGUAGE C VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'meter_discard';
COMMENT ON FUNCTION meter.discard(text, text, bigint[]) IS
'says that rows that are held for a meter will never count: they stay held, and neither the view anomaly nor meter.status tells of them any more; meter.release() with their arrivals still lets them count; the number of rows discarded
arrivals: those with these arrivals; null: all
raises 42704 if there is no such stream or meter, 55000 for a stream that is not active, 42501 for others than its owner and operators';

CREATE FUNCTION meter.release_resource(stream text, meter text, resource text)
RETURNS boolean
LANGUAGE C VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'meter_release_resource';
COMMENT ON FUNCTION meter.release_resource(text, text, text) IS
'computes a resource anew that was set aside for a meter, and settles it: false if it had to be set aside again, with a warning that says why
resource: its name
raises 42704 if there is no such stream or meter, or the resource is not set aside, 55000 for a stream that is not active, 42501 for others than its owner and operators';
