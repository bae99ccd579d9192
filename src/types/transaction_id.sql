-- The transaction IDs of usage rows.

CREATE FUNCTION meter.transaction_id(
    stream text, meter text, resource text, account text, dimensions jsonb, period_start timestamptz, revision integer DEFAULT 0)
RETURNS uuid
LANGUAGE C IMMUTABLE PARALLEL SAFE COST 10
AS 'MODULE_PATHNAME', 'meter_transaction_id';
COMMENT ON FUNCTION meter.transaction_id(text, text, text, text, jsonb, timestamptz, integer) IS
'the name of a usage row, computed from what it is about: a UUID of version 8
stream: the name it was created with
resource: whose usage it is
account: who pays; null: none
dimensions: all dimensions of the meter, as an object of strings and nulls
period_start: when the period begins
revision: 0: the first usage of that key; n: its nth adjustment
raises 22004 if another argument than account is null, 22023 for dimensions that are no such object, 22008 for a period from 4147 on';

CREATE FUNCTION meter_internal.transaction_id_low(stream text, meter text, resource text, period_start timestamptz)
RETURNS uuid
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE COST 5
AS 'MODULE_PATHNAME', 'meter_transaction_id_low';
COMMENT ON FUNCTION meter_internal.transaction_id_low(text, text, text, timestamptz) IS
'the least transaction ID that a usage row of this resource in this period can have: a ledger''s primary key answers "which rows has it" by a range';

CREATE FUNCTION meter_internal.transaction_id_high(stream text, meter text, resource text, period_start timestamptz)
RETURNS uuid
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE COST 5
AS 'MODULE_PATHNAME', 'meter_transaction_id_high';
COMMENT ON FUNCTION meter_internal.transaction_id_high(text, text, text, timestamptz) IS
'the greatest transaction ID that a usage row of this resource in this period can have';

CREATE FUNCTION meter_internal.transaction_id_from(period_start timestamptz)
RETURNS uuid
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'meter_transaction_id_from';
COMMENT ON FUNCTION meter_internal.transaction_id_from(timestamptz) IS
'all usage rows of periods that begin at this instant or later have a greater transaction ID than this: read the ledger by time through its primary key';

CREATE FUNCTION meter_internal.resource_hash(stream text, meter text, resource text)
RETURNS bigint
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE COST 5
AS 'MODULE_PATHNAME', 'meter_resource_hash';
COMMENT ON FUNCTION meter_internal.resource_hash(text, text, text) IS
'the part that the transaction IDs of a resource have in common, 42 bits: by it the carried states of a meter are kept in the order of the ledger''s key';
