-- Usage up to now.

CREATE FUNCTION meter_internal.open_usage(
    stream text, key uuid,
    OUT meter text, OUT account text, OUT resource text, OUT dimensions jsonb, OUT period_start timestamptz,
    OUT quantity numeric, OUT settled boolean)
RETURNS SETOF record
LANGUAGE C STABLE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'meter_open_usage';
COMMENT ON FUNCTION meter_internal.open_usage(text, uuid) IS
'internal: usage from each meter''s watermark to now by its clock, and no further than until, from the carried states and the rows since; key is that of the stream''s views; raises 42501 for those who have it not and may not select from current_usage';

CREATE FUNCTION meter_internal.current_usage(
    stream text, key uuid,
    OUT meter text, OUT account text, OUT resource text, OUT dimensions jsonb, OUT period_start timestamptz,
    OUT quantity numeric, OUT settled boolean)
RETURNS SETOF record
LANGUAGE C STABLE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'meter_current_usage';
COMMENT ON FUNCTION meter_internal.current_usage(text, uuid) IS
'internal: open_usage() and what is settled, for the view current_usage of a distributed stream';

CREATE FUNCTION meter_internal.live_usage_of_shard(
    stream text, key text, tables text[], meters jsonb[], numbers bigint[], seen text, said text[],
    OUT answered boolean, OUT meter text, OUT account text, OUT resource text, OUT dimensions jsonb,
    OUT period_start timestamptz, OUT quantity numeric, OUT settled boolean)
RETURNS SETOF record
LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'meter_live_usage_of_shard';
COMMENT ON FUNCTION meter_internal.live_usage_of_shard(text, text, text[], jsonb[], bigint[], text, text[]) IS
'internal: what the shard of a key has of live usage; as all functions that answer questions about a distributed stream it is told the shard''s tables, the meters asked about with numbers of each, and which transactions of the coordinator are seen; answered is null but in the last row, and there false if the shard has come further than what is seen; raises 42501 for others than the stream''s owner';

CREATE FUNCTION meter.live_usage(
    stream text, account text DEFAULT NULL, resource text DEFAULT NULL)
RETURNS TABLE (
    meter text, account text, resource text, dimensions jsonb, period_start timestamptz, quantity numeric,
    settled boolean)
LANGUAGE C STABLE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'meter_live_usage';
COMMENT ON FUNCTION meter.live_usage(text, text, text) IS
'usage up to now, as rows of the view current_usage of the stream: the ledger summed over revisions, and the periods that are not settled yet (settled: false); at the cost of the account''s resources and of the rows that no segment''s index has
account: of this account; without a resource, what is settled is its totals, with resource null; null: any, or to a tenant who is isolated all that are mapped to the caller
resource: of this resource; null: any
raises 42501 for those who may not select from current_usage, and to a tenant who is isolated for an account that is not mapped to it';
