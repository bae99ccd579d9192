-- Does the ledger say what usage should be?  And making it so.

CREATE FUNCTION meter.verify(
    stream text, meter text DEFAULT NULL, during tstzrange DEFAULT NULL,
    OUT meter text, OUT account text, OUT resource text, OUT dimensions jsonb, OUT period_start timestamptz,
    OUT ledger numeric, OUT expected numeric)
RETURNS SETOF record
LANGUAGE C VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'meter_verify';
COMMENT ON FUNCTION meter.verify(text, text, tstzrange) IS
'computes usage from all that is logged and shows where the ledger differs, and, in rows without a resource, where totals (account_usage) are not what the ledger comes to: no rows means it is right; ledger and expected are quantities as in the ledger; looks at settled periods and at what the ledger has after the watermark, where nothing is expected; resources with late rows that have not been looked at yet are left out
meter: of this meter; null: of all
during: only settled periods that overlap it; null: all
raises 42704 if there is no such stream or meter, 55000 if carried states were lost, 42501 for others than its owner and operators';

CREATE FUNCTION meter.resettle(stream text, meter text, during tstzrange DEFAULT NULL)
RETURNS bigint
LANGUAGE C VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'meter_resettle';
COMMENT ON FUNCTION meter.resettle(text, text, tstzrange) IS
'makes the ledger right where meter.verify shows that it differs, and makes totals of them what the ledger then comes to, writes carried states that were lost anew, also of a stream that is not active: the number of adjustments written
during: only settled periods that overlap it; null: all
raises 42704 if there is no such stream or meter, 55000 if the log is empty and the ledger is not, 42501 for others than its owner and operators';
